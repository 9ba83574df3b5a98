"""`datanode localnet deploy`: a canister of your own on the embedded network."""

import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from datanode.errors import UsageError
from datanode.localnet import process
from datanode.text import printable
from uploader.cli import options
from uploader.cli.amounts import parse_cycles
from uploader.cli.output import Output

if TYPE_CHECKING:
    from datanode.agent.identity import Identity
    from datanode.localnet.api import LocalNetwork

CandidFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--candid",
        metavar="FILE",
        help="Interface of the canister (.did).",
        show_default="the one in its module (candid:service)",
    ),
]

_DEFAULT_CYCLES = "100TC"
_NAME_LENGTH = 64


def deploy_command(
    wasm: Annotated[
        Path, typer.Argument(metavar="WASM", help="Module: Wasm, gzipped Wasm, or WAT.")
    ],
    *,
    canister: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Upgrade this canister.", show_default="a new canister is created"
        ),
    ] = None,
    reinstall: Annotated[
        bool, typer.Option("--reinstall", help="With --canister: clear its memory.")
    ] = False,
    keep_heap: Annotated[
        bool,
        typer.Option(
            "--keep-heap", help="With --canister: hand the heap over (wasm_memory_persistence)."
        ),
    ] = False,
    argument: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Arguments in textual Candid, e.g. '(5, \"five\")'."),
    ] = None,
    argument_hex: Annotated[
        str | None, typer.Option(metavar="HEX", help="Encoded Candid arguments, in hex.")
    ] = None,
    candid: CandidFile = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name on the network's page.", show_default="that of the file"),
    ] = None,
    cycles: Annotated[
        str, typer.Option(metavar="CYCLES", help="Balance of a new canister, e.g. 5TC.")
    ] = _DEFAULT_CYCLES,
    identity: options.LocalCaller = None,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Install WASM in a new canister, or in one that exists.

    Creation is free here. The canister's id and its page are printed.
    """
    from datanode.localnet.api import LocalNetwork  # noqa: PLC0415 - with its libraries

    if canister is None and (reinstall or keep_heap):
        raise UsageError("--reinstall and --keep-heap need --canister")
    if reinstall and keep_heap:
        raise UsageError("--reinstall clears the heap, --keep-heap keeps it")
    if argument is not None and argument_hex is not None:
        raise UsageError("--argument and --argument-hex are the same arguments in two forms")
    args = [argument] if argument is not None else _unhex(argument_hex)
    output = Output(as_json=as_json)
    balance = parse_cycles(cycles)
    with LocalNetwork(state_dir).attached() as net:
        who = caller(net, identity)
        if canister is None:
            handle = net.create_canister(
                wasm,
                *args,
                cycles=balance,
                identity=who,
                name=name or printable(wasm.stem)[:_NAME_LENGTH],
                candid=candid,
            )
        else:
            handle = net.canister(canister, identity=who, candid=candid)
            if reinstall:
                handle.reinstall(wasm, *args)
            else:
                handle.upgrade(wasm, *args, wasm_memory_persistence="keep" if keep_heap else None)
        page = f"{net.url}/_/page/canister/{handle.id}"
        output.summary(
            f"{handle.id} runs {wasm.name}; its page is {page}",
            canister=handle.id.text,
            controller=who.principal.text,
            page=page,
        )


def caller(net: "LocalNetwork", identity: Path | None) -> "Identity":
    """Load the identity that calls; by default the network's `owner`."""
    from datanode.agent import identity as identities  # noqa: PLC0415 - with its libraries

    return net.owner if identity is None else identities.load(identity)


def _unhex(text: str | None) -> list[bytes]:
    try:
        return [] if text is None else [binascii.unhexlify(text)]
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"--argument-hex is not hex: {error}") from None
