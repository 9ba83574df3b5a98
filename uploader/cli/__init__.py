"""The `datanode` command: one file a command, all errors caught here."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from datanode import __version__
from datanode.errors import DataNodeError, from_os_error
from uploader.cli.access import grant_command, revoke_command
from uploader.cli.audit import audit_command
from uploader.cli.cost import cost_command
from uploader.cli.delete import delete_command, gc_command
from uploader.cli.doctor import doctor_command
from uploader.cli.fetch import fetch_command
from uploader.cli.localnet import app as localnet_app
from uploader.cli.models import models_command, show_command
from uploader.cli.node import app as node_app
from uploader.cli.output import Output
from uploader.cli.status import status_command
from uploader.cli.upload import plan_command, upload_command

INTERRUPTED: Final = 130
TERMINATED: Final = 143

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


class _Terminated(BaseException):
    """SIGTERM, turned into an exception so that files and threads are closed."""


def _terminate(_number: int, _frame: object) -> None:
    raise _Terminated


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no traceback reaches the user."""
    args = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _terminate)
    output = Output(as_json="--json" in args)
    try:
        return int(app(args, standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt, _Terminated) as error:  # noqa: BLE001 - the one place
        return _end(error, output)


def _end(error: BaseException, output: Output) -> int:
    """Tell why a command ended and choose its exit code."""
    match error:
        case DataNodeError():
            output.error(error)
            code = error.exit_code
        case TyperException():
            output.usage(error.format_message())
            code = error.exit_code
        case typer.Abort() | KeyboardInterrupt() | _Terminated():
            output.say("stopped: what was sent is stored and paid; run the same command again")
            code = TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
        case BrokenPipeError():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        case OSError():
            mapped = from_os_error(error, "running the command")
            output.error(mapped)
            code = mapped.exit_code
        case _:
            raise error
    return code
