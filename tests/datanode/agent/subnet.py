"""A subnet that signs whatever a test wants, with the root subnet that vouches for it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import pyblst

from datanode import cbor
from datanode.agent.bls import DER_PREFIX, HASH_TO_CURVE_DOMAIN
from datanode.agent.hash_tree import HashTree, Plan
from datanode.agent.request_id import leb128
from datanode.principal import Principal

_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_G2 = pyblst.BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
    )
)
LOW = Principal(bytes(8) + b"\x01\x01")
HIGH = Principal(bytes(7) + b"\xff\x01\x01")


@dataclass(frozen=True)
class Subnet:
    """A BLS key and what it signs."""

    name: str

    @property
    def secret(self) -> int:
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()) % _ORDER

    @property
    def public_key_der(self) -> bytes:
        return DER_PREFIX + bytes(_G2.scalar_mul(self.secret).compress())

    @property
    def principal(self) -> Principal:
        return Principal.self_authenticating(self.public_key_der)

    def sign(self, message: bytes) -> bytes:
        point = pyblst.BlstP1Element.hash_to_group(message, HASH_TO_CURVE_DOMAIN)
        return bytes(point.scalar_mul(self.secret).compress())

    def certify(
        self, tree: HashTree | Plan, *, delegation: Mapping[str, cbor.Encodable] | None = None
    ) -> bytes:
        tree = tree if isinstance(tree, HashTree) else HashTree.from_dict(tree)
        content: dict[str, cbor.Encodable] = {
            "tree": tree.to_cbor(),
            "signature": self.sign(b"\x0dic-state-root" + tree.digest()),
        }
        if delegation is not None:
            content["delegation"] = delegation
        return cbor.encode(content, tagged=True)


ROOT = Subnet("root")
APP = Subnet("application")
TIME_NS = 1_750_000_000_000_000_000


def delegation(
    *,
    low: Principal = LOW,
    high: Principal = HIGH,
    sharded: bool = True,
    signer: Subnet = ROOT,
    to: Subnet = APP,
    nested: Mapping[str, cbor.Encodable] | None = None,
) -> dict[str, cbor.Encodable]:
    """Statement of the root subnet about the application subnet."""
    ranges = cbor.encode([[low.raw, high.raw]], tagged=True)
    subnet: dict[bytes, Plan | bytes] = {b"public_key": to.public_key_der}
    plan: dict[bytes, Plan | bytes] = {
        b"subnet": {to.principal.raw: subnet},
        b"time": leb128(TIME_NS - 10**18),
    }
    if sharded:
        plan[b"canister_ranges"] = {to.principal.raw: {low.raw: ranges}}
    else:
        subnet[b"canister_ranges"] = ranges
    return {
        "subnet_id": to.principal.raw,
        "certificate": signer.certify(plan, delegation=nested),
    }
