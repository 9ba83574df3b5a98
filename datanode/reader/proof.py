"""Verification of a node's answers: the recipe of certified reading, free of I/O.

Nobody but the network's root key is trusted. Each step makes one thing trusted with the help of
what the steps before it have made trusted; the code below carries the same numbers.

1. The certificate is the subnet's: BLS signature, at most one delegation from the root key, the
   node inside the delegated canister range, made within five minutes of now.
2. The certified data of the node, looked up in that certificate, is the root of the witness.
3. The witness speaks an interface version that this release knows.
4. The witness proves the latest version of the model, and of the wanted version the manifest
   digest and the placement digest; what it does not show is not assumed. Models are not in the
   order of their names, so a witness never proves that there is no such model.
5. The latest version is not lower than one seen before (`datanode/reader/rollback_memory.py`).
6. The head is the frame with the manifest digest; it parses strictly.
7. A page is the frame with the digest that the head names for its place; it has as many records
   as that place must have.
8. The placement record is the frame with the placement digest, and is about this manifest.
9. A chunk's frame has the frame digest of its record, and its header says what the record says.
10. The frame opens to raw bytes that have the record's content digest.
11. A file's bytes have the length and the SHA-256 that the head names (`reader/fetching.py`).
12. A tensor's chunks are chunks of its file, its first byte lies in the first of them and its last
    byte before the end of the last (`reader/tensors.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from datanode import frame
from datanode.agent.certificate import open_certificate
from datanode.agent.hash_tree import ABSENT, HashTree, LookupMiss
from datanode.codec import RAW_ID
from datanode.digest import DIGEST_BYTES, FrameDigest, content_digest, frame_digest
from datanode.errors import (
    CertificateError,
    CorruptionError,
    FormatError,
    NotFoundError,
    UnsupportedVersionError,
)
from datanode.limits import CERTIFICATE_MAX_AGE_NS, MAX_CHUNKS_A_PAGE
from datanode.manifest import (
    ManifestHead,
    TensorEntry,
    parse_chunk_page,
    parse_head,
    parse_tensor_page,
)
from datanode.model import ChunkRecord, ElementType
from datanode.node.port import WitnessAnswer
from datanode.placement import Placement
from datanode.placement import parse as parse_placement
from datanode.principal import Principal

WITNESS_VERSION: Final = 2
"""The newest certified tree that this release reads."""

_U32_BYTES: Final = 4
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedVersion:
    """Facts about one version, proven by certificate and witness.

    Attributes:
        node: The canister that certified it.
        model: Name of the model.
        version: The version asked for.
        latest: The highest version at that time.
        manifest: Digest of the head's frame.
        placement: Digest of the placement record's frame.
        time_ns: When the subnet certified it.
    """

    node: Principal
    model: str
    version: int
    latest: int
    manifest: FrameDigest
    placement: FrameDigest
    time_ns: int


def trust_witness(
    answer: WitnessAnswer,
    *,
    root_key: bytes,
    node: Principal,
    model: str,
    version: int | None,
    now_ns: int,
    max_age_ns: int = CERTIFICATE_MAX_AGE_NS,
) -> TrustedVersion:
    """Take steps 1 to 4.

    Args:
        answer: Untrusted proof material.
        root_key: The network's root key, DER: the one thing trusted from the start.
        node: The canister that must have certified it.
        model: The model that it must be about.
        version: The version that it must be about; None: the latest.
        now_ns: The time.
        max_age_ns: How far the certificate's time may lie from it.

    Raises:
        CertificateError: It does not prove what was asked.
        NotFoundError: It proves that there is no such version.
        UnsupportedVersionError: The node certifies in a newer way than this release reads.
    """
    certificate = open_certificate(  # 1
        answer.certificate, root_key=root_key, canister=node, now_ns=now_ns, max_age_ns=max_age_ns
    )
    try:
        certified = certificate.tree.lookup([b"canister", node.raw, b"certified_data"])  # 2
        witness = HashTree.parse(answer.witness)
        if certified != witness.digest():
            raise CertificateError("the witness is not what the subnet certified for this node")
        interface = _number(witness, [b"dn", b"interface"], "the interface version")  # 3
        if interface > WITNESS_VERSION:
            raise UnsupportedVersionError(
                f"the node certifies by version {interface}, this release reads {WITNESS_VERSION}"
            )
        about = [b"dn", b"model", model.encode()]  # 4
        if isinstance(witness.subtree(about), LookupMiss):
            raise CertificateError(f"the witness does not show model {model}")
        latest = _number(witness, [*about, b"latest"], f"model {model}")
        wanted = latest if version is None else version
        if not 0 <= wanted < 1 << 8 * _U32_BYTES:
            raise NotFoundError(f"there is no version {wanted} of {model} on this node")
        label = wanted.to_bytes(_U32_BYTES, "big")
        leaf = _leaf(witness, [*about, label], f"version {wanted} of {model}")
    except FormatError as error:
        raise CertificateError(f"the witness is malformed: {error.what}") from error
    if len(leaf) != 2 * DIGEST_BYTES or not wanted <= latest:
        raise CertificateError("the witness contradicts itself")
    return TrustedVersion(
        node=node,
        model=model,
        version=wanted,
        latest=latest,
        manifest=FrameDigest(leaf[:DIGEST_BYTES]),
        placement=FrameDigest(leaf[DIGEST_BYTES:]),
        time_ns=certificate.time_ns,
    )


def trust_head(trusted: TrustedVersion, data: bytes) -> ManifestHead:
    """Take step 6.

    Raises:
        CorruptionError: The bytes are not those that were certified.
        FormatError: They are, and they are not a head.
    """
    return parse_head(_part(data, trusted.manifest, "the manifest's head"))


def trust_chunk_page(head: ManifestHead, index: int, data: bytes) -> tuple[ChunkRecord, ...]:
    """Take step 7 for a page of chunk records.

    Raises:
        CorruptionError: The bytes are not the page that the head names.
        FormatError: They are, and they are not such a page.
    """
    what = f"chunk page {index}"
    records = tuple(parse_chunk_page(_part(data, head.chunk_pages[index], what)))
    expected = min(MAX_CHUNKS_A_PAGE, head.chunk_count - index * MAX_CHUNKS_A_PAGE)
    if len(records) != expected:
        raise FormatError(f"{what} has {len(records)} records, its place has {expected}")
    return records


def trust_tensor_page(head: ManifestHead, index: int, data: bytes) -> tuple[TensorEntry, ...]:
    """Take step 7 for a page of tensors.

    Raises:
        CorruptionError: The bytes are not the page that the head names.
        FormatError: They are, and they are not such a page.
    """
    what = f"tensor page {index}"
    return tuple(parse_tensor_page(_part(data, head.tensor_pages[index], what)))


def trust_placement(trusted: TrustedVersion, head: ManifestHead, data: bytes) -> Placement:
    """Take step 8.

    Raises:
        CorruptionError: The bytes are not those that were certified.
        FormatError: They are not a placement record, or one of another manifest.
    """
    placement = parse_placement(_part(data, trusted.placement, "the placement record"))
    if placement.manifest != trusted.manifest or placement.chunk_count != head.chunk_count:
        raise FormatError("the placement record is of another manifest")
    return placement


def trust_chunk(record: ChunkRecord, data: bytes) -> bytes:
    """Take steps 9 and 10, and return the raw bytes.

    Raises:
        CorruptionError: The bytes are not the chunk that the manifest names.
        UnsupportedVersionError: They are its frame, and this release cannot open it.
    """
    if len(data) != record.frame_bytes or frame_digest(data) != record.frame:  # 9
        raise CorruptionError("the bytes do not have the frame digest of the manifest")
    parsed = _as_corruption(lambda: frame.parse(data))
    said = (parsed.codec_id, parsed.element, parsed.raw_bytes, parsed.content)
    if said != (record.codec_id, record.element, record.raw_bytes, record.content):
        raise CorruptionError("the frame's header contradicts the manifest")
    raw = _as_corruption(parsed.open)
    if content_digest(raw) != record.content:  # 10
        raise CorruptionError("the raw bytes do not have the content digest of the manifest")
    return raw


def _as_corruption(read: Callable[[], _T]) -> _T:
    """The digest fits and the form does not: it was sealed broken, which is corruption too."""
    try:
        return read()
    except FormatError as error:
        raise CorruptionError(f"the frame does not open: {error.what}") from error


def _part(data: bytes, digest: FrameDigest, what: str) -> bytes:
    """Check a part of a manifest against its digest and unwrap it."""
    if frame_digest(data) != digest:
        raise CorruptionError(f"{what} is not the frame whose digest is certified")
    parsed = frame.parse(data)
    if parsed.codec_id != RAW_ID or parsed.element is not ElementType.BYTES:
        raise FormatError(f"{what} is not stored raw")
    return parsed.open()


def _leaf(tree: HashTree, path: list[bytes], what: str) -> bytes:
    value = tree.lookup(path)
    if isinstance(value, bytes):
        return value
    if value is ABSENT:
        raise NotFoundError(f"there is no {what} on this node")
    raise CertificateError(f"the witness does not show {what}")


def _number(tree: HashTree, path: list[bytes], what: str) -> int:
    value = _leaf(tree, path, what)
    if len(value) != _U32_BYTES:
        raise CertificateError(f"the witness does not state {what} as a number")
    return int.from_bytes(value, "big")
