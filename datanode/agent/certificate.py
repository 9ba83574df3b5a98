"""Certificates: a subnet's signed statement about its state, and what makes it believable.

A certificate is the CBOR map of `tree`, `signature` and, unless the root subnet itself speaks,
`delegation`: the root subnet's certificate for the key of the subnet that signed
(interface specification, "Certificate"). `open_certificate` is the recipe, numbered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from datanode.agent import bls
from datanode.agent.fields import CborFields, checked_data, checked_list
from datanode.agent.hash_tree import MAX_DEPTH, HashTree
from datanode.agent.request_id import parse_leb128, request_id
from datanode.agent.signature import verify_signature
from datanode.cbor import Encodable, decode
from datanode.errors import CertificateError, FormatError
from datanode.limits import CERTIFICATE_MAX_AGE_NS
from datanode.principal import MAX_PRINCIPAL_BYTES, Principal

MAX_RANGES: Final = 10_000
"""Most canister ranges in one leaf. Ours: a shard of the IC has far fewer."""

_STATE_DOMAIN: Final = b"\x0dic-state-root"
_RESPONSE_DOMAIN: Final = b"\x0bic-response"
_RANGE_ENDS: Final = 2
_ENVELOPE_DEPTH: Final = 2
"""Array and map levels around a tree in a certificate."""

CanisterRanges: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""First and last ids, inclusive."""

NodeKeys: TypeAlias = Mapping[Principal, bytes]
"""Public keys in DER of the nodes of a subnet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that has been verified.

    Attributes:
        tree: What it states.
        subnet: Which subnet states it.
        time_ns: When.
    """

    tree: HashTree
    subnet: Principal
    time_ns: int


@dataclass(frozen=True, slots=True)
class _Parsed:
    tree: HashTree
    signature: bytes
    delegation: tuple[Principal, bytes] | None


@dataclass(frozen=True, slots=True)
class _Delegated:
    public_key_der: bytes
    ranges: CanisterRanges


def verify(
    certificate: bytes,
    *,
    root_key: bytes,
    canister: Principal | None,
    now_ns: int | None,
    max_age_ns: int = CERTIFICATE_MAX_AGE_NS,
) -> HashTree:
    """Verify a certificate and return its tree; see `open_certificate`."""
    opened = open_certificate(
        certificate, root_key=root_key, canister=canister, now_ns=now_ns, max_age_ns=max_age_ns
    )
    return opened.tree


def open_certificate(
    certificate: bytes,
    *,
    root_key: bytes,
    canister: Principal | None,
    now_ns: int | None,
    max_age_ns: int = CERTIFICATE_MAX_AGE_NS,
) -> Certificate:
    """Verify a certificate.

    1. Parse it strictly: known fields only, an ordered tree, at most one delegation.
    2. Find the subnet's key: the root key, or with a delegation the key that the root subnet
       certifies for that subnet. The delegation's own certificate has no delegation, and no
       largest age: it stands until the key changes.
    3. With a delegation, the canister lies in a range that the root subnet assigned to it.
    4. The signature is the subnet's, over the tree's root hash.
    5. The time in the tree is not further than `max_age_ns` from now, in either direction.

    The root subnet's own certificates carry no ranges, so that 3 says nothing about them: the
    caller checks them against `hosted_ranges`. Whether the tree answers the question that was asked
    remains the caller's to check too.

    Args:
        certificate: Untrusted bytes.
        root_key: The network's root key, DER.
        canister: For whom the subnet speaks; None where it speaks of itself.
        now_ns: The time; None where age does not matter, because what is certified cannot change.
        max_age_ns: The largest difference of times.

    Raises:
        CertificateError: It does not prove anything.
    """
    try:
        parsed = _parse(certificate)  # 1
        if parsed.delegation is None:  # 2
            subnet, key = Principal.self_authenticating(root_key), root_key
        else:
            subnet, proof = parsed.delegation
            delegated = _delegated(root_key, subnet, proof)
            if canister is not None and not covers(delegated.ranges, canister):  # 3
                raise CertificateError(f"the subnet {subnet} does not host {canister}")
            key = delegated.public_key_der
        bls.verify(key, parsed.signature, _STATE_DOMAIN + parsed.tree.digest())  # 4
        time_ns = parse_leb128(_value(parsed.tree, [b"time"]))  # 5
    except FormatError as error:
        raise CertificateError(f"the certificate is malformed: {error.what}") from error
    if now_ns is not None and abs(now_ns - time_ns) > max_age_ns:
        off_s = (now_ns - time_ns) / 1e9
        raise CertificateError(
            f"the certificate is {abs(off_s):.0f} s {'old' if off_s > 0 else 'in the future'}",
            hint="Check this machine's clock; `datanode doctor` compares it with the network's.",
        )
    return Certificate(tree=parsed.tree, subnet=subnet, time_ns=time_ns)


def _parse(certificate: bytes) -> _Parsed:
    fields = CborFields(decode(certificate, max_depth=MAX_DEPTH + _ENVELOPE_DEPTH), "certificate")
    tree = HashTree.from_cbor(fields.take("tree"))
    signature = fields.data("signature", bls.SIGNATURE_BYTES)
    delegation = None
    if "delegation" in fields:
        inner = CborFields(fields.take("delegation"), "delegation")
        delegation = inner.principal("subnet_id"), inner.data("certificate")
        inner.end()
    fields.end()
    return _Parsed(tree, signature, delegation)


@lru_cache(maxsize=64)
def _delegated(root_key: bytes, subnet: Principal, certificate: bytes) -> _Delegated:
    """Verify a delegation; the same bytes are verified once, so a message costs one pairing."""
    parsed = _parse(certificate)
    if parsed.delegation is not None:
        raise CertificateError("a delegation inside a delegation")
    bls.verify(root_key, parsed.signature, _STATE_DOMAIN + parsed.tree.digest())
    key = _value(parsed.tree, [b"subnet", subnet.raw, b"public_key"])
    return _Delegated(key, hosted_ranges(parsed.tree, subnet))


def hosted_ranges(tree: HashTree, subnet: Principal) -> CanisterRanges:
    """Return the canister ranges that a verified tree assigns to a subnet."""
    shards = [b"canister_ranges", subnet.raw]
    leaves = [tree.lookup([*shards, label]) for label in tree.list_labels(shards)]
    # The list of the older interface; it is left out where the shards are given.
    leaves.append(tree.lookup([b"subnet", subnet.raw, b"canister_ranges"]))
    return tuple(pair for leaf in leaves if isinstance(leaf, bytes) for pair in _pairs(leaf))


def _pairs(leaf: bytes) -> list[tuple[bytes, bytes]]:
    pairs = []
    for item in checked_list(decode(leaf), "canister ranges", MAX_RANGES):
        ends = [checked_data(end, "range") for end in checked_list(item, "range", _RANGE_ENDS)]
        if len(ends) != _RANGE_ENDS or max(map(len, ends)) > MAX_PRINCIPAL_BYTES:
            raise FormatError("a canister range is not a pair of principals")
        pairs.append((ends[0], ends[1]))
    return pairs


def covers(ranges: CanisterRanges, canister: Principal) -> bool:
    """Whether a canister lies in one of the ranges."""
    return any(low <= canister.raw <= high for low, high in ranges)


def _value(tree: HashTree, path: Sequence[bytes]) -> bytes:
    value = tree.lookup(path)
    if not isinstance(value, bytes):
        name = b"/".join(path[:1]).decode()
        raise CertificateError(f"the certificate does not hold what it needs: /{name} is missing")
    return value


def node_keys(tree: HashTree, subnet: Principal) -> NodeKeys:
    """Collect the keys of a subnet's nodes from a verified tree; empty when it shows none."""
    nodes = [b"subnet", subnet.raw, b"node"]
    keys = {}
    for label in tree.list_labels(nodes):
        key = tree.lookup([*nodes, label, b"public_key"])
        if isinstance(key, bytes):
            keys[Principal(label)] = key
    return keys


def verify_query_signature(
    answer: Mapping[str, Encodable],
    *,
    request: bytes,
    timestamp_ns: int,
    signature: bytes,
    node_key: bytes,
) -> None:
    """Check that a node signed the answer to a query.

    Args:
        answer: The answer's map without `signatures`: status and reply, or the reject's fields.
        request: Request id of the query.
        timestamp_ns: When the node says it answered; its freshness is the caller's to check.
        signature: The node's, 64 bytes.
        node_key: The node's Ed25519 key, DER, from a certificate.

    Raises:
        CertificateError: The signature is not the node's over this answer.
    """
    digest = request_id({**answer, "timestamp": timestamp_ns, "request_id": request})
    verify_signature(node_key, _RESPONSE_DOMAIN + digest, signature)
