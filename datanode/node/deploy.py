"""A storage canister from nothing: created, installed, upgraded, fed."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from datanode.agent.candid import encode
from datanode.agent.client import Agent
from datanode.cleanup import always_after
from datanode.errors import (
    CertificateError,
    NodeRejectedError,
    UnsupportedVersionError,
    UsageError,
)
from datanode.node import management, settings, snapshots
from datanode.node.candid_interface import SETTINGS
from datanode.node.canister import CanisterNode
from datanode.node.management import NodeCanisterStatus
from datanode.packaged_wasm import read_packaged_wasm
from datanode.principal import Principal
from datanode.units import GIB, TC

STORE_VERSION: Final = 3
"""The newest layout of stable memory that the module of this release reads."""

DEFAULT_CYCLES: Final = 100 * TC
"""What a node on a local network starts with: enough for a large model and years of rent."""

BLINDING_SEED_BYTES: Final = 32
INFERENCE_MEMORY_LIMIT_BYTES: Final = 4 * GIB
"""`wasm_memory_limit` of an inference canister: weights may fill the heap of 32-bit Wasm."""

INFERENCE_SECTION: Final = b"datanode:inference"
"""Metadata section that an inference module has and a storage module has not."""


def storage_wasm() -> bytes:
    """Return the storage canister's module, compressed: of the package, or of the checkout.

    Raises:
        UsageError: This installation has none.
    """
    return read_packaged_wasm("storage", "storage canister")


def inference_wasm() -> bytes:
    """Return the inference canister's module; see `storage_wasm`."""
    return read_packaged_wasm("inference", "inference canister")


def create_node(
    agent: Agent,
    *,
    cycles: int = DEFAULT_CYCLES,
    wasm: bytes | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Principal:
    """Create a canister on a local network, out of nothing, and install the storage canister.

    Args:
        agent: Who will control it, and where.
        cycles: What it starts with.
        wasm: The module; None: this release's.
        random_bytes: Source of the seed that blinds the node's certified tree.

    Raises:
        UsageError: The network is mainnet, where `paying` is the way.
    """
    _local_only(agent)
    module = storage_wasm() if wasm is None else wasm
    canister = _created(agent, cycles)
    install_node(agent, canister, wasm=module, random_bytes=random_bytes)
    return canister


def create_empty(agent: Agent, *, cycles: int) -> Principal:
    """Create a canister on a local network, out of nothing, with the settings of a node, no code.

    Raises:
        UsageError: The network is mainnet, where `paying` is the way.
    """
    _local_only(agent)
    canister = _created(agent, cycles)
    settings.apply(agent, canister, settings.GOOD)
    return canister


def install_node(
    agent: Agent,
    canister: Principal,
    *,
    wasm: bytes | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> None:
    """Set up an empty canister that this identity controls, and install the storage canister."""
    module = storage_wasm() if wasm is None else wasm
    # First: on a full subnet the module itself would exceed the default limit of reserved cycles.
    settings.apply(agent, canister, settings.GOOD)
    seed = random_bytes(BLINDING_SEED_BYTES)
    argument = encode((SETTINGS,), ({"blinding_seed": seed},))
    management.install(agent, canister, module, argument, upgrade=False)
    _check_module(agent, canister, module)


def upgrade_node(agent: Agent, canister: Principal, *, wasm: bytes | None = None) -> None:
    """Install this release's module in a node; everything it stores stays.

    Raises:
        UnsupportedVersionError: The node's memory has another layout than the module reads.
        NotStorageNodeError: The canister is something else.
    """
    runs_models = is_inference_node(agent, canister)
    module = wasm or (inference_wasm() if runs_models else storage_wasm())
    store_version = CanisterNode(agent, canister).status().store_version
    if store_version > STORE_VERSION:
        raise UnsupportedVersionError(
            f"{canister} stores in layout {store_version}, this release reads {STORE_VERSION}",
            safe="Nothing was changed.",
        )
    if store_version < STORE_VERSION:
        raise UnsupportedVersionError(
            f"{canister} stores in layout {store_version}; this release's module reads only "
            f"{STORE_VERSION}",
            safe="Nothing was changed; the node goes on with the module that it has.",
            hint="Copy its models to a new node with `datanode copy`.",
        )
    with _quiet(agent, canister) if runs_models else nullcontext():
        management.install(agent, canister, module, encode((), ()), upgrade=True)
    _check_module(agent, canister, module)


@contextmanager
def _quiet(agent: Agent, canister: Principal) -> Iterator[None]:
    """Stop a canister meanwhile: responses to its calls must not come to another module."""
    with always_after(lambda: snapshots.start(agent, canister)):
        snapshots.stop(agent, canister)
        yield


def promote_node(agent: Agent, canister: Principal) -> None:
    """Turn a storage canister into an inference canister; everything it stores stays.

    A canister that runs this release's inference module already is left as it is.

    Raises:
        UnsupportedVersionError: The node's memory has a newer layout than the module reads.
        NotStorageNodeError: The canister is something else.
    """
    module = inference_wasm()
    if _module_hash(agent, canister) == hashlib.sha256(module).digest():
        return
    limit = settings.SettingsChange(wasm_memory_limit_bytes=INFERENCE_MEMORY_LIMIT_BYTES)
    settings.apply(agent, canister, limit)
    upgrade_node(agent, canister, wasm=module)


def is_inference_node(agent: Agent, canister: Principal) -> bool:
    """Tell whether a canister runs an inference module, as the subnet certifies."""
    path = [b"canister", canister.raw, b"metadata", INFERENCE_SECTION]
    return isinstance(agent.read_state(canister, [path]).lookup(path), bytes)


def top_up(agent: Agent, canister: Principal, cycles: int) -> None:
    """Give cycles out of nothing to a node on a local network.

    Raises:
        UsageError: The network is mainnet, where `paying` is the way.
    """
    _local_only(agent)
    management.top_up_from_nothing(agent, canister, cycles)


def canister_status(agent: Agent, canister: Principal) -> NodeCanisterStatus:
    """See `management.canister_status`."""
    return management.canister_status(agent, canister)


def _created(agent: Agent, cycles: int) -> Principal:
    """A message about no canister is sent to where some canister could be."""
    first, *others = management.FIRST_CANISTERS
    try:
        return management.create_from_nothing(agent, cycles, near=first)
    except (CertificateError, NodeRejectedError):
        # Another local network, whose ranges begin elsewhere.
        return management.create_from_nothing(agent, cycles, near=others[0])


def _check_module(agent: Agent, canister: Principal, wasm: bytes) -> None:
    """The subnet certifies what runs now."""
    if _module_hash(agent, canister) != hashlib.sha256(wasm).digest():
        raise CertificateError(f"the module that {canister} runs is not the one that was sent")


def _module_hash(agent: Agent, canister: Principal) -> bytes | None:
    path = [b"canister", canister.raw, b"module_hash"]
    installed = agent.read_state(canister, [path]).lookup(path)
    return installed if isinstance(installed, bytes) else None


def _local_only(agent: Agent) -> None:
    if agent.network.is_mainnet:
        raise UsageError(
            "cycles are not made out of nothing on the Internet Computer",
            safe="Nothing was changed.",
            hint="Pay out of an account on the cycles ledger: `datanode node create`, "
            "`datanode node top-up`.",
        )
