"""Leases and the frames under them, in memory: putting, pinning, what is held for whom."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from datanode import frame
from datanode.digest import FrameDigest, frame_digest
from datanode.errors import (
    CyclesError,
    DataNodeError,
    LeaseHeldError,
    LeaseLostError,
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
    next_lease: int = 1

    def begin(self, caller: Principal, model: str, now_ns: int, *, takeover: bool) -> Lease:
        if not self.may_upload(caller, model, now_ns):
            raise UnauthorizedError("not an uploader of this model")
        if not model or len(model) > MAX_MODEL_NAME_BYTES or set(model) - _NAME_LETTERS:
            raise NodeRejectedError(f"not a model name: {model!r}")
        current = next((lease for lease in self.leases.values() if lease.model == model), None)
        if current is not None and current.holder == caller:
            return self.renew(caller, current.id, now_ns)
        if current is not None:
            if now_ns < current.expires_ns and not (
                takeover and self.may_administer(caller, model)
            ):
                raise LeaseHeldError(f"{current.holder} is uploading {model}")
            self.drop_lease(current.id)
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

    def renew(self, caller: Principal, lease_id: int, now_ns: int) -> Lease:
        lease = self.lease(caller, lease_id)
        if not self.may_upload(caller, lease.model, now_ns):
            raise UnauthorizedError("not an uploader of this model any more")
        held = self.held[lease_id]
        self.leases[lease_id] = replace(
            lease,
            expires_ns=now_ns + LEASE_NS,
            frames_count=len(held),
            frame_bytes=sum(len(self.frames[digest].data) for digest in held),
        )
        return self.leases[lease_id]

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
        held = self.is_held(caller, lease.id, digest, now_ns)
        if not held and not self._room(caller, lease.model, len(data)):
            return PutResult(status=PutStatus.NO_ROOM)
        whole = stored is not None and not stored.damaged and stored.data == data
        self.frames[digest] = Stored(data, _record(parsed, digest, data), now_ns)
        self.held[lease.id][digest] = None
        known = held and whole
        return PutResult(status=PutStatus.ALREADY_STORED if known else PutStatus.STORED)

    def _room(self, caller: Principal, model: str, size: int) -> bool:
        """The same answer whether or not the store has the frame from somebody else."""
        if self.capacity_bytes is not None:
            used = sum(len(stored.data) for stored in self.frames.values())
            if used + size > self.capacity_bytes:
                return False
        quota = self.quota_of(caller, model)
        return quota is None or self._used(caller) + size <= quota

    def _used(self, caller: Principal) -> int:
        digests: set[FrameDigest] = set()
        for lease in self.leases.values():
            if lease.holder == caller:
                digests.update(self.held[lease.id])
        for model in self.models.values():
            for number, info in model.versions.items():
                if info.sealed_by == caller:
                    digests |= model.references[number]
        return sum(len(self.frames[digest].data) for digest in digests)

    def is_held(self, caller: Principal, lease_id: int, digest: FrameDigest, now_ns: int) -> bool:
        """Under the caller's own lease, or in a sealed model that the caller may read."""
        return digest in self.held[lease_id] or any(
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
            kept = self.is_held(caller, lease_id, digest, now_ns) and (
                own or self._within_quota(caller, lease.model, digest)
            )
            if kept:
                self.held[lease_id][digest] = None
                self.frames[digest].touched_ns = now_ns
            pinned.append(kept)
        return pinned

    def _within_quota(self, caller: Principal, model: str, digest: FrameDigest) -> bool:
        quota, size = self.quota_of(caller, model), len(self.frames[digest].data)
        if quota is not None and self._used(caller) + size > quota:
            raise QuotaError(f"the grant allows {quota} bytes")
        return True

    def missing(
        self, caller: Principal, lease_id: int, digests: Iterable[FrameDigest], now_ns: int
    ) -> list[bool]:
        self.lease(caller, lease_id)
        return [
            not self.is_held(caller, lease_id, digest, now_ns) or self.frames[digest].damaged
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
