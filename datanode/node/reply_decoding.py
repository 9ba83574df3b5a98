"""Decoded replies of a storage canister as the nouns of the port, and back."""

from collections.abc import Sequence

from datanode.agent.candid import Value
from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import CertificateError, FormatError, UnsupportedVersionError
from datanode.model import ChunkRecord, ElementType
from datanode.node.port import (
    FrameAbsence,
    Grant,
    Lease,
    ManifestPart,
    ModelInfo,
    NodeStatus,
    PutResult,
    PutStatus,
    Role,
    StatusDetails,
    VersionInfo,
    Visibility,
    WitnessAnswer,
)
from datanode.node.values import Row, case, items, narrow


def lease(value: Value) -> Lease:
    """Read a `Lease`."""
    row = Row.of(value)
    return Lease(
        id=row.number("id"),
        model=row.text("model"),
        holder=row.principal("holder"),
        expires_ns=row.number("expires_ns"),
        frames_count=row.number("frames"),
        frame_bytes=row.number("frame_bytes"),
    )


def put_result(value: Value) -> PutResult:
    """Read a `PutResult`."""
    name, detail = case(value)
    return PutResult(status=PutStatus(name), detail=detail if isinstance(detail, str) else "")


def held(row: Row) -> ChunkRecord:
    """Read a `Held`.

    Raises:
        UnsupportedVersionError: An element type that this release does not know.
        FormatError: The node describes a frame that cannot be.
    """
    try:
        element = ElementType(row.number("element"))
    except ValueError as error:
        raise UnsupportedVersionError(f"the node holds a frame of {error}") from None
    try:
        return ChunkRecord(
            content=ContentDigest(row.data("content")),
            frame=FrameDigest(row.data("frame")),
            raw_bytes=row.number("raw_bytes"),
            frame_bytes=row.number("bytes"),
            codec_id=row.number("codec"),
            element=element,
        )
    except ValueError as error:
        raise FormatError(f"the node describes a frame that cannot be: {error}") from error


def found(value: Value, contents: Sequence[ContentDigest]) -> list[ChunkRecord | None]:
    """Read the answer of `find_contents`.

    Raises:
        FormatError: It is not about these contents.
    """
    rows = items(value)
    if len(rows) != len(contents):
        raise FormatError(f"the node answers about {len(rows)} of {len(contents)} contents")
    records = [None if row is None else held(Row.of(row)) for row in rows]
    for content, record in zip(contents, records, strict=True):
        if record is not None and record.content != content:
            raise FormatError("the node names a frame of another content than it was asked for")
    return records


def frame_answer(value: Value) -> bytes | FrameAbsence:
    """Read a `FrameAnswer`."""
    name, data = case(value)
    return narrow(data, bytes) if name == "frame" else FrameAbsence(name)


def manifest_part(part: ManifestPart, index: int) -> Value:
    """Write a `ManifestPart`."""
    paged = part in {ManifestPart.CHUNK_PAGE, ManifestPart.TENSOR_PAGE}
    return part.value, index if paged else None


def model(value: Value) -> ModelInfo:
    """Read a `Model`."""
    row = Row.of(value)
    return ModelInfo(
        name=row.text("name"),
        owner=row.principal("owner"),
        visibility=Visibility(row.case("visibility")),
        latest=row.number("latest"),
        versions=tuple(map(_version, row.rows("versions"))),
    )


def _version(row: Row) -> VersionInfo:
    return VersionInfo(
        version=row.number("version"),
        manifest=FrameDigest(row.data("manifest")),
        placement=FrameDigest(row.data("placement")),
        chunks_count=row.number("chunks"),
        frame_bytes=row.number("frame_bytes"),
        raw_bytes=row.number("raw_bytes"),
        sealed_ns=row.number("sealed_ns"),
        sealed_by=row.principal("sealed_by"),
    )


def witness(value: Value) -> WitnessAnswer:
    """Read a `Witness`.

    Raises:
        CertificateError: It comes without a certificate.
    """
    row = Row.of(value)
    certificate = row.optional("certificate", bytes)
    if certificate is None:
        raise CertificateError("the node gives a witness without a certificate")
    return WitnessAnswer(
        certificate=certificate, witness=row.data("witness"), version=row.number("version")
    )


def grant(value: Value) -> Grant:
    """Read a `Grant`."""
    row = Row.of(value)
    return Grant(
        to=row.principal("to"),
        role=Role(row.case("role")),
        model=row.optional("model", str),
        expires_ns=row.optional("expires_ns", int),
        quota_bytes=row.optional("quota_bytes", int),
    )


def grant_value(given: Grant) -> Value:
    """Write a `Grant`."""
    return {
        "to": given.to,
        "role": (given.role.value, None),
        "model": given.model,
        "expires_ns": given.expires_ns,
        "quota_bytes": given.quota_bytes,
    }


def status(value: Value) -> NodeStatus:
    """Read a `Status`."""
    row = Row.of(value)
    details = row.fields["details"]
    return NodeStatus(
        interface_version=row.number("interface_version"),
        store_version=row.number("store_version"),
        details=None if details is None else _details(Row.of(details)),
    )


def _details(row: Row) -> StatusDetails:
    return StatusDetails(
        cycles=row.number("cycles"),
        burn_per_day_cycles=row.number("burn_per_day"),
        freezing_days=row.number("freezing_days"),
        stable_bytes=row.number("stable_bytes"),
        frames_count=row.number("frames"),
        frame_bytes=row.number("frame_bytes"),
        damaged_frames_count=row.number("damaged_frames"),
        free_bytes=row.number("free_bytes"),
        models_count=row.number("models"),
        leases_count=row.number("leases"),
        task=row.optional("task", str),
    )


def bits(bitmap: bytes, count: int) -> list[bool]:
    """Read a bitmap: bit `i` is bit `i % 8`, from the lowest, of byte `i // 8`.

    Raises:
        FormatError: It has not the size for that many bits.
    """
    if len(bitmap) != (count + 7) // 8:
        raise FormatError(f"a bitmap of {len(bitmap)} bytes for {count} digests")
    return [bool(bitmap[index // 8] >> index % 8 & 1) for index in range(count)]
