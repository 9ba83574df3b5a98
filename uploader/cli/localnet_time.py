"""`datanode localnet time`: lets the embedded network's canisters age."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final, cast

import typer

from datanode.errors import LocalNetworkError, UsageError
from datanode.localnet import process
from datanode.localnet.admin_client import ask
from datanode.units import DAY_S, HOUR_S, MINUTE_S, SECOND_NS, format_duration
from uploader.cli import options
from uploader.cli.output import Output

_UNITS: Final = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}
_DURATION: Final = re.compile(r"(\d{1,12})([smhd])")


def time_command(
    *,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    advance: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Let so much pass at once: 90s, 15m, 6h, 30d."),
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, help="From now on run so many times as fast as the clock.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the time canisters are told; let it pass, or run faster."""
    wanted: dict[str, object] = {"rate": rate}
    if advance is not None:
        wanted["advance_s"] = _seconds(advance)
    running = process.status(state_dir)
    if running is None:
        raise LocalNetworkError(
            f"no network runs in {state_dir}", hint="Start it: `datanode localnet start --detach`."
        )
    changes = {name: value for name, value in wanted.items() if value is not None}
    said = cast("dict[str, int]", ask(running.url, "/_/time", changes or None))
    now = datetime.fromtimestamp(said["canister_time_ns"] // SECOND_NS, UTC)
    ahead = format_duration(said["ahead_ns"] // SECOND_NS)
    Output(as_json=as_json).summary(
        f"canister time is {now:%Y-%m-%d %H:%M:%S} UTC, {ahead} ahead of the clock,"
        f" {said['rate']} times as fast",
        **said,
    )


def _seconds(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no time", hint="Write e.g. 90s, 15m, 6h or 30d.")
    return int(found[1]) * _UNITS[found[2]]
