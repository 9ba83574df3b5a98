"""Hostile Candid against the storage canister: every argument is decoded or refused, none panics.

`DATANODE_MUTATIONS` is the number of mutated arguments; the default suits a test run.
"""

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from datanode.agent.candid import Value, encode
from datanode.errors import DataNodeError
from datanode.localnet.api import LocalNetwork
from datanode.node.candid_interface import METHODS
from datanode.principal import Principal
from tests.fakes.canister_world import CanisterWorld

MUTATIONS: Final = int(os.environ.get("DATANODE_MUTATIONS", "500"))
PANICS: Final = ("panicked", "unreachable", "out of bounds", "heap", "stack", "instruction limit")
REFUSED: Final = "the argument cannot be read: "

DIGEST: Final = bytes(range(32))
WHO: Final = Principal(b"\1\2\3")
GRANT: Final[Value] = {
    "to": WHO,
    "role": ("reader", None),
    "model": "llama",
    "expires_ns": None,
    "quota_bytes": None,
}
SEAL: Final[Value] = {
    "model": "llama",
    "manifest": DIGEST,
    "placement": DIGEST,
    "expected_version": 1,
}
VALID: Final[dict[str, tuple[Value, ...]]] = {
    "begin_upload": ({"model": "llama", "frames": 1, "frame_bytes": 1, "takeover": False},),
    "renew_upload": (7,),
    "end_upload": (7,),
    "leases": (7,),
    "end_lease": (7,),
    "put_frames": (7, [b"frame", b""]),
    "pin_frames": (7, [DIGEST, DIGEST]),
    "lease_frames": (7, DIGEST),
    "missing_frames": (7, [DIGEST]),
    "find_contents": ([DIGEST],),
    "seal_model": (7, SEAL, b"\1" + bytes(8)),
    "get_frames": ({"model": "llama", "manifest": DIGEST, "chunks": [0, 1]},),
    "get_manifest": ({"model": "llama", "manifest": DIGEST, "part": ("chunk_page", 1)},),
    "models": ("llama",),
    "model": ("llama",),
    "tensor_list": ("llama", 1, bytes(4)),
    "witness": ({"model": "llama", "version": 1},),
    "scrub": (b"", 1),
    "delete_model": ("llama", 1, b""),
    "collect_garbage": ({"force": True}, b""),
    "grant": (GRANT,),
    "revoke": ({"to": WHO, "role": ("uploader", None), "model": None},),
    "grants": ("llama",),
    "transfer_model": ({"model": "llama", "to": WHO},),
    "set_visibility": ({"model": "llama", "visibility": ("public", None)},),
    "status": (),
}


def _flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randrange(1, 9)] * rng.randrange(1, 200)


def _inflate(data: bytearray, rng: random.Random) -> None:
    """Claim a length or an index that is much too large."""
    data[rng.randrange(4, len(data)) :] = b"\xff\xff\xff\xff\x0f" + rng.randbytes(8)


def _nest(data: bytearray, rng: random.Random) -> None:
    """A type table of vectors of vectors, down to a depth, with no value."""
    depth = rng.randrange(1, 120)
    table = b"".join(bytes([0x6D, min(index + 1, depth - 1)]) for index in range(depth))
    data[:] = b"DIDL" + bytes([depth]) + table + b"\1\0" + b"\1" * rng.randrange(300)


def _bomb(data: bytearray, rng: random.Random) -> None:
    """A vector of as many nulls as a number can count."""
    data[:] = b"DIDL\1\x6d\x7f\1\0" + b"\xff" * rng.randrange(1, 9) + b"\x7f"


MUTATORS: Final[tuple[Callable[[bytearray, random.Random], None], ...]] = (
    _flip,
    _cut,
    _repeat,
    _inflate,
    _nest,
    _bomb,
)


@pytest.fixture(scope="module")
def world(
    network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CanisterWorld]:
    with contextlib.closing(CanisterWorld(network, tmp_path_factory.mktemp("candid"))) as world:
        yield world


def _mutated(method: str, rng: random.Random) -> bytes:
    data = bytearray(encode(METHODS[method].arguments, VALID[method]))
    for _ in range(rng.randrange(1, 4)):
        if len(data) > 4:
            rng.choice(MUTATORS)(data, rng)
    return bytes(data[:100_000])


def test_no_argument_makes_the_canister_panic(world: CanisterWorld) -> None:
    names = sorted(METHODS)
    assert set(names) <= set(VALID)
    agent = world.agent("controller")
    rng = random.Random(9)
    refused = told = 0
    for count in range(MUTATIONS):
        method = names[count % len(names)]
        argument = _mutated(method, rng)
        ask = agent.query if METHODS[method].query else agent.call
        try:
            ask(world.canister, method, argument)
        except DataNodeError as error:
            refused += 1
            said = f"{error.what} {error.hint}".lower()
            told += REFUSED in said
            assert not any(word in said for word in PANICS), f"{method} {said} {argument.hex()}"
    assert told > MUTATIONS // 4, "a caller is told what is wrong"
    assert refused > MUTATIONS // 4, "the mutations are hostile"
    assert world.node.status().details is not None
