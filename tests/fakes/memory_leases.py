"""Leases and the frames under them, in memory: putting, pinning, what is held for whom."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from datanode import frame
from datanode.digest import FrameDigest, frame_digest
from datanode.errors import (
    ConflictError,
    CyclesError,
    DataNodeError,
    LeaseHeldError,
    LeaseLostError,
    NodeFullError,
    NodeRejectedError,
    QuotaError,
    UnauthorizedError,
)
from datanode.limits import MAX_MODEL_NAME_BYTES
from datanode.model import ChunkRecord
from datanode.node.port import Lease, PutResult, PutStatus
from datanode.principal import Principal
from datanode.units import HOUR_S, SECOND_NS
from tests.fakes.memory_roles import Roles

LEASE_NS = HOUR_S * SECOND_NS
MAX_LEASES_A_HOLDER = 32
_NAME_LETTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-")


@dataclass(slots=True)
class Stored:
    """A frame in the store."""

    data: bytes
    record: ChunkRecord
    touched_ns: int
    damaged: bool = False


@dataclass(slots=True, kw_only=True)
class Leases(Roles):
    """Frames, and who holds them.

    Attributes:
        capacity_bytes: Most frame bytes it keeps; None: no end.
        frozen: Refuse every put for want of cycles.
    """

    capacity_bytes: int | None = None
    frozen: bool = False
    frames: dict[FrameDigest, Stored] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    held: dict[int, dict[FrameDigest, None]] = field(default_factory=dict)
    charged: dict[Principal, set[FrameDigest]] = field(default_factory=dict)
    next_lease: int = 1

    def begin(
        self,
        caller: Principal,
        model: str,
        now_ns: int,
        *,
        takeover: bool,
        frame_bytes: int = 0,
    ) -> Lease:
        if not self.may_upload(caller, model, now_ns):
            raise UnauthorizedError("not an uploader of this model")
        if not model or len(model) > MAX_MODEL_NAME_BYTES or set(model) - _NAME_LETTERS:
            raise NodeRejectedError(f"not a model name: {model!r}")
        current = next((lease for lease in self.leases.values() if lease.model == model), None)
        self._admit(caller, model, frame_bytes, now_ns)
        if current is not None and current.holder == caller:
            return self.renew(caller, current.id, now_ns)
        if current is not None:
            administers = self.may_administer(caller, model)
            if now_ns < current.expires_ns and not (takeover and administers):
                holder = current.holder if administers else "another identity"
                raise LeaseHeldError(f"{holder} is uploading {model}")
            self.drop_lease(current.id)
        self._make_room(caller, now_ns)
        lease = Lease(
            id=self.next_lease,
            model=model,
            holder=caller,
            expires_ns=now_ns + LEASE_NS,
            frames_count=0,
            frame_bytes=0,
        )
        self.next_lease += 1
        self.leases[lease.id], self.held[lease.id] = lease, {}
        return lease

    def _admit(self, caller: Principal, model: str, frame_bytes: int, now_ns: int) -> None:
        """Refuse bytes that are announced and do not fit."""
        if not frame_bytes:
            return
        if self.frozen:
            raise CyclesError("the canister is frozen")
        limit = self._exceeded(caller, model, FrameDigest(b""), frame_bytes, now_ns)
        if limit is not None:
            raise QuotaError(f"the grant allows {limit} bytes")
        if not self._room(frame_bytes):
            raise NodeFullError("the node cannot grow its memory")

    def _make_room(self, caller: Principal, now_ns: int) -> None:
        """Expired leases of the caller give way, empty and old ones first."""
        own = [lease for lease in self.leases.values() if lease.holder == caller]
        if len(own) < MAX_LEASES_A_HOLDER:
            return
        expired = [lease for lease in own if now_ns >= lease.expires_ns]
        if not expired:
            raise ConflictError("this identity has as many leases as one may have")
        gone = min(expired, key=lambda it: (bool(self.held[it.id]), it.expires_ns))
        self.drop_lease(gone.id)

    def list_leases(self) -> list[Lease]:
        return [self._counted(self.leases[lease_id]) for lease_id in sorted(self.leases)]

    def renew(self, caller: Principal, lease_id: int, now_ns: int) -> Lease:
        lease = self.lease(caller, lease_id)
        if not self.may_upload(caller, lease.model, now_ns):
            raise UnauthorizedError("not an uploader of this model any more")
        self.leases[lease_id] = self._counted(replace(lease, expires_ns=now_ns + LEASE_NS))
        return self.leases[lease_id]

    def _counted(self, lease: Lease) -> Lease:
        held = self.held[lease.id]
        size = sum(len(self.frames[digest].data) for digest in held)
        return replace(lease, frames_count=len(held), frame_bytes=size)

    def lease(self, caller: Principal, lease_id: int) -> Lease:
        lease = self.leases.get(lease_id)
        if lease is None or lease.holder != caller:
            raise LeaseLostError("the lease was taken over or ended")
        return lease

    def end(self, caller: Principal, lease_id: int) -> None:
        self.lease(caller, lease_id)
        self.drop_lease(lease_id)

    def drop_lease(self, lease_id: int) -> None:
        del self.leases[lease_id], self.held[lease_id]

    def put(
        self, caller: Principal, lease_id: int, frames: Iterable[bytes], now_ns: int
    ) -> tuple[PutResult, ...]:
        """Store what is a frame and fits."""
        if self.frozen:
            raise CyclesError("the canister is frozen")
        lease = self.renew(caller, lease_id, now_ns)
        results = tuple(self._put(caller, lease, data, now_ns) for data in frames)
        self.renew(caller, lease_id, now_ns)
        return results

    def _put(self, caller: Principal, lease: Lease, data: bytes, now_ns: int) -> PutResult:
        try:
            parsed = frame.parse(data)
        except DataNodeError as error:
            return PutResult(status=PutStatus.BAD, detail=error.what)
        digest = frame_digest(data)
        stored = self.frames.get(digest)
        held = self.is_held(caller, digest, now_ns)
        own = digest in self.held[lease.id]
        if not own and self._exceeded(caller, lease.model, digest, len(data), now_ns):
            return PutResult(status=PutStatus.NO_ROOM)
        if not held and not self._room(len(data)):
            return PutResult(status=PutStatus.NO_ROOM)
        whole = stored is not None and not stored.damaged and stored.data == data
        self.frames[digest] = Stored(data, _record(parsed, digest, data), now_ns)
        self.held[lease.id][digest] = None
        self.charge(caller, lease.model, [digest], now_ns)
        known = held and whole
        return PutResult(status=PutStatus.ALREADY_STORED if known else PutStatus.STORED)

    def _room(self, size: int) -> bool:
        """The same answer whether or not the store has the frame from another uploader."""
        if self.capacity_bytes is None:
            return True
        return self._size(self.frames) + size <= self.capacity_bytes

    def _size(self, digests: Iterable[FrameDigest]) -> int:
        return sum(len(self.frames[digest].data) for digest in digests if digest in self.frames)

    def _exceeded(
        self, caller: Principal, model: str, digest: FrameDigest, size: int, now_ns: int
    ) -> int | None:
        """The limit that a frame exceeds, of the caller or of the sponsor of the model."""
        for payer, limit in self.payers(caller, model, now_ns).items():
            charged = self.charged.get(payer, set())
            if limit is not None and digest not in charged and self._size(charged) + size > limit:
                return limit
        return None

    def charge(
        self, caller: Principal, model: str, digests: Iterable[FrameDigest], now_ns: int
    ) -> None:
        """Count frames until they are collected."""
        for payer in self.payers(caller, model, now_ns):
            self.charged.setdefault(payer, set()).update(digests)

    def is_held(self, caller: Principal, digest: FrameDigest, now_ns: int) -> bool:
        """Under any lease of the caller, or in a sealed model that the caller may read."""
        own = (lease.id for lease in self.leases.values() if lease.holder == caller)
        return any(digest in self.held[lease] for lease in own) or any(
            digest in references
            for model in self.models.values()
            if self.may_read(caller, model.name, now_ns)
            for references in model.references.values()
        )

    def pin(
        self, caller: Principal, lease_id: int, digests: Iterable[FrameDigest], now_ns: int
    ) -> list[bool]:
        lease = self.renew(caller, lease_id, now_ns)
        pinned = []
        for digest in digests:
            own = digest in self.held[lease_id]
            kept = self.is_held(caller, digest, now_ns) and not self.frames[digest].damaged
            if kept and not own:
                size = len(self.frames[digest].data)
                limit = self._exceeded(caller, lease.model, digest, size, now_ns)
                if limit is not None:
                    raise QuotaError(f"the grant allows {limit} bytes")
            if kept:
                self.held[lease_id][digest] = None
                self.frames[digest].touched_ns = now_ns
                self.charge(caller, lease.model, [digest], now_ns)
            pinned.append(kept)
        return pinned

    def missing(
        self, caller: Principal, lease_id: int, digests: Iterable[FrameDigest], now_ns: int
    ) -> list[bool]:
        self.lease(caller, lease_id)
        return [
            not self.is_held(caller, digest, now_ns) or self.frames[digest].damaged
            for digest in digests
        ]


def _record(parsed: frame.Frame, digest: FrameDigest, data: bytes) -> ChunkRecord:
    return ChunkRecord(
        content=parsed.content,
        frame=digest,
        raw_bytes=parsed.raw_bytes,
        frame_bytes=len(data),
        codec_id=parsed.codec_id,
        element=parsed.element,
    )
