"""Certificates as subnets make them: a pruned state tree, signed, with the root's delegation.

The delegation stands in every certificate of the application subnet and stays the same for a day:
readers refuse one that is a month old. It is shown in the two forms that the interface has had:
canister ranges as one leaf under `/subnet/<id>/canister_ranges` (call v2 and v3, read_state v2), or
in shards under `/canister_ranges/<subnet>/<first id of the shard>` (call v4, read_state v3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from datanode import cbor
from datanode.agent.hash_tree import HashTree, Plan
from datanode.agent.request_id import leb128, request_id
from datanode.cbor import Encodable
from datanode.localnet.state import bls_keys, state_tree
from datanode.localnet.state.network_clock import Clock
from datanode.localnet.state.state_tree import Branch, Path
from datanode.localnet.state.topology import OTHER_RANGE, RANGES, Topology, range_list
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS

_STATE_DOMAIN: Final = b"\x0dic-state-root"
_RESPONSE_DOMAIN: Final = b"\x0bic-response"
_DELEGATION_AGE_NS: Final = DAY_S * SECOND_NS


class RangesForm(Enum):
    """Where a delegation shows the canister ranges."""

    LEAF = "leaf"
    SHARDS = "shards"


@dataclass(frozen=True, slots=True)
class ReplicaSignature:
    """A node's signature under the answer to a query."""

    timestamp_ns: int
    signature: bytes
    node: Principal


class Certifier:
    """Signs for both subnets and for the node."""

    def __init__(self, topology: Topology, clock: Clock) -> None:
        self._topology = topology
        self._clock = clock
        self._delegated_ns = clock.now_ns()
        self._delegations = self._delegate(self._delegated_ns)

    def certificate(
        self,
        state: Mapping[bytes, Branch],
        paths: Iterable[Path],
        *,
        form: RangesForm = RangesForm.SHARDS,
        age_ns: int = 0,
    ) -> bytes:
        """Certify what the application subnet says of some paths, now.

        Args:
            state: The state without its time.
            paths: What is shown; `/time` always is.
            form: Which form of the delegation the reader expects.
            age_ns: How old the certificate claims to be; a fault on cue.
        """
        now_ns = self._clock.now_ns()
        if now_ns - self._delegated_ns > _DELEGATION_AGE_NS:
            self._delegated_ns, self._delegations = now_ns, self._delegate(now_ns)
        tree = _tree(state, paths, now_ns - age_ns)
        return _encoded(tree, self._topology.subnet_secret, self._delegations[form])

    def foreign_certificate(self, state: Mapping[bytes, Branch], paths: Iterable[Path]) -> bytes:
        """Certify the same as a subnet that does not host the canister; a fault on cue."""
        now_ns = self._clock.now_ns()
        key = bls_keys.public_key(self._topology.other_secret)
        subnet = Principal.self_authenticating(key).raw
        low, high = OTHER_RANGE
        ranges = cbor.encode([[low.raw, high.raw]], tagged=True)
        proof: Plan = {
            b"canister_ranges": {subnet: {low.raw: ranges}},
            b"subnet": {subnet: {b"canister_ranges": ranges, b"public_key": key}},
            b"time": leb128(now_ns),
        }
        delegation = _encoded(HashTree.from_dict(proof), self._topology.root_secret, None)
        return _encoded(
            _tree(state, paths, now_ns),
            self._topology.other_secret,
            {"subnet_id": subnet, "certificate": delegation},
        )

    def root_certificate(self, state: Mapping[bytes, Branch], paths: Iterable[Path]) -> bytes:
        """Certify what the root subnet says of some paths, now."""
        tree = _tree(state, paths, self._clock.now_ns())
        return _encoded(tree, self._topology.root_secret, None)

    def node_signature(self, answer: Mapping[str, Encodable], query_id: bytes) -> ReplicaSignature:
        """Sign the answer to a query as the node."""
        now_ns = self._clock.now_ns()
        digest = request_id({**answer, "timestamp": now_ns, "request_id": query_id})
        signature = self._topology.node_secret.sign(_RESPONSE_DOMAIN + digest)
        return ReplicaSignature(now_ns, signature, self._topology.node_id)

    def subnets(self) -> Plan:
        """The `/subnet` part of the state: keys, ranges and nodes of both subnets."""
        topology = self._topology
        node: Plan = {topology.node_id.raw: {b"public_key": topology.node_key}}
        return {
            topology.subnet_id.raw: {
                b"canister_ranges": _ranges_leaf(),
                b"node": node,
                b"public_key": topology.subnet_key,
                b"type": b"application",
            },
            topology.root_id.raw: {
                b"canister_ranges": cbor.encode([], tagged=True),
                b"node": node,
                b"public_key": topology.root_key,
                b"type": b"system",
            },
        }

    def canister_ranges(self) -> Plan:
        """The `/canister_ranges` part of the state: one shard for the application subnet."""
        return {self._topology.subnet_id.raw: {RANGES[0][0].raw: _ranges_leaf()}}

    def _delegate(self, now_ns: int) -> dict[RangesForm, Encodable]:
        subnet = self._topology.subnet_id.raw
        state: Plan = {
            b"canister_ranges": self.canister_ranges(),
            b"subnet": self.subnets(),
            b"time": leb128(now_ns),
        }
        tree = HashTree.from_dict(state)
        signature = _signature(tree, self._topology.root_secret)
        shown = {
            RangesForm.LEAF: (b"subnet", subnet, b"canister_ranges"),
            RangesForm.SHARDS: (b"canister_ranges", subnet),
        }
        delegations: dict[RangesForm, Encodable] = {}
        for form, ranges in shown.items():
            part = tree.prune([(b"time",), (b"subnet", subnet, b"public_key"), ranges])
            certificate = cbor.encode({"tree": part.to_cbor(), "signature": signature}, tagged=True)
            delegations[form] = {"subnet_id": subnet, "certificate": certificate}
        return delegations


def _tree(state: Mapping[bytes, Branch], paths: Iterable[Path], now_ns: int) -> HashTree:
    whole: dict[bytes, Branch] = {**state, b"time": leb128(now_ns)}
    return state_tree.build(whole, [(b"time",), *paths])


def _signature(tree: HashTree, secret: int) -> bytes:
    return bls_keys.sign(secret, _STATE_DOMAIN + tree.digest())


def _encoded(tree: HashTree, secret: int, delegation: Encodable) -> bytes:
    fields = {"tree": tree.to_cbor(), "signature": _signature(tree, secret)}
    if delegation is not None:
        fields["delegation"] = delegation
    return cbor.encode(fields, tagged=True)


def _ranges_leaf() -> bytes:
    return cbor.encode(range_list(), tagged=True)
