"""`datanode fetch`: rebuild a model's files, or one tensor, from a node that is not trusted."""

from pathlib import Path
from typing import Annotated

import typer

from datanode.units import format_bytes
from uploader.cli import options
from uploader.cli.output import Output
from uploader.place import open_place
from uploader.progress import Tally


def fetch_command(
    model: options.Model,
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="Folder; with --tensor the file to write.")
    ],
    *,
    tensor: Annotated[
        str | None, typer.Option("--tensor", metavar="NAME", help="Only this tensor's bytes.")
    ] = None,
    version: options.Version = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Queries in flight.")] = 4,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Fetch MODEL into DEST; every byte is checked."""
    from datanode.reader import fetch_model, fetch_tensor  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key
        ) as place,
        output.progress() as progress,
    ):
        verified = place.reader(place.node()).open_version(model, version)
        if tensor is not None:
            entry = fetch_tensor(verified, tensor, destination, jobs=jobs)
            shape = "x".join(map(str, entry.shape)) or "scalar"
            text = f"{tensor}: {entry.dtype} {shape}, written to {destination}"
            output.summary(text, tensor=tensor, dtype=entry.dtype, shape=list(entry.shape))
            return
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            progress.tally(Tally(total_bytes=verified.raw_bytes, done_bytes=done))

        progress.stage(model)
        summary = fetch_model(verified, destination, jobs=jobs, on_bytes=on_bytes)
    output.summary(
        f"{model} version {verified.version}: {summary.files_count} files, "
        f"{format_bytes(summary.raw_bytes)}, {format_bytes(summary.fetched_bytes)} fetched, "
        f"all verified",
        model=model,
        version=verified.version,
        files=summary.files_count,
        skipped=summary.skipped_count,
        raw_bytes=summary.raw_bytes,
        fetched_bytes=summary.fetched_bytes,
    )
