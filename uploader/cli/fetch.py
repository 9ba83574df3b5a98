"""`datanode fetch`: rebuild a model's files, or one tensor, from a node that is not trusted."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datanode.command_context import ContextArguments
from datanode.errors import UsageError
from datanode.progress import Progress, Tally
from datanode.units import format_bytes
from uploader.cli import options
from uploader.cli.output import Json, Output
from uploader.cli.signature_options import (
    PublicKeyFile,
    Signature,
    VerifySignature,
    coverage_fields,
    read_signer,
)
from uploader.cli.suggest import suggesting_models
from uploader.cli.where import with_where

if TYPE_CHECKING:
    from datanode.reader import VerifiedVersion


@with_where(limit_rate=True)
def fetch_command(
    model: options.Model,
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="Folder; with --tensor the file to write.")
    ],
    *,
    tensor: Annotated[
        str | None, typer.Option("--tensor", metavar="NAME", help="Only this tensor's bytes.")
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="GLOB", help="Fetch only files that match GLOB; may be repeated."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="GLOB", help="Leave out files that match GLOB; may be repeated."
        ),
    ] = None,
    verify_signature: VerifySignature = False,
    public_key: PublicKeyFile = None,
    signature: Signature = None,
    version: options.Version = None,
    jobs: options.QueryJobs = 4,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Fetch MODEL into DEST; every byte is checked."""
    from datanode.model_signature import check_model_signature  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    if tensor is not None and (include or exclude):
        raise UsageError("--tensor does not go with --include or --exclude")
    signer = read_signer(public_key, signature, verify=verify_signature)
    if tensor is not None and signer is not None:
        raise UsageError(
            "a signature covers whole files: --verify-signature goes not with --tensor"
        )
    with (
        where.open(output.say) as context,
        suggesting_models(context, model),
        output.progress() as progress,
    ):
        progress.stage(tensor or model)
        verified = context.open_version(model, version)
        coverage = None if signer is None else check_model_signature(verified, signer)
        if tensor is None:
            text, fields = _whole(
                verified,
                model,
                destination,
                jobs,
                progress,
                include=include or (),
                exclude=exclude or (),
            )
        else:
            text, fields = _one(verified, tensor, destination, jobs)
    if coverage is not None:
        text, fields = f"{text}\n{coverage}", {**fields, **coverage_fields(coverage)}
    output.summary(text, **fields)


def _whole(
    verified: "VerifiedVersion",
    model: str,
    destination: Path,
    jobs: int,
    progress: Progress,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
) -> tuple[str, dict[str, Json]]:
    from datanode.reader import fetch_model  # noqa: PLC0415 - see `upload`

    summary = fetch_model(
        verified,
        destination,
        include=include,
        exclude=exclude,
        jobs=jobs,
        on_bytes=lambda done, total: progress.tally(Tally(total_bytes=total, done_bytes=done)),
    )
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
