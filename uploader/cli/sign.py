"""`datanode sign`: sign a stored model from its certified manifest, or a folder as it lies."""

import getpass
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from datanode.command_context import ContextArguments
from datanode.errors import UsageError
from datanode.files import disk_errors, replace_file
from uploader.cli import options
from uploader.cli.output import Output
from uploader.cli.signature_options import coverage_fields
from uploader.cli.sources import tell_files
from uploader.cli.suggest import suggesting_models
from uploader.cli.where import with_where

_NAME: Final = "model.sig"
PASSWORD_VARIABLE: Final = "DATANODE_KEY_PASSWORD"  # noqa: S105 - a name, no password


@with_where()
def sign_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Name of a model; or a folder to upload, written as ./FOLDER.",
            autocompletion=options.known_models,
        ),
    ],
    *,
    key: Annotated[
        Path,
        typer.Option(
            "--key", metavar="PEM", help="Private key on P-256, P-384 or P-521, in a PEM file."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Bundle to write.",
            show_default="model.sig; for a folder, FOLDER/model.sig",
        ),
    ] = None,
    version: options.Version = None,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Sign MODEL as OpenSSF Model Signing describes.

    The SHA-256 of each file is taken from the certified manifest; nothing is fetched. A folder is
    read, and what an upload would leave out is left out. The file that --out names and Git's own
    files are left out too. Needs the extra `sign`.
    """
    output = Output(as_json=as_json)
    if model.startswith((".", "/", "~")):
        if version is not None:
            raise UsageError("a folder has no versions: leave --version out")
        _sign_folder(model, key, out, output)
        return
    from datanode.model_signature import sign_version  # noqa: PLC0415 - see `upload`

    place = out or Path(_NAME)
    with where.open(output.say, strict_clock=True) as context, suggesting_models(context, model):
        opened = context.open_version(model, version)
    # The manifest's head was read with the version; nothing else is needed.
    bundle, coverage = sign_version(opened, key, name=place.name, password=lambda: _password(key))
    _write(place, bundle)
    output.summary(
        f"{model} version {opened.version}: {coverage}; written to {place}",
        model=model,
        version=opened.version,
        file=str(place),
        **coverage_fields(coverage),
    )


def _sign_folder(text: str, key: Path, out: Path | None, output: Output) -> None:
    from datanode.model_signature import sign_files  # noqa: PLC0415 - see `upload`
    from uploader.source import open_source  # noqa: PLC0415 - see `upload`
    from uploader.source.file_digests import digest_files  # noqa: PLC0415 - see `upload`

    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise UsageError(f"{text} is no folder", hint="A stored model is signed by its name.")
    place = out or folder / _NAME
    with closing(open_source(folder)) as source:
        tell_files(output, source)
        with output.progress() as progress:
            files = digest_files(source, progress.stage)
        left_out = [each.path for each in source.left_out]
    bundle, coverage = sign_files(
        folder.resolve().name,
        files,
        key,
        name=place.name,
        left_out=left_out,
        password=lambda: _password(key),
    )
    _write(place, bundle)
    output.summary(f"{coverage}; written to {place}", file=str(place), **coverage_fields(coverage))


def _write(place: Path, bundle: bytes) -> None:
    with disk_errors(place):
        replace_file(place, bundle, mode=0o644)


def _password(key: Path) -> str | None:
    """Find the password of an encrypted key; a person at a terminal is asked."""
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f"Password of {key}: ")
    return given
