"""Queries of the memory node."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import NetworkError, NotFoundError, UnauthorizedError
from datanode.limits import MAX_QUERY_REPLY_BYTES
from datanode.manifest import parse_head
from datanode.model import ChunkRecord
from datanode.node.port import (
    FrameAbsence,
    Grant,
    ManifestPart,
    ModelInfo,
    NodeSettings,
    NodeStatus,
    StatusDetails,
    WitnessAnswer,
)
from datanode.principal import Principal
from tests.fakes.certifier import Certifier
from tests.fakes.clock import Clock
from tests.fakes.memory_store import MemoryStore
from tests.fakes.memory_world import CONTROLLER, NODE, World

_REPLY_BYTES = MAX_QUERY_REPLY_BYTES - 65_536


class Queries:
    """One caller's questions."""

    def __init__(self, world: World | None = None, caller: Principal = CONTROLLER) -> None:
        clock = Clock() if world is None else world.clock
        self.world = world or World(
            store=MemoryStore(controllers=frozenset({CONTROLLER})),
            clock=clock,
            certifier=Certifier(clock),
        )
        self.caller = caller

    @property
    def store(self) -> MemoryStore:
        return self.world.store

    @property
    def root_key(self) -> bytes:
        return self.world.certifier.root_key

    @property
    def principal(self) -> Principal:
        return NODE

    @property
    def _now(self) -> int:
        return self.world.clock()

    def _query(self) -> MemoryStore:
        """State that the queried replica has seen."""
        self.world.queries += 1
        self._update()
        return self.world.lagging or self.store

    def _update(self) -> None:
        if self.world.down:
            raise NetworkError("the network is down")

    def _ask(self, *, replicated: bool) -> MemoryStore:
        if not replicated:
            return self._query()
        self.world.replicated += 1
        self._update()
        return self.store

    def status(self) -> NodeStatus:
        self._query()
        details = None
        if self.caller in self.store.controllers:
            frames = self.store.frames.values()
            details = StatusDetails(
                cycles=10**12,
                burn_per_day_cycles=10**9,
                freezing_days=1_000,
                stable_bytes=0,
                frames_count=len(self.store.frames),
                frame_bytes=sum(len(stored.data) for stored in frames),
                damaged_frames_count=sum(stored.damaged for stored in frames),
                free_bytes=0,
                models_count=len(self.store.models),
                leases_count=len(self.store.leases),
                task=None,
            )
        return NodeStatus(interface_version=2, store_version=3, details=details)

    def settings(self) -> NodeSettings | None:
        self._update()
        return self.world.settings if self.caller in self.store.controllers else None

    def lease_frames(self, lease_id: int, *, replicated: bool = False) -> Iterator[ChunkRecord]:
        store = self._ask(replicated=replicated)
        store.lease(self.caller, lease_id)
        for digest in list(store.held[lease_id]):
            yield store.frames[digest].record

    def missing_frames(
        self, lease_id: int, digests: Sequence[FrameDigest], *, replicated: bool = False
    ) -> list[bool]:
        store = self._ask(replicated=replicated)
        return store.missing(self.caller, lease_id, digests, self._now)

    def find_contents(
        self, contents: Sequence[ContentDigest], *, replicated: bool = False
    ) -> list[ChunkRecord | None]:
        return self._ask(replicated=replicated).find(self.caller, contents, self._now)

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        self._query()
        digests = self._readable_manifest(model, manifest)
        answers: list[bytes | FrameAbsence] = []
        left = _REPLY_BYTES
        for index in chunks:
            if index >= len(digests):
                raise NotFoundError(f"no chunk {index}")
            digest = digests[index]
            if digest in self.world.unreachable:
                raise NetworkError("timed out")
            answer = self._frame(digest)
            if isinstance(answer, bytes):
                left -= len(answer)
                if left < 0:
                    answer = FrameAbsence.DID_NOT_FIT
            answers.append(answer)
        return answers

    def _readable_manifest(self, model: str, manifest: FrameDigest) -> list[FrameDigest]:
        found = self.store.readable(self.caller, model, self._now)
        if not any(info.manifest == manifest for info in found.versions.values()):
            raise NotFoundError(f"no such manifest under {model}")
        return found.chunks[manifest]

    def _frame(self, digest: FrameDigest) -> bytes | FrameAbsence:
        if digest in self.world.lies:
            return self.world.lies[digest]
        stored = self.store.frames.get(digest)
        return FrameAbsence.MISSING if stored is None else stored.data

    def get_manifest(
        self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        self._query()
        self._readable_manifest(model, manifest)
        answer = self._frame(self._part_digest(model, manifest, part, index))
        if not isinstance(answer, bytes):
            raise NotFoundError("the part is missing")
        return answer

    def _part_digest(
        self, model: str, manifest: FrameDigest, part: ManifestPart, index: int
    ) -> FrameDigest:
        if part is ManifestPart.HEAD:
            return manifest
        if part is ManifestPart.PLACEMENT:
            versions = self.store.models[model].versions.values()
            return next(info.placement for info in versions if info.manifest == manifest)
        head = parse_head(self.store.part(manifest))
        pages = head.chunk_pages if part is ManifestPart.CHUNK_PAGE else head.tensor_pages
        if index >= len(pages):
            raise NotFoundError(f"no page {index}")
        return pages[index]

    def models(self, *, replicated: bool = False) -> list[ModelInfo]:
        store = self._ask(replicated=replicated)
        infos = [
            store.models[name].info()
            for name in sorted(store.models)
            if store.may_read(self.caller, name, self._now)
        ]
        return [replace(info, versions=info.versions[-1:]) for info in infos]

    def model(self, name: str, *, replicated: bool = False) -> ModelInfo:
        store = self._ask(replicated=replicated)
        return store.readable(self.caller, name, self._now).info()

    def grants(self, model: str | None) -> list[Grant]:
        self._query()
        self._require_administrator(model)
        return [grant for grant in self.store.grants.values() if grant.model == model]

    def witness(self, model: str, version: int | None = None) -> WitnessAnswer:
        self._query()
        found = self.store.readable(self.caller, model, self._now)
        number = found.latest if version is None else version
        if number not in found.versions:
            raise NotFoundError(f"no version {number} of {model}")
        tree = self.store.tree()
        label = (b"dn", b"model", model.encode())
        witness = tree.prune(
            [(b"dn", b"interface"), (*label, b"latest"), (*label, number.to_bytes(4, "big"))]
        )
        return WitnessAnswer(
            certificate=self.world.canister_certificate(
                [[b"canister", NODE.raw, b"certified_data"]]
            ),
            witness=witness.cbor(),
            version=number,
        )

    def _require_administrator(self, model: str | None) -> None:
        if not self.store.may_administer(self.caller, model):
            raise UnauthorizedError("controllers and the owner only")
