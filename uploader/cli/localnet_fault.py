"""`datanode localnet fault`: faults on cue, to see how uploads, audits and canisters react.

The help of `set` is made from the declarations in `datanode.localnet.state.fault`.
"""

import textwrap
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from datanode.errors import LocalNetworkError
from datanode.localnet import process
from datanode.localnet.admin_client import ask
from datanode.localnet.faults import DrainLevel, Fault, Faults, FaultVerb, kind_of
from datanode.localnet.state.fault import HELP, FaultKind, parameters_help
from datanode.units import format_cycles
from uploader.cli import options
from uploader.cli.amounts import parse_canister
from uploader.cli.output import Json, Output

app = typer.Typer(
    no_args_is_help=True, help="Set, list and clear faults; damage canisters on purpose."
)

CanisterId = Annotated[
    str,
    typer.Argument(
        metavar="CANISTER",
        help="A canister id, or a node's name.",
        autocompletion=options.known_nodes,
    ),
]
Offset = Annotated[int, typer.Option(min=0, help="Offset in stable memory, bytes.")]

_HELP_COLUMNS: Final = 76
_ALWAYS: Final = {"every": 1, "count": None, "probability": 1.0, "seed": 0, "seconds": None}
_EXAMPLES: Final = """
datanode localnet fault set latency --ms 300 --verb call
datanode localnet fault set busy --status 429 --probability 0.2 --seed 7
datanode localnet fault set lose-answer --method put_frames --every 3
datanode localnet fault set blocks --interval-ms 1000 --bytes 4194304
datanode localnet fault set no-growth --every 3 --count 1
datanode localnet fault set skew --s -600"""


def _set_help() -> str:
    """Describe every kind, for a terminal that is told to keep the lines apart."""
    kinds = [
        textwrap.fill(
            HELP[kind] + (f" [{takes}]" if (takes := parameters_help(kind)) else ""),
            _HELP_COLUMNS,
            initial_indent=f"  {kind:20} ",
            subsequent_indent=" " * 23,
        )
        for kind in FaultKind
    ]
    return "\n".join(
        [
            "Set a fault; it strikes until it is cleared.",
            "",
            "\b",
            "Kinds, with their parameters and defaults in brackets:",
            *kinds,
            "",
            "\b",
            "Examples:",
            *(f"  {line}" for line in _EXAMPLES.splitlines() if line),
        ]
    )


def known_kinds(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the kind of a fault, for the shell."""
    yield from ((kind.value, HELP[kind]) for kind in FaultKind if kind.value.startswith(incomplete))


@app.command("set", help=_set_help())
def set_command(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="One of the kinds above.", autocompletion=known_kinds),
    ],
    *,
    ms: Annotated[
        int | None, typer.Option(help="latency, late, duplicate: delay in milliseconds.")
    ] = None,
    before_expiry_ms: Annotated[
        int | None, typer.Option(help="late: milliseconds before the expiry; negative: after it.")
    ] = None,
    status: Annotated[int | None, typer.Option(help="busy: HTTP status, e.g. 429 or 503.")] = None,
    retry_after_s: Annotated[
        int | None, typer.Option(help="busy: Retry-After header, in seconds.")
    ] = None,
    copies: Annotated[int | None, typer.Option(help="duplicate: number of copies.")] = None,
    interval_ms: Annotated[
        int | None, typer.Option(help="blocks: milliseconds between two blocks.")
    ] = None,
    size_bytes: Annotated[
        int | None, typer.Option("--bytes", help="blocks: maximum bytes.")
    ] = None,
    messages: Annotated[int | None, typer.Option(help="blocks: maximum messages.")] = None,
    mark: Annotated[str | None, typer.Option(help="stale-query: name of the mark.")] = None,
    at: Annotated[
        int | None, typer.Option(help="lie: index of the byte; negative: from the end.")
    ] = None,
    xor: Annotated[int | None, typer.Option(help="lie: value that the byte is XORed with.")] = None,
    age_s: Annotated[int | None, typer.Option(help="old-certificate: age in seconds.")] = None,
    s: Annotated[int | None, typer.Option(help="skew: seconds ahead; negative: behind.")] = None,
    canister: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Strike only requests that concern this canister."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="Strike only calls of this method.")] = None,
    verb: Annotated[
        FaultVerb | None, typer.Option(help="Strike only requests of this sort.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Strike at most N times.", metavar="N")] = None,
    every: Annotated[
        int, typer.Option(help="Strike every N-th matching request.", metavar="N")
    ] = 1,
    probability: Annotated[
        float, typer.Option(help="Strike with this probability, above 0 and up to 1.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Random seed, for repeatable runs.")] = 0,
    seconds: Annotated[
        float | None, typer.Option(help="Expire after N seconds.", metavar="N")
    ] = None,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Set a fault."""
    given: dict[str, int | str | None] = {
        "ms": ms,
        "before_expiry_ms": before_expiry_ms,
        "status": status,
        "retry_after_s": retry_after_s,
        "copies": copies,
        "interval_ms": interval_ms,
        "bytes": size_bytes,
        "messages": messages,
        "mark": mark,
        "at": at,
        "xor": xor,
        "age_s": age_s,
        "s": s,
    }
    fault = Fault(
        kind=kind_of(kind),
        parameters=tuple((name, value) for name, value in given.items() if value is not None),
        canister=None if canister is None else parse_canister(canister),
        method=method,
        verb=verb,
        count=count,
        every=every,
        probability=probability,
        seed=seed,
        seconds=seconds,
    )
    number = _faults(state_dir).set_fault(fault)
    fields = fault.to_json()
    words = " ".join(filter(None, (kind, _parameters(fields), _scope(fields))))
    Output(as_json=as_json).summary(
        f"fault {number} is set: {words}; `datanode localnet fault clear {number}` ends it",
        number=number,
        **_json(fields),
    )


@app.command("list")
def list_command(
    *, state_dir: options.StateDir = process.DEFAULT_STATE_DIR, as_json: options.AsJson = False
) -> None:
    """Show the faults that are set, and how often each has struck."""
    output = Output(as_json=as_json)
    standing = _faults(state_dir).standing()
    rows = []
    for each in standing:
        output.item(**_json(each))
        rows.append(
            [
                str(each["number"]),
                str(each["kind"]),
                _parameters(each),
                _scope(each) or "everything",
                f"{each['struck_count']} of {each['matched_count']}",
                "over" if each["over"] else "set",
            ]
        )
    if rows:
        output.table(["> no.", "kind", "parameters", "scope", "> struck", "state"], rows)
    output.summary(
        "" if rows else "no fault is set",
        faults=len(standing),
        struck=sum(cast("int", each["struck_count"]) for each in standing),
    )


@app.command("clear")
def clear_command(
    number: Annotated[
        int | None,
        typer.Argument(metavar="NUMBER", help="Number of the fault; without it, all faults."),
    ] = None,
    *,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Clear a fault, or all of them."""
    cleared = _faults(state_dir).clear(number)
    Output(as_json=as_json).summary(f"faults cleared: {cleared}", cleared=cleared)


@app.command("drain")
def drain_command(
    canister: CanisterId,
    *,
    to: Annotated[DrainLevel, typer.Option(help="DrainLevel to drain to.")] = DrainLevel.THRESHOLD,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Take cycles away from a canister at once; the ledger shows it."""
    found = parse_canister(canister)
    left = _faults(state_dir).drain(found, to)
    Output(as_json=as_json).summary(
        f"{found} has {format_cycles(left)} left", canister=found.text, balance_cycles=left
    )


@app.command("flip")
def flip_command(
    canister: CanisterId,
    *,
    offset: Offset,
    xor: Annotated[
        int, typer.Option(min=1, max=255, help="Value that the byte is XORed with.")
    ] = 1,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Change one byte of a canister's stable memory."""
    found = parse_canister(canister)
    _faults(state_dir).flip(found, offset, xor)
    Output(as_json=as_json).summary(
        f"the byte at {offset} is changed", canister=found.text, offset=offset, xor=xor
    )


@app.command("erase")
def erase_command(
    canister: CanisterId,
    *,
    offset: Offset,
    length: Annotated[int, typer.Option(min=1, help="Number of bytes.")],
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Zero a range of a canister's stable memory."""
    found = parse_canister(canister)
    _faults(state_dir).erase(found, offset, length)
    Output(as_json=as_json).summary(
        f"{length} bytes at {offset} are erased", canister=found.text, offset=offset, length=length
    )


@app.command("mark")
def mark_command(
    canister: CanisterId,
    *,
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Name of the mark.")] = "mark",
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Mark a canister's state, for `rollback` and `stale-query`."""
    found = parse_canister(canister)
    _faults(state_dir).mark(found, name)
    Output(as_json=as_json).summary(
        f"the state of {found} is marked as {name}", canister=found.text, mark=name
    )


@app.command("rollback")
def rollback_command(
    canister: CanisterId,
    *,
    to: Annotated[str, typer.Option(metavar="NAME", help="Name of the mark.")] = "mark",
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Roll a canister back to a mark.

    Memory, code and certified data go back; cycles and settings stay.
    """
    found = parse_canister(canister)
    _faults(state_dir).roll_back(found, to)
    Output(as_json=as_json).summary(f"{found} is what it was at {to}", canister=found.text, mark=to)


def _faults(state_dir: Path) -> Faults:
    running = process.status(state_dir)
    if running is None:
        raise LocalNetworkError(
            f"no network runs in {state_dir}", hint="Start it: `datanode localnet start --detach`."
        )
    return Faults(partial(ask, running.url))


def _parameters(fault: Mapping[str, object]) -> str:
    given = cast("Mapping[str, int | str]", fault["parameters"])
    return " ".join(f"{name}={value}" for name, value in given.items())


def _scope(fault: Mapping[str, object]) -> str:
    """Say what a fault strikes and how often; nothing if it is everything, always."""
    asked = [str(fault[name]) for name in ("canister", "method", "verb") if fault[name]]
    limits = [f"{name}={fault[name]}" for name, usual in _ALWAYS.items() if fault[name] != usual]
    return " ".join([*asked, *limits])


def _json(fields: object) -> dict[str, Json]:
    return cast("dict[str, Json]", fields)
