"""`datanode sign`: sign a stored model from its certified manifest; no file is read."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from datanode.command_context import ContextArguments
from datanode.files import disk_errors, replace_file
from uploader.cli import options
from uploader.cli.output import Output
from uploader.cli.signature_options import coverage_fields
from uploader.cli.suggest import suggesting_models
from uploader.cli.where import with_where

PASSWORD_VARIABLE: Final = "DATANODE_KEY_PASSWORD"  # noqa: S105 - a name, no password


@with_where()
def sign_command(
    model: options.Model,
    *,
    key: Annotated[
        Path,
        typer.Option(
            "--key", metavar="PEM", help="Private key on P-256, P-384 or P-521, in a PEM file."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Bundle to write.")] = Path(
        "model.sig"
    ),
    version: options.Version = None,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Sign MODEL as OpenSSF Model Signing describes.

    The SHA-256 of each file is taken from the certified manifest; nothing is fetched. The file that
    --out names and Git's own files are left out. Needs the extra `sign`.
    """
    from datanode.model_signature import sign_version  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    with where.open(output.say, strict_clock=True) as context, suggesting_models(context, model):
        opened = context.open_version(model, version)
    # The manifest's head was read with the version; nothing else is needed.
    bundle, coverage = sign_version(opened, key, name=out.name, password=lambda: _password(key))
    with disk_errors(out):
        replace_file(out, bundle, mode=0o644)
    output.summary(
        f"{model} version {opened.version}: {coverage}; written to {out}",
        model=model,
        version=opened.version,
        file=str(out),
        **coverage_fields(coverage),
    )


def _password(key: Path) -> str | None:
    """Find the password of an encrypted key; a person at a terminal is asked."""
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f"Password of {key}: ")
    return given
