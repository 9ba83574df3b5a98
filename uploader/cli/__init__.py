"""The `datanode` command: its signals, its errors and its exit codes, in one place.

The commands themselves are imported by `main`, so that even a Ctrl-C in the first moment ends in
peace.
"""

import logging
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Final

from datanode.errors import (
    DataNodeError,
    OutputClosedError,
    StoppedByUserError,
    UsageError,
    from_os_error,
)
from uploader.cli.signals import leave, run_command
from uploader.cli.streams import GuardedStream, guarded_streams
from uploader.shield import SignalledError

_SHOW_CURSOR: Final = "\x1b[?25h"
_SAFE: Final = "What was sent is stored and paid; files that exist are whole."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no traceback reaches the user."""
    args = list(sys.argv[1:] if argv is None else argv)
    # Libraries log what they also raise: an interrupt in a connection's reset, with its traceback.
    logging.lastResort = logging.NullHandler()
    with guarded_streams() as (out, err):
        code = _run(args)
        if not (out.is_lost or err.is_lost):
            code = _flush(out, code, args)
        if code == 0 and (out.is_lost or err.is_lost):
            code = OutputClosedError.exit_code
        return leave(code) if argv is None else code


def _run(args: Sequence[str]) -> int:
    def work() -> int:
        # Imported here: it takes half a second, in which a signal would be a traceback.
        from uploader.cli.commands import app  # noqa: PLC0415

        return int(app(args, standalone_mode=False) or 0)

    try:
        return run_command(work)
    except SystemExit as ended:  # typer leaves like this when it has completed a command line
        return ended.code if isinstance(ended.code, int) else 0
    except (Exception, KeyboardInterrupt, SignalledError) as error:  # noqa: BLE001 - the one place
        return _end(error, args)


def _take_streams_over() -> None:
    """Let nothing that still goes on write after the last words; show the cursor again."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, GuardedStream):
            stream.only_thread = threading.current_thread()
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)


def _flush(out: GuardedStream, code: int, args: Sequence[str]) -> int:
    """Flush the results, which may fail as any write may."""
    try:
        out.flush()
    except (DataNodeError, OSError) as error:
        return _end(error, args)
    return code


def _end(error: BaseException, args: Sequence[str]) -> int:
    """Tell why a command ended and choose its exit code."""
    import typer  # noqa: PLC0415 - see above
    from typer.exceptions import TyperException  # noqa: PLC0415

    from uploader.cli.output import Output  # noqa: PLC0415

    output = Output(as_json="--json" in args)
    match error:
        case KeyboardInterrupt() | SignalledError():
            signalled = (
                error if isinstance(error, SignalledError) else SignalledError(signal.SIGINT)
            )
            _take_streams_over()
            hint = f"Go on with: datanode {shlex.join(args)}"
            stopped = StoppedByUserError("stopped", safe=signalled.safe or _SAFE, hint=hint)
            output.error(stopped, code=(code := signalled.exit_code))
        case OutputClosedError() if not error.what:
            code = error.exit_code  # as other programs end that lose their reader: in silence
        case UsageError() if not (error.safe or error.hint):
            output.usage(error.what)
            code = error.exit_code
        case DataNodeError():
            output.error(error)
            code = error.exit_code
        case TyperException():
            text = error.format_message()
            if text.startswith("Usage: "):
                # The help of a group that was given no command: its lines are to stay lines.
                print(text, file=sys.stderr)
            else:
                output.usage(text)
            code = error.exit_code
        case typer.Abort():
            output.say("nothing was done")
            code = 1
        case OSError():
            mapped = from_os_error(error, "running the command")
            output.error(mapped)
            code = mapped.exit_code
        case _:
            if os.environ.get("DATANODE_DEBUG"):
                traceback.print_exception(error)
            what = f"internal error: {type(error).__name__}: {error}"
            hint = "Please report it with what DATANODE_DEBUG=1 shows."
            output.error(DataNodeError(what, safe=_SAFE, hint=hint))
            code = 1
    return code
