"""`datanode sign`: sign a stored model from its certified manifest, or a folder as it lies."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from datanode.command_context import ContextArguments
from datanode.errors import UsageError
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
    from datanode.model_signature import open_signing_key, sign_version  # noqa: PLC0415
    from uploader.folder_signing import (  # noqa: PLC0415 - see `upload`
        is_folder,
        sign_folder,
        write_bundle_file,
    )

    output = Output(as_json=as_json)
    if is_folder(model) and version is not None:
        raise UsageError("a folder has no versions: leave --version out")
    signer = open_signing_key(key, lambda: _password(key))
    if is_folder(model):
        with output.progress() as progress:
            place, coverage = sign_folder(
                model,
                signer,
                out,
                tell=lambda source: tell_files(output, source),
                stage=progress.stage,
            )
        shown = f"{coverage}; written to {place}"
        output.summary(shown, file=str(place), **coverage_fields(coverage))
        return
    place = out or Path(_NAME)
    with where.open(output.say, strict_clock=True) as context, suggesting_models(context, model):
        opened = context.open_version(model, version)
    # The manifest's head was read with the version; nothing else is needed.
    bundle, coverage = sign_version(opened, signer, name=place.name)
    write_bundle_file(place, bundle)
    output.summary(
        f"{model} version {opened.version}: {coverage}; written to {place}",
        model=model,
        version=opened.version,
        file=str(place),
        **coverage_fields(coverage),
    )


def _password(key: Path) -> str | None:
    """Find the password of an encrypted key; a person at a terminal is asked."""
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f"Password of {key}: ")
    return given
