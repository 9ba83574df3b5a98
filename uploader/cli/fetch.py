"""`datanode fetch`: rebuild a model's files, or one tensor, from a node that is not trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datanode.units import format_bytes
from uploader.cli import options
from uploader.cli.output import Json, Output
from uploader.place import open_place
from uploader.progress import Progress, Tally

if TYPE_CHECKING:
    from datanode.reader import VerifiedVersion


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
    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key
        ) as place,
        output.progress() as progress,
    ):
        progress.stage(tensor or model)
        verified = place.reader(place.node()).open_version(model, version)
        if tensor is None:
            text, fields = _whole(verified, model, destination, jobs, progress)
        else:
            text, fields = _one(verified, tensor, destination, jobs)
    output.summary(text, **fields)


def _whole(
    verified: "VerifiedVersion", model: str, destination: Path, jobs: int, progress: Progress
) -> tuple[str, dict[str, Json]]:
    from datanode.reader import fetch_model  # noqa: PLC0415 - see `upload`

    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress.tally(Tally(total_bytes=verified.raw_bytes, done_bytes=done))

    summary = fetch_model(verified, destination, jobs=jobs, on_bytes=on_bytes)
    text = (
        f"{model} version {verified.version}: {summary.files_count} files, "
        f"{format_bytes(summary.raw_bytes)}, {format_bytes(summary.fetched_bytes)} fetched, "
        f"all verified"
    )
    return text, {
        "model": model,
        "version": verified.version,
        "files": summary.files_count,
        "skipped": summary.skipped_count,
        "raw_bytes": summary.raw_bytes,
        "fetched_bytes": summary.fetched_bytes,
    }


def _one(
    verified: "VerifiedVersion", tensor: str, destination: Path, jobs: int
) -> tuple[str, dict[str, Json]]:
    from datanode.reader import fetch_tensor  # noqa: PLC0415 - see `upload`

    entry = fetch_tensor(verified, tensor, destination, jobs=jobs)
    shape = "x".join(map(str, entry.shape)) or "scalar"
    return f"{tensor}: {entry.dtype} {shape}, written to {destination}", {
        "tensor": tensor,
        "dtype": entry.dtype,
        "shape": list(entry.shape),
    }
