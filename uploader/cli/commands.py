"""All commands, one file each; importing this brings everything along."""

from typing import Annotated

import typer

from datanode import __version__
from uploader.cli.access import (
    grant_command,
    grants_command,
    publish_command,
    revoke_command,
    transfer_command,
    unpublish_command,
)
from uploader.cli.audit import audit_command
from uploader.cli.batch import batch_command
from uploader.cli.copy import copy_command
from uploader.cli.cost import cost_command
from uploader.cli.delete import delete_command, gc_command
from uploader.cli.doctor import doctor_command
from uploader.cli.fetch import fetch_command
from uploader.cli.identity import app as identity_app
from uploader.cli.inference import generate_command, load_command
from uploader.cli.localnet import app as localnet_app
from uploader.cli.models import models_command, show_command
from uploader.cli.node import app as node_app
from uploader.cli.sign import sign_command
from uploader.cli.status import status_command
from uploader.cli.upload import plan_command, upload_command

app = typer.Typer(
    name="datanode",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("plan")(plan_command)
app.command("upload")(upload_command)
app.command("batch")(batch_command)
app.command("copy")(copy_command)
app.command("status")(status_command)
app.command("models")(models_command)
app.command("show")(show_command)
app.command("fetch")(fetch_command)
app.command("audit")(audit_command)
app.command("sign")(sign_command)
app.command("load")(load_command)
app.command("generate")(generate_command)
app.command("grant")(grant_command)
app.command("revoke")(revoke_command)
app.command("grants")(grants_command)
app.command("publish")(publish_command)
app.command("unpublish")(unpublish_command)
app.command("transfer")(transfer_command)
app.command("delete")(delete_command)
app.command("gc")(gc_command)
app.command("cost")(cost_command)
app.command("doctor")(doctor_command)
app.add_typer(identity_app, name="identity")
app.add_typer(node_app, name="node")
app.add_typer(localnet_app, name="localnet")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        print(f"datanode {__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Put the weights of language models on the Internet Computer, and prove they are there."""
