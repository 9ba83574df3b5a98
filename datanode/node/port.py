"""The one interface between this project and whatever stores the frames.

Implementations (`memory.py`, `canister.py`) share the suite in `tests/contract`. Sending is three
verbs, so that a caller can make the intent durable in between: `prepare` signs and touches no
network, `send` may be repeated with the identical message, `recover` asks what became of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.digest import ContentDigest, FrameDigest
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
    """Outcome of one frame of a message."""

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


class Visibility(StrEnum):
    """Visibility of a model."""

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
    """Role that a grant gives."""

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
    """Status details for controllers; see `storage.did` for each field."""

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
class NodeSettings:
    """Settings and figures of a node that bound its growth; the subnet tells them to controllers.

    Attributes:
        memory_bytes: Memory that it pays for.
        cycles: Its balance.
        burn_per_day_cycles: What its existence costs a day.
        freezing_threshold_s: For how long its balance must last, or it takes no messages.
        reserved_cycles: Cycles set aside for storage; they pay rent first.
        reserved_cycles_limit: Most cycles that growth may set aside; None: the network has none.
        wasm_memory_limit_bytes: Largest heap; 0 or None: the platform's.
    """

    memory_bytes: int
    cycles: int
    burn_per_day_cycles: int
    freezing_threshold_s: int
    reserved_cycles: int
    reserved_cycles_limit: int | None
    wasm_memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubStep:
    """One step of a scrub.

    Attributes:
        next_cursor: Where to go on; None at the end.
        checked: Frames that were re-hashed.
        corrupt: Of those, frames whose bytes do not have their digest.
        restored: Frames of sealed versions whose reference was missing and is there again.
        names_checked: Whether `checked` is told; interface version 1 names damaged frames only.
    """

    next_cursor: bytes | None
    checked: tuple[FrameDigest, ...]
    corrupt: tuple[FrameDigest, ...]
    restored: tuple[FrameDigest, ...] = ()
    names_checked: bool = True


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

    A query is the answer of one replica, which may lag behind, lie, or sign badly. Methods with
    `replicated` return the certified answer of the whole subnet instead: an update call, which
    costs the node cycles. Pass it wherever a wrong answer would be paid for.
    """

    @property
    def principal(self) -> Principal:
        """Name of the node."""
        ...

    def status(self) -> NodeStatus:
        """Ask for versions and, as a controller, details."""
        ...

    def settings(self) -> NodeSettings | None:
        """Ask the subnet for the settings of the node, by consensus; None: not a controller."""
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

    def leases(self) -> list[Lease]:
        """List the leases of all uploaders by their number; controllers only."""
        ...

    def end_lease(self, lease_id: int) -> None:
        """End the lease of any uploader; controllers only.

        Raises:
            NotFoundError: There is no such lease.
        """
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

    def lease_frames(self, lease_id: int, *, replicated: bool = False) -> Iterator[ChunkRecord]:
        """List the frames held under a lease, as their headers describe them."""
        ...

    def missing_frames(
        self, lease_id: int, digests: Sequence[FrameDigest], *, replicated: bool = False
    ) -> list[bool]:
        """Tell which frames are not held for the caller."""
        ...

    def find_contents(
        self, contents: Sequence[ContentDigest], *, replicated: bool = False
    ) -> list[ChunkRecord | None]:
        """Find the frame of each content in the versions that the caller sealed and may still read.

        The contents must be distinct. None: no such version has the content, or its frame is
        damaged.

        Raises:
            UnauthorizedError: The caller may not upload.
        """
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

    def models(self, *, replicated: bool = False) -> list[ModelInfo]:
        """List the models that the caller may read."""
        ...

    def model(self, name: str, *, replicated: bool = False) -> ModelInfo:
        """Describe one model with all its versions."""
        ...

    def witness(self, model: str, version: int | None = None) -> WitnessAnswer:
        """Ask for the proof of a version, the latest by default."""
        ...

    def scrub(self, cursor: bytes, max_bytes: int) -> ScrubStep:
        """Have the node re-hash stored frames and restore lost references, by consensus."""
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
