"""All commands, one file each; importing this brings everything along."""

from typing import Annotated

import typer

from datanode import __version__
from uploader.cli.access import grant_command, revoke_command
from uploader.cli.audit import audit_command
from uploader.cli.cost import cost_command
from uploader.cli.delete import delete_command, gc_command
from uploader.cli.doctor import doctor_command
from uploader.cli.fetch import fetch_command
from uploader.cli.localnet import app as localnet_app
from uploader.cli.models import models_command, show_command
from uploader.cli.node import app as node_app
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
app.command("status")(status_command)
app.command("models")(models_command)
app.command("show")(show_command)
app.command("fetch")(fetch_command)
app.command("audit")(audit_command)
app.command("grant")(grant_command)
app.command("revoke")(revoke_command)
app.command("delete")(delete_command)
app.command("gc")(gc_command)
app.command("cost")(cost_command)
app.command("doctor")(doctor_command)
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
        typer.Option("--version", callback=_show_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Put the weights of language models on the Internet Computer, and prove they are there."""
