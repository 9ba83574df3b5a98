"""The storage canister's state and rules in a few dictionaries: what `storage.did` promises.

Every method takes the caller and the time from outside, as the canister does. `MemoryNode` gives
this store the face of a `StorageNode`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from datanode import frame, manifest, placement
from datanode.agent.hash_tree import HashTree, Plan
from datanode.digest import ContentDigest, FrameDigest, frame_digest
from datanode.errors import (
    ConflictError,
    FormatError,
    IncompleteSealError,
    NodeRejectedError,
    NotFoundError,
    UnauthorizedError,
)
from datanode.model import ChunkRecord
from datanode.node.port import VersionInfo
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS
from tests.fakes.memory_leases import Leases
from tests.fakes.memory_roles import Model

KEEP_NS = 14 * DAY_S * SECOND_NS


@dataclass(slots=True, kw_only=True)
class MemoryStore(Leases):
    """Frames, leases, models and grants.

    Attributes:
        seed: Blinds the certified tree.
        dropped: References that were lost: model, version and frame.
    """

    seed: bytes = b"\x07" * 32
    dropped: list[tuple[str, int, FrameDigest]] = field(default_factory=list)

    def part(self, digest: FrameDigest) -> bytes:
        """The raw bytes of a manifest part."""
        try:
            return frame.parse(self.frames[digest].data).open()
        except KeyError:
            raise NotFoundError("the part is missing") from None

    def seal(
        self,
        caller: Principal,
        lease_id: int,
        name: str,
        *,
        head_digest: FrameDigest,
        placement_digest: FrameDigest,
        expected: int | None,
        now_ns: int,
    ) -> int:
        if (existing := self._sealed(caller, name, head_digest, placement_digest)) is not None:
            self._end_after_seal(caller, lease_id)
            return existing
        lease = self.lease(caller, lease_id)
        if lease.model != name:
            raise NodeRejectedError("the lease is of another model")
        if not self.may_upload(caller, name, now_ns):
            raise UnauthorizedError("not an uploader of this model any more")
        model = self.models.get(name) or Model(
            name=name, owner=caller, latest=self.last_versions.get(name, 0)
        )
        number = model.latest + 1
        if expected is not None and expected != number:
            raise ConflictError(f"the next version of {name} is {number}")
        self._require(caller, lease_id, [head_digest, placement_digest], now_ns)
        chunks, parts = self._contents(caller, lease_id, head_digest, placement_digest, now_ns)
        frames = [record.frame for record in chunks]
        self._require(caller, lease_id, frames, now_ns)
        model.versions[number] = VersionInfo(
            version=number,
            manifest=head_digest,
            placement=placement_digest,
            chunks_count=len(chunks),
            frame_bytes=sum(record.frame_bytes for record in chunks),
            raw_bytes=sum(record.raw_bytes for record in chunks),
            sealed_ns=now_ns,
            sealed_by=caller,
        )
        model.references[number] = frozenset((*frames, *parts))
        model.chunks[head_digest] = frames
        model.latest = self.last_versions[name] = number
        self.charge(caller, name, model.references[number], now_ns)
        model.sponsor = model.sponsor or caller
        self.models[name] = model
        self.drop_lease(lease_id)
        return number

    def _sealed(
        self, caller: Principal, name: str, head: FrameDigest, place: FrameDigest
    ) -> int | None:
        model = self.models.get(name)
        if model is None:
            return None
        for number, info in model.versions.items():
            if (info.manifest, info.placement, info.sealed_by) == (head, place, caller):
                return number
        return None

    def _end_after_seal(self, caller: Principal, lease_id: int) -> None:
        if lease_id in self.leases and self.leases[lease_id].holder == caller:
            self.drop_lease(lease_id)

    def _contents(
        self,
        caller: Principal,
        lease_id: int,
        head_digest: FrameDigest,
        placement_digest: FrameDigest,
        now_ns: int,
    ) -> tuple[list[ChunkRecord], list[FrameDigest]]:
        try:
            head = manifest.parse_head(self.part(head_digest))
            pages = [*head.chunk_pages, *head.tensor_pages]
            self._require(caller, lease_id, pages, now_ns)
            chunks = [
                record
                for page in head.chunk_pages
                for record in manifest.parse_chunk_page(self.part(page))
            ]
            place = placement.parse(self.part(placement_digest))
        except FormatError as error:
            raise FormatError(f"bad manifest: {error.what}") from error
        if (
            place.manifest != head_digest
            or place.chunk_count != len(chunks)
            or (head.chunk_count != len(chunks))
        ):
            raise FormatError("bad manifest: the placement is of another manifest")
        return chunks, [head_digest, placement_digest, *pages]

    def find(
        self, caller: Principal, contents: Sequence[ContentDigest], now_ns: int
    ) -> list[ChunkRecord | None]:
        if not self.is_uploader(caller, now_ns):
            raise UnauthorizedError("not an uploader")
        if len(set(contents)) < len(contents):
            raise NodeRejectedError("the call names a digest twice")
        found: dict[ContentDigest, ChunkRecord] = {}
        for model in self.models.values():
            if not self.may_read(caller, model.name, now_ns):
                continue
            for info in model.versions.values():
                if info.sealed_by == caller:
                    for digest in model.chunks[info.manifest]:
                        stored = self.frames[digest]
                        if not stored.damaged:
                            found[stored.record.content] = stored.record
        return [found.get(content) for content in contents]

    def _require(
        self, caller: Principal, lease_id: int, digests: Iterable[FrameDigest], now_ns: int
    ) -> None:
        wanted = list(dict.fromkeys(digests))
        lacks = self.missing(caller, lease_id, wanted, now_ns)
        gone = [digest for digest, missing in zip(wanted, lacks, strict=True) if missing]
        if gone:
            raise IncompleteSealError(tuple(gone[:1024]), len(gone))

    def tree(self) -> HashTree:
        models: dict[bytes, Plan | bytes] = {}
        for model in self.models.values():
            entry: dict[bytes, Plan | bytes] = {
                number.to_bytes(4, "big"): bytes(info.manifest) + bytes(info.placement)
                for number, info in model.versions.items()
            }
            entry[b"latest"] = model.latest.to_bytes(4, "big")
            entry[b"salt"] = blake3(model.name.encode(), key=self.seed).digest()
            models[model.name.encode()] = entry
        plan: Plan = {b"dn": {b"interface": (2).to_bytes(4, "big"), b"model": models}}
        return HashTree.from_dict(plan)

    def scrub(self) -> Iterator[FrameDigest]:
        for digest, stored in self.frames.items():
            stored.damaged = frame_digest(stored.data) != digest
            if stored.damaged:
                yield digest

    def restore_references(self) -> Iterator[FrameDigest]:
        """Refer again to what sealed manifests name, as the real store does."""
        for name, number, digest in self.dropped:
            self.models[name].references[number] |= {digest}
            yield digest
        self.dropped.clear()

    def collect(self, now_ns: int, *, force: bool) -> tuple[int, int]:
        live = {
            digest
            for lease in self.leases.values()
            if now_ns < lease.expires_ns
            for digest in self.held[lease.id]
        }
        for model in self.models.values():
            live.update(*model.references.values())
        garbage = [
            digest
            for digest, stored in self.frames.items()
            if digest not in live and (force or now_ns - stored.touched_ns >= KEEP_NS)
        ]
        freed = sum(len(self.frames.pop(digest).data) for digest in garbage)
        for held in self.held.values():
            for digest in garbage:
                held.pop(digest, None)
        for charged in self.charged.values():
            charged.difference_update(garbage)
        return len(garbage), freed
