"""`datanode localnet call`: call a canister on the embedded network in textual Candid."""

from typing import Annotated

import typer

from datanode.localnet import process
from uploader.cli import options
from uploader.cli.localnet_deploy import CandidFile, caller
from uploader.cli.output import Output


def call_command(
    canister: Annotated[str, typer.Argument(metavar="CANISTER", help="Id of the canister.")],
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Method to call.")],
    arguments: Annotated[
        str, typer.Argument(metavar="ARGUMENTS", help="Textual Candid, e.g. '(5, opt \"five\")'.")
    ] = "()",
    *,
    candid: CandidFile = None,
    identity: options.LocalCaller = None,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    as_json: options.AsJson = False,
) -> None:
    """Call a method in textual Candid and print the reply.

    The interface says whether the method is a query or an update. Without an interface, arguments
    have the types that they state, e.g. '(5 : nat64)', and the call is an update.
    """
    from datanode.localnet.api import LocalNetwork  # noqa: PLC0415 - with its libraries

    output = Output(as_json=as_json)
    with LocalNetwork(state_dir).attached() as net:
        handle = net.canister(canister, identity=caller(net, identity), candid=candid)
        reply = handle.call(method, arguments)
    output.summary(reply, canister=canister, method=method, reply=reply)
