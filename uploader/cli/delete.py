"""`datanode delete` and `datanode gc`: take models away, and give their room back."""

from typing import Annotated

import typer

from datanode.command_context import ContextArguments
from datanode.limits import MAX_VERSION
from datanode.units import format_bytes
from uploader.cli import options
from uploader.cli.fleet_models import delete_everywhere
from uploader.cli.output import Output
from uploader.cli.suggest import suggesting_models
from uploader.cli.where import with_where


@with_where()
def delete_command(
    model: options.Model,
    *,
    version: Annotated[
        int | None,
        typer.Option(
            "--version", min=1, max=MAX_VERSION, help="One version; without it all of them."
        ),
    ] = None,
    yes: options.Yes = False,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Delete a model or one version; frames that others use stay."""
    output = Output(as_json=as_json)
    what = f"version {version} of {model}" if version is not None else f"{model}, all versions"
    output.confirm(f"Delete {what}?", yes=yes)
    with (
        where.open(output.say, signs=True) as context,
        suggesting_models(context, model),
        output.working(f"deleting {what}"),
    ):
        delete_everywhere(context, model, version)
    output.summary(
        f"deleted {what}; `datanode gc` frees the room 14 days after the last use",
        model=model,
        version=version,
    )


@with_where()
def gc_command(
    *,
    force: Annotated[bool, typer.Option(help="Do not wait 14 days (controllers only).")] = False,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Free the frames that no model and no upload refers to."""
    output = Output(as_json=as_json)
    count = size = 0
    with (
        where.open(output.say, signs=True) as context,
        output.progress() as progress,
    ):
        for member in context.members():
            target = context.node(member)
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
