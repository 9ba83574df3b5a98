"""Frames that others sealed and this identity may read: claims, and their proof.

A claim is no receipt: reusing it saves the first payment, never a second one. So what cannot be
read for good (deleted, damaged) is noted and left out, but an answer that did not come, or that
proves nothing, is asked for again and ends the run: sending instead would pay for what is held.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from datanode import frame
from datanode.digest import ContentDigest, FrameDigest, frame_digest
from datanode.errors import (
    CertificateError,
    CorruptionError,
    DataNodeError,
    FormatError,
    NetworkError,
    NotFoundError,
)
from datanode.manifest import parse_head
from datanode.model import ChunkRecord
from datanode.node.port import ManifestPart, ModelInfo, StorageNode, VersionInfo
from datanode.principal import Principal
from datanode.reader import proof
from datanode.reader.proof import TrustedVersion
from datanode.units import MIB
from uploader.dedup import ContentClaim, HeldContents
from uploader.session.encode_pipeline import ReadChunk

_Part = TypeVar("_Part")

_ATTEMPTS: Final = 4
"""How often a part that does not fit its digest is asked for: other replicas may have it. Ours."""

_PAUSE_S: Final = 0.5

MAX_CLAIMED_MODELS: Final = 4
"""Versions of others whose manifests are read, at once. Ours: two queries each, once. A frame that
was encoded alike is found by its digest all the same; a claim saves one that another release
encoded.
"""

LEAST_SOURCE_BYTES: Final = 256 * MIB
"""Sources below are sent without looking for claims. Ours: listing the models of a node is work for
each of them, and a claim saves at most the first payment of the source.
"""

_LIKE: Final = 8
"""A version of others is read if its raw size differs from the source's by less than one part in so
many. Ours: variants of one model do, and what a node holds besides costs an upload nothing.
"""


class PartStore(Protocol):
    """Parts of manifests that were read before; each proves itself by its digest."""

    def manifest_parts(self, digests: Iterable[FrameDigest]) -> dict[FrameDigest, bytes]:
        """Return those that are there."""
        ...

    def keep_manifest_parts(self, parts: Mapping[FrameDigest, bytes]) -> None:
        """Keep some."""
        ...


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A version that makes claims: its records, and the parts that had to be read for them."""

    records: list[ChunkRecord]
    read: dict[FrameDigest, bytes]


def load_claims(
    node: StorageNode,
    me: Principal,
    *,
    raw_bytes: int,
    replicated: bool,
    note: Callable[[str], None],
    sleep: Callable[[float], None],
    kept: PartStore | None = None,
) -> Mapping[ContentDigest, ContentClaim]:
    """Read the latest versions that others sealed, that this identity may read and that are alike.

    Nothing is asked for a small source. The list of models names their manifests, and parts of
    manifests prove themselves: those that are kept are not read again.

    Args:
        node: The node.
        me: The identity that uploads.
        raw_bytes: Size of the source: the versions closest to it are read, a few at most.
        replicated: Ask for the models by consensus.
        note: Told of versions that cannot be read.
        sleep: Waits between attempts, seconds.
        kept: Parts that were read before; None: there are none.

    Raises:
        NetworkError: The node did not answer.
        CertificateError: Its answers prove nothing.
    """
    if raw_bytes < LEAST_SOURCE_BYTES:
        return {}
    chosen = _alike(node.models(replicated=replicated), me, raw_bytes)
    parts = _kept_parts(kept, [version.manifest for _, version in chosen])

    def read(claimed: tuple[str, VersionInfo]) -> _Claimed | DataNodeError:
        try:
            return _read(node, claimed, parts, sleep)
        except (NotFoundError, CorruptionError, FormatError) as error:
            return error

    claims: dict[ContentDigest, ContentClaim] = {}
    pool = ThreadPoolExecutor(MAX_CLAIMED_MODELS, thread_name_prefix="claims")
    fresh: dict[FrameDigest, bytes] = {}
    try:
        for (name, version), claimed in zip(chosen, pool.map(read, chosen), strict=True):
            if isinstance(claimed, DataNodeError):
                note(f"skipping version {version.version} of {name}: {claimed.what}")
                continue
            fresh |= claimed.read
            for index, record in enumerate(claimed.records):
                claims.setdefault(
                    record.content,
                    ContentClaim(model=name, manifest=version.manifest, index=index, record=record),
                )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # the network may never answer
    if kept is not None and fresh:
        kept.keep_manifest_parts(fresh)
    return claims


def _kept_parts(
    kept: PartStore | None, manifests: Sequence[FrameDigest]
) -> dict[FrameDigest, bytes]:
    """Collect the heads of these manifests that are kept, and the pages that they name."""
    if kept is None or not manifests:
        return {}
    parts = kept.manifest_parts(manifests)
    pages: list[FrameDigest] = []
    for head in parts.values():
        with suppress(FormatError):  # whoever sealed it
            pages += parse_head(frame.parse(head).open()).chunk_pages
    return parts | kept.manifest_parts(pages)


def _alike(
    models: Iterable[ModelInfo], me: Principal, raw_bytes: int
) -> list[tuple[str, VersionInfo]]:
    """Choose the latest versions of others that are closest in size, the newest of equals first."""
    found = [
        (model.name, version)
        for model in models
        for version in model.versions[-1:]
        if version.sealed_by != me
        and abs(version.raw_bytes - raw_bytes) * _LIKE < max(raw_bytes, version.raw_bytes)
    ]
    found.sort(key=lambda each: (abs(each[1].raw_bytes - raw_bytes), -each[1].sealed_ns))
    return found[:MAX_CLAIMED_MODELS]


def prove_claim(node: StorageNode, known: HeldContents, chunk: ReadChunk) -> ChunkRecord | None:
    """Decode another identity's frame once before believing what its manifest says of it.

    Raises:
        NetworkError: The node did not answer.
        CertificateError: Its answers prove nothing.
    """
    claim = known.claim(chunk.content)
    if claim is None:
        return None
    if any(_fits(answer, claim.record.frame, chunk.raw) for answer in _answers(node, claim)):
        return claim.record
    known.disbelieve(claim)
    return None


def _answers(node: StorageNode, claim: ContentClaim) -> Iterator[bytes]:
    for _ in range(_ATTEMPTS):
        try:
            (answer,) = node.get_frames(claim.model, claim.manifest, [claim.index])
        except (NetworkError, CertificateError):
            raise
        except DataNodeError:
            continue
        if isinstance(answer, bytes):
            yield answer


def _fits(answer: bytes, digest: FrameDigest, raw: bytes) -> bool:
    try:
        return frame_digest(answer) == digest and frame.parse(answer).open() == raw
    except DataNodeError:
        return False


def _read(
    node: StorageNode,
    claimed: tuple[str, VersionInfo],
    kept: Mapping[FrameDigest, bytes],
    sleep: Callable[[float], None],
) -> _Claimed:
    """Read the records of a version; parts that do not fit their digests are asked for again.

    Raises:
        DataNodeError: Whoever answers, the node has not the parts.
    """
    model, version = claimed
    read: dict[FrameDigest, bytes] = {}

    def part(
        kind: ManifestPart, index: int, digest: FrameDigest, trust: Callable[[bytes], _Part]
    ) -> _Part:
        if digest in kept:
            return trust(kept[digest])

        def ask() -> _Part:
            data = node.get_manifest(model, version.manifest, kind, index)
            trusted = trust(data)
            read[digest] = data
            return trusted

        for _ in range(_ATTEMPTS - 1):
            with suppress(NotFoundError, CorruptionError, FormatError):
                return ask()
            sleep(_PAUSE_S)
        return ask()

    head = part(
        ManifestPart.HEAD,
        0,
        version.manifest,
        lambda data: proof.trust_head(_listed(node, model, version), data),
    )
    records: list[ChunkRecord] = []
    for at, digest in enumerate(head.chunk_pages):
        check = partial(proof.trust_chunk_page, head, at)
        records += part(ManifestPart.CHUNK_PAGE, at, digest, check)
    return _Claimed(records, read)


def _listed(node: StorageNode, model: str, version: VersionInfo) -> TrustedVersion:
    """Describe a version as the list of models does."""
    return TrustedVersion(
        node=node.principal,
        model=model,
        version=version.version,
        latest=version.version,
        manifest=version.manifest,
        placement=version.placement,
        time_ns=version.sealed_ns,
    )
