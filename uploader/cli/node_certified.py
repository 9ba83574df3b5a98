"""`datanode node status` for who does not control the node: what the subnet certifies of it."""

import hashlib
import time

from datanode.auditing.verifying import canister_facts, facts_paths
from datanode.node import deploy
from datanode.principal import Principal
from uploader.cli.output import Output
from uploader.command_context import CommandContext


def show_certified(output: Output, context: CommandContext, principal: Principal) -> None:
    """Show a canister's module and controllers, as its subnet certifies them.

    Raises:
        CertificateError: It is not proven.
    """
    facts = canister_facts(
        context.agent.certificate(principal, facts_paths(principal)),
        root_key=context.network.root_key,
        node=principal,
        now_ns=time.time_ns(),
    )
    release = _name_of(facts.module_hash)
    controllers = [each.text for each in facts.controllers]
    output.say("this identity does not control the node: what its subnet certifies is shown")
    output.table(
        ["canister", principal.text],
        [
            ["module", facts.module_hash.hex()],
            ["known as", release or "no module of this release"],
            ["controllers", " ".join(controllers)],
        ],
    )
    output.summary(
        "",
        canister=principal.text,
        module_hash=facts.module_hash.hex(),
        module=release,
        controllers=controllers,
    )


def _name_of(module_hash: bytes) -> str | None:
    known = {
        "this release's storage module": deploy.storage_wasm(),
        "this release's inference module": deploy.inference_wasm(),
    }
    names = (name for name, wasm in known.items() if hashlib.sha256(wasm).digest() == module_hash)
    return next(names, None)
