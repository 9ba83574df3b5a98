"""The one interface between this project and whatever stores the frames.

Implementations (`memory.py`, `canister.py`) share the suite in `tests/contract`. Sending is three
verbs, so that a caller can make the intent durable in between: `prepare` signs and touches no
network, `send` may be repeated with the identical message, `recover` asks what became of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from datanode.digest import FrameDigest
from datanode.errors import DataNodeError
from datanode.model import ChunkRecord
from datanode.principal import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to upload one model for a while.

    Attributes:
        id: Number of the lease on its node.
        model: Name of the model.
        holder: Who may use it.
        expires_ns: Canister time at which another uploader may take it.
        frames_count: Frames held under it.
        frame_bytes: Bytes of those frames.
    """

    id: int
    model: str
    holder: Principal
    expires_ns: int
    frames_count: int
    frame_bytes: int


class PutStatus(StrEnum):
    """What became of one frame of a message."""

    STORED = "stored"
    ALREADY_STORED = "already_stored"
    BAD = "bad"
    NO_ROOM = "no_room"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutResult:
    """Result of one frame; `detail` explains `BAD`."""

    status: PutStatus
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage:
    """An ingress message, ready to be sent, any number of times, until it expires.

    Attributes:
        request_id: 32 bytes that name it; the certified answer is filed under them.
        canister: Where it goes.
        sender: Who signed it.
        expiry_ns: Subnet time after which it can no longer run.
        body: The signed envelope, CBOR.
    """

    request_id: bytes
    canister: Principal
    sender: Principal
    expiry_ns: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The message was executed, proven by a certificate.

    Attributes:
        results: One for each frame, in the order of the message.
        receipt: The certificate, CBOR.
    """

    results: tuple[PutResult, ...]
    receipt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The message was executed and refused as a whole, proven by a certificate.

    Nothing of it was stored, and it will never run again: its frames may travel in another message.

    Attributes:
        error: Why: `LeaseLostError`, `UnauthorizedError`, `QuotaError`, `CyclesError`, ...
    """

    error: DataNodeError


class Unsettled(StrEnum):
    """Why a message has no certified answer yet."""

    UNKNOWN = "unknown"
    """It may or may not run: send the identical bytes again, or recover it."""
    EXPIRED = "expired"
    """Proven: it did not run, and never will."""
    FORGOTTEN = "forgotten"
    """Too long ago for the subnet to remember: ask `missing_frames`, replicated."""


class Visibility(StrEnum):
    """Who may read a model."""

    PUBLIC = "public"
    PRIVATE = "private_"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """A sealed manifest under a name, as the node tells it (not certified)."""

    version: int
    manifest: FrameDigest
    placement: FrameDigest
    chunks_count: int
    frame_bytes: int
    raw_bytes: int
    sealed_ns: int
    sealed_by: Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model as the node tells it (not certified)."""

    name: str
    owner: Principal
    visibility: Visibility
    latest: int
    versions: tuple[VersionInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAnswer:
    """Proof material for one version: believe nothing of it before the reader has verified it.

    Attributes:
        certificate: The subnet's certificate over the canister's certified data, CBOR.
        witness: Hash tree whose root is the certified data, CBOR.
        version: The version it claims to be about.
    """

    certificate: bytes
    witness: bytes
    version: int


class FrameAbsence(StrEnum):
    """Why a frame did not come."""

    ELSEWHERE = "elsewhere"
    DID_NOT_FIT = "did_not_fit"
    MISSING = "missing"


class Role(StrEnum):
    """What a grant allows."""

    UPLOADER = "uploader"
    READER = "reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role of somebody on a model, or (`model=None`) on all."""

    to: Principal
    role: Role
    model: str | None
    expires_ns: int | None = None
    quota_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDetails:
    """What a controller sees; see `storage.did` for each field."""

    cycles: int
    burn_per_day_cycles: int
    freezing_days: int
    stable_bytes: int
    frames_count: int
    frame_bytes: int
    damaged_frames_count: int
    free_bytes: int
    models_count: int
    leases_count: int
    task: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """Versions of a node, and its details where the caller is a controller."""

    interface_version: int
    store_version: int
    details: StatusDetails | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubStep:
    """One step of re-hashing stored bytes; `next_cursor` is None at the end."""

    next_cursor: bytes | None
    checked_count: int
    corrupt: tuple[FrameDigest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageStep:
    """One step of collecting garbage; `next_cursor` is None at the end."""

    next_cursor: bytes | None
    freed_count: int
    freed_bytes: int


class ManifestPart(StrEnum):
    """Which part of a manifest `get_manifest` returns; pages take an index."""

    HEAD = "head"
    CHUNK_PAGE = "chunk_page"
    TENSOR_PAGE = "tensor_page"
    PLACEMENT = "placement"


class StorageNode(Protocol):
    """A content-addressed, certified store of frames.

    Every method may be repeated. All raise the errors of `datanode.errors`: `UnauthorizedError`,
    `NotFoundError`, `LeaseHeldError`, `LeaseLostError`, `QuotaError`, `NodeFullError`,
    `CyclesError`, `ConflictError`, `NodeStoppedError`, `NetworkError` and its kin.
    """

    @property
    def principal(self) -> Principal:
        """Name of the node."""
        ...

    def status(self) -> NodeStatus:
        """Ask for versions and, as a controller, details."""
        ...

    def begin_upload(
        self, model: str, *, frames_count: int, frame_bytes: int, takeover: bool = False
    ) -> Lease:
        """Take the lease of a model, or get one's own back."""
        ...

    def renew_upload(self, lease_id: int) -> Lease:
        """Extend a lease."""
        ...

    def end_upload(self, lease_id: int) -> None:
        """Give a lease up; its frames fall to garbage in time."""
        ...

    def prepare(self, lease_id: int, frames: Sequence[bytes]) -> SignedMessage:
        """Sign a message that carries these frames; nothing is sent."""
        ...

    def send(self, message: SignedMessage) -> Settled | Refused | Unsettled:
        """Send a message, once; the identical message may be sent again.

        Raises:
            DataNodeError: An answer without a certificate (stopped, frozen, refused on arrival):
                not final, so the message stays open.
        """
        ...

    def recover(self, request_id: bytes, expiry_ns: int) -> Settled | Refused | Unsettled:
        """Ask what became of a message sent earlier, perhaps by a process that died."""
        ...

    def pin_frames(self, lease_id: int, digests: Sequence[FrameDigest]) -> list[bool]:
        """Hold frames that the caller may already read; False where that is not so."""
        ...

    def lease_frames(self, lease_id: int) -> Iterator[ChunkRecord]:
        """List what is held under a lease, as the frames' headers describe it (query)."""
        ...

    def missing_frames(
        self, lease_id: int, digests: Sequence[FrameDigest], *, replicated: bool = False
    ) -> list[bool]:
        """Tell which frames are not held for the caller; replicated: by consensus, certified."""
        ...

    def seal_model(
        self,
        lease_id: int,
        model: str,
        *,
        manifest: FrameDigest,
        placement: FrameDigest,
        expected_version: int | None = None,
    ) -> int:
        """Seal in as many steps as it takes, and return the version.

        Raises:
            IncompleteSealError: Frames are missing; `.missing` names them.
        """
        ...

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        """Read frames by their position in a manifest (query; not verified)."""
        ...

    def get_manifest(
        self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        """Read the frame of a part of a manifest (query; not verified)."""
        ...

    def models(self) -> list[ModelInfo]:
        """List the models that the caller may read."""
        ...

    def model(self, name: str) -> ModelInfo:
        """Describe one model with all its versions."""
        ...

    def witness(self, model: str, version: int | None = None) -> WitnessAnswer:
        """Ask for the proof of a version, the latest by default."""
        ...

    def scrub(self, cursor: bytes, max_bytes: int) -> ScrubStep:
        """Have the node re-hash stored frames, by consensus."""
        ...

    def delete_model(self, name: str, version: int | None = None) -> None:
        """Delete a model or one version, in as many steps as it takes."""
        ...

    def collect_garbage(self, cursor: bytes, *, force: bool = False) -> GarbageStep:
        """Free frames that nothing refers to."""
        ...

    def grant(self, grant: Grant) -> None:
        """Give a role."""
        ...

    def revoke(self, to: Principal, role: Role, model: str | None) -> None:
        """Take a role back."""
        ...

    def grants(self, model: str | None) -> list[Grant]:
        """List the roles on a model, or (None) on all."""
        ...

    def transfer_model(self, model: str, to: Principal) -> None:
        """Give a model to another owner."""
        ...

    def set_visibility(self, model: str, visibility: Visibility) -> None:
        """Make a model public or private."""
        ...
