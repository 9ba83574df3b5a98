"""`datanode delete` and `datanode gc`: take models away, and give their room back."""

from typing import Annotated

import typer

from datanode.units import format_bytes
from uploader.cli import options
from uploader.cli.output import Output
from uploader.place import open_place


def delete_command(
    model: options.Model,
    *,
    version: Annotated[
        int | None, typer.Option("--version", help="One version; without it all of them.")
    ] = None,
    yes: options.Yes = False,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete a model or one version; frames that others use stay."""
    output = Output(as_json=as_json)
    what = f"version {version} of {model}" if version is not None else f"{model}, all versions"
    output.confirm(f"Delete {what}?", yes=yes)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as place,
        output.working(f"deleting {what}"),
    ):
        place.node().delete_model(model, version)
    output.summary(
        f"deleted {what}; `datanode gc` frees the room 14 days after the last use",
        model=model,
        version=version,
    )


def gc_command(
    *,
    force: Annotated[bool, typer.Option(help="Do not wait 14 days (controllers only).")] = False,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Free the frames that no model and no upload refers to."""
    output = Output(as_json=as_json)
    count = size = 0
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as place,
        output.progress() as progress,
    ):
        target = place.node()
        cursor: bytes | None = b""
        while cursor is not None:
            progress.stage(f"freed {count:,} frames, {format_bytes(size)}")
            step = target.collect_garbage(cursor, force=force)
            cursor, count, size = (
                step.next_cursor,
                count + step.freed_count,
                size + step.freed_bytes,
            )
    output.summary(
        f"freed {count:,} frames, {format_bytes(size)}; the room is reused, stable memory stays",
        frames=count,
        bytes=size,
    )
