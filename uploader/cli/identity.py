"""`datanode identity`: create, show and import the identity that signs."""

from pathlib import Path
from typing import Annotated

import typer

from datanode import config
from datanode.command_context import IDENTITY_FILE, create_identity, load_identity
from datanode.errors import IdentityError, NotFoundError
from datanode.files import disk_errors, replace_file
from datanode.folders import config_folder
from uploader.cli import options
from uploader.cli.output import Output

app = typer.Typer(no_args_is_help=True, help="Create, show and import the signing identity.")

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="PEM file of the identity.",
        show_default="identity.pem in the configuration folder",
    ),
]


@app.command("new")
def new_command(file: File = None, *, as_json: options.AsJson = False) -> None:
    """Create an identity, an Ed25519 key, and show its principal."""
    path = file or config_folder() / IDENTITY_FILE
    created = create_identity(path)
    Output(as_json=as_json).summary(
        f"created identity {created.principal} in {path}; back up this file",
        principal=created.principal.text,
        file=str(path),
    )


@app.command("show")
def show_command(*, identity: options.Identity = None, as_json: options.AsJson = False) -> None:
    """Show the principal of the identity in use, which also names its cycles ledger account."""
    settings = config.load({"identity": identity})
    output = Output(as_json=as_json)
    if settings.identity == "anonymous":
        from datanode.agent import identity as identities  # noqa: PLC0415 - see `upload`

        found, path = identities.anonymous(), None
    else:
        path = Path(settings.identity or config_folder() / IDENTITY_FILE).expanduser()
        if settings.identity is None and not path.exists():
            raise NotFoundError(
                "there is no identity yet", hint="`datanode identity new` creates one."
            )
        found = load_identity(path)
    output.summary(
        f"{found.principal}" + (f" in {path}" if path else ", the anonymous identity"),
        principal=found.principal.text,
        file=None if path is None else str(path),
    )


@app.command("import")
def import_command(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="PEM file, e.g. of `icp identity export`.")
    ],
    *,
    as_json: options.AsJson = False,
) -> None:
    """Import a PEM file as the identity in use by default; FILE stays as it is."""
    path = config_folder() / IDENTITY_FILE
    found = load_identity(source)
    if path.exists():
        raise IdentityError(
            f"{path} exists already",
            safe="Nothing was changed.",
            hint="Move it away first; models and nodes may belong to it alone.",
        )
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, source.read_bytes())
    Output(as_json=as_json).summary(
        f"imported identity {found.principal} into {path}; back up this file",
        principal=found.principal.text,
        file=str(path),
    )
