"""Price of a canister's HTTPS request by resources used: `ic0.cost_http_request_v2`.

A node's part of the base, of what the nodes do, and of putting the answer into a block. The figures
are the same on every subnet, whatever its reference size. Source: `ic_https_outcalls_pricing::fees`
of the replica, newest stored version (2026). Like the replica's, nothing is checked: a request that
could not be made has its price too.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, cast

from datanode.agent import candid
from datanode.agent.candid import Nat32, Nat64, Opt, Record, Reserved, Value, Variant
from datanode.errors import FormatError
from datanode.localnet.machine.rejects import Failure
from datanode.units import KIB

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PARAMETER_BYTES: Final = KIB
"""Longest argument. Ours: the price of the call does not depend on it."""

_COUNTS: Final = Record({"min_responses": Nat32, "max_responses": Nat32, "total_requests": Nat32})
PARAMETERS: Final = Record(
    {
        "request_bytes": Nat64,
        "http_roundtrip_time_ms": Nat64,
        "raw_response_bytes": Nat64,
        "transformed_response_bytes": Nat64,
        "transform_instructions": Nat64,
        "outcall_type": Opt(
            Variant(
                {
                    "fully_replicated": Reserved,
                    "non_replicated": Reserved,
                    "flexible": Opt(_COUNTS),
                }
            )
        ),
    }
)

_BASE, _REQUEST_BYTE = 1_000_000, 50
_REPLICATED_NODE, _REPLICATED_NODES_SQUARED = 140_000, 800
_GOSSIP_NODE, _RESPONSE_NODE, _RESPONSE = 90_000, 2_000, 100_000
_RAW_BYTE, _MILLISECOND, _INSTRUCTIONS_A_CYCLE, _GOSSIP_BYTE_NODE = 50, 300, 13, 50
_BLOCK_BYTE_NODE, _BLOCK_BYTE, _RESPONSE_OVERHEAD_BYTES = 10, 600, 181


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replication:
    """Replication mode of an HTTPS request.

    Attributes:
        total: How many nodes make it.
        least: How many answers there must be.
        most: How many are delivered at most.
        is_gossiped: Whether the nodes tell each other what they got.
        overhead_bytes: What an answer takes in a block besides.
    """

    total: int
    least: int = 1
    most: int = 1
    is_gossiped: bool = True
    overhead_bytes: int = 0

    @classmethod
    def read(cls, kind: Value, nodes: int) -> Self:
        """Read the kind of a request, which is replicated by all nodes unless it says otherwise."""
        case, counts = cast("tuple[str, Mapping[str, int] | None]", kind or ("", None))
        if case == "non_replicated":
            return cls(total=1)
        if case != "flexible":
            return cls(total=nodes, is_gossiped=False)
        if counts is None:
            counts = {
                "total_requests": nodes,
                "min_responses": 2 * nodes // 3 + 1,
                "max_responses": nodes,
            }
        return cls(
            total=counts["total_requests"],
            least=counts["min_responses"],
            most=counts["max_responses"],
            overhead_bytes=_RESPONSE_OVERHEAD_BYTES,
        )


def price_cycles(argument: bytes, nodes: int) -> int:
    """Price a request that is described in Candid.

    Raises:
        Failure: It is not.
    """
    try:
        (fields,) = candid.decode((PARAMETERS,), argument)
    except FormatError as error:
        why = f"Failed to decode HttpRequestV2CostParams from Candid: {error}"
        raise Failure.contract(why) from error
    used = cast("Mapping[str, int]", fields)
    how = _Replication.read(cast("Mapping[str, Value]", fields)["outcall_type"], nodes)
    base = _BASE + _REQUEST_BYTE * used["request_bytes"]
    if how.is_gossiped:
        base += _GOSSIP_NODE * nodes + (_RESPONSE_NODE * nodes + _RESPONSE) * how.least
    else:
        base += _REPLICATED_NODE * nodes + _REPLICATED_NODES_SQUARED * nodes**2
    transformed = used["transformed_response_bytes"]
    work = _RAW_BYTE * used["raw_response_bytes"] + _MILLISECOND * used["http_roundtrip_time_ms"]
    work += used["transform_instructions"] // _INSTRUCTIONS_A_CYCLE
    work += _GOSSIP_BYTE_NODE * transformed * nodes if how.is_gossiped else 0
    delivered_bytes = how.most * (how.overhead_bytes + transformed)
    block = (_BLOCK_BYTE_NODE * nodes + _BLOCK_BYTE) * nodes * delivered_bytes
    extra = (_RESPONSE_NODE * nodes + _RESPONSE) * nodes * max(0, how.most - how.least)
    return nodes * base + how.total * work + block + extra
