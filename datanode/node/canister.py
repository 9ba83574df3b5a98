"""The storage canister as a storage node, reached through the agent.

Before the first call the canister is asked what it is, once: another canister and a newer
interface are told apart from trouble. Methods that work in steps are called until they are done.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from datanode.agent.candid import Value, encode
from datanode.agent.client import Agent
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.reject import is_certified, reject_of
from datanode.agent.retry import SUSPECT_ATTEMPTS
from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import (
    CyclesError,
    DataNodeError,
    FormatError,
    NodeStoppedError,
    NotFoundError,
    NotStorageNodeError,
    UnauthorizedError,
    UnsupportedVersionError,
)
from datanode.limits import MAX_DIGESTS_A_CALL, MAX_VERSION
from datanode.model import ChunkRecord
from datanode.node import reply_decoding
from datanode.node.candid_interface import INTERFACE_VERSION, METHODS, SCRUB_1, CandidMethod
from datanode.node.error_mapping import open_reply
from datanode.node.management import canister_status
from datanode.node.port import (
    FrameAbsence,
    GarbageStep,
    Grant,
    Lease,
    ManifestPart,
    ModelInfo,
    NodeSettings,
    NodeStatus,
    Refused,
    Role,
    ScrubStep,
    Settled,
    Visibility,
    WitnessAnswer,
)
from datanode.node.values import Row, case, items, narrow
from datanode.principal import Principal

MAX_MODELS = 100_000
"""Most models, or pages of them, that are listed: a hostile node could go on for ever. Ours."""

MAX_LEASES = 10_000
"""Most leases that are listed: for the same reason. Ours."""

MAX_LEASE_FRAMES = 1 << 22
"""Most frames, or pages of them, that are listed of a lease: for the same reason. Ours."""

_NO_CODE = "IC0537"

_VERSION_2 = 2
_SINCE_VERSION_2 = frozenset({"find_contents", "leases", "end_lease"})
"""Methods that a node of interface version 1 has not, or answers in another form."""
_UPDATES_SINCE_VERSION_2 = frozenset({"models", "model", "lease_frames"})
"""Queries that a node of interface version 1 refuses as updates: there one replica is asked, as
uploads did then."""


class CanisterNode:
    """A storage canister; see `StorageNode` for its methods.

    Args:
        agent: How it is reached, and as whom.
        principal: The canister.
    """

    def __init__(self, agent: Agent, principal: Principal) -> None:
        self._agent = agent
        self._principal = principal
        self._interface_version = 0  # until it is asked

    @property
    def principal(self) -> Principal:
        """Name of the node."""
        return self._principal

    def status(self) -> NodeStatus:
        """See `StorageNode`.

        Raises:
            NotStorageNodeError: The canister is something else.
            UnsupportedVersionError: It speaks a newer interface than this release.
        """
        argument = encode((), ())
        reply = self._drained(lambda: self._agent.query(self._principal, "status", argument))
        try:
            status = reply_decoding.status(open_reply(METHODS["status"], reply))
        except FormatError as error:
            raise NotStorageNodeError(
                f"{self._principal} answers, and not as a storage canister does"
            ) from error
        if status.interface_version > INTERFACE_VERSION:
            raise UnsupportedVersionError(
                f"{self._principal} speaks interface version {status.interface_version}, "
                f"this release up to {INTERFACE_VERSION}"
            )
        self._interface_version = status.interface_version
        return status

    def settings(self) -> NodeSettings | None:
        """See `StorageNode`."""
        try:
            found = canister_status(self._agent, self._principal)
        except UnauthorizedError:
            return None
        return NodeSettings(
            memory_bytes=found.memory_bytes,
            cycles=found.cycles,
            burn_per_day_cycles=found.burn_per_day_cycles,
            freezing_threshold_s=found.freezing_threshold_s,
            reserved_cycles=found.reserved_cycles,
            reserved_cycles_limit=found.reserved_cycles_limit,
            wasm_memory_limit_bytes=found.wasm_memory_limit_bytes,
        )

    def begin_upload(
        self, model: str, *, frames_count: int, frame_bytes: int, takeover: bool = False
    ) -> Lease:
        """See `StorageNode`."""
        wish: Value = {
            "model": model,
            "frames": frames_count,
            "frame_bytes": frame_bytes,
            "takeover": takeover,
        }
        return reply_decoding.lease(self._call("begin_upload", wish))

    def renew_upload(self, lease_id: int) -> Lease:
        """See `StorageNode`."""
        return reply_decoding.lease(self._call("renew_upload", lease_id))

    def end_upload(self, lease_id: int) -> None:
        """See `StorageNode`."""
        self._call("end_upload", lease_id)

    def leases(self) -> list[Lease]:
        """See `StorageNode`."""
        leases: list[Lease] = []
        after: int | None = None
        while True:
            page = Row.of(self._query("leases", after))
            leases += map(reply_decoding.lease, page.items("leases"))
            following = page.optional("next", int)
            if following is None:
                return leases
            if (after is not None and following <= after) or len(leases) > MAX_LEASES:
                raise FormatError("the node's list of leases does not advance, or does not end")
            after = following

    def end_lease(self, lease_id: int) -> None:
        """See `StorageNode`."""
        self._call("end_lease", lease_id)

    def prepare(self, lease_id: int, frames: Sequence[bytes]) -> SignedMessage:
        """See `StorageNode`."""
        argument = encode(METHODS["put_frames"].arguments, (lease_id, frames))
        return self._agent.prepare(self._principal, "put_frames", argument)

    def send(self, message: SignedMessage) -> Settled | Refused | Unsettled:
        """See `StorageNode`."""
        return _outcome(lambda: self._agent.send(message))

    def recover(self, request_id: bytes, expiry_ns: int) -> Settled | Refused | Unsettled:
        """See `StorageNode`."""
        return _outcome(lambda: self._agent.recover(request_id, self._principal, expiry_ns))

    def pin_frames(self, lease_id: int, digests: Sequence[FrameDigest]) -> list[bool]:
        """See `StorageNode`."""
        return self._bits(partial(self._call, "pin_frames"), lease_id, digests)

    def lease_frames(self, lease_id: int, *, replicated: bool = False) -> Iterator[ChunkRecord]:
        """See `StorageNode`."""
        ask = self._asking("lease_frames", replicated=replicated)
        cursor: bytes | None = b""
        count = 0
        while cursor is not None:
            page = Row.of(ask(lease_id, cursor))
            frames = page.rows("frames")
            count += max(1, len(frames))
            if count > MAX_LEASE_FRAMES:
                raise FormatError("the node's list of a lease's frames does not end")
            yield from map(reply_decoding.held, frames)
            cursor = page.optional("next", bytes)

    def missing_frames(
        self, lease_id: int, digests: Sequence[FrameDigest], *, replicated: bool = False
    ) -> list[bool]:
        """See `StorageNode`."""
        ask = self._asking("missing_frames", replicated=replicated)
        return self._bits(ask, lease_id, digests)

    def find_contents(
        self, contents: Sequence[ContentDigest], *, replicated: bool = False
    ) -> list[ChunkRecord | None]:
        """See `StorageNode`."""
        if self._version() < _VERSION_2:
            return [None] * len(contents)
        ask = self._asking("find_contents", replicated=replicated)
        found: list[ChunkRecord | None] = []
        for at in range(0, len(contents), MAX_DIGESTS_A_CALL):
            batch = contents[at : at + MAX_DIGESTS_A_CALL]
            found += reply_decoding.found(ask(batch), batch)
        return found

    def seal_model(
        self,
        lease_id: int,
        model: str,
        *,
        manifest: FrameDigest,
        placement: FrameDigest,
        expected_version: int | None = None,
    ) -> int:
        """See `StorageNode`."""
        seal: Value = {
            "model": model,
            "manifest": manifest,
            "placement": placement,
            "expected_version": expected_version,
        }
        cursor = b""
        while True:
            step, value = case(self._call("seal_model", lease_id, seal, cursor))
            if step == "done":
                return narrow(value, int)
            cursor = narrow(value, bytes)

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        """See `StorageNode`."""
        wish: Value = {"model": model, "manifest": manifest, "chunks": chunks}
        return [
            reply_decoding.frame_answer(value) for value in items(self._query("get_frames", wish))
        ]

    def get_manifest(
        self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        """See `StorageNode`."""
        wish = {
            "model": model,
            "manifest": manifest,
            "part": reply_decoding.manifest_part(part, index),
        }
        return narrow(self._query("get_manifest", wish), bytes)

    def models(self, *, replicated: bool = False) -> list[ModelInfo]:
        """See `StorageNode`."""
        ask = self._asking("models", replicated=replicated)
        models: list[ModelInfo] = []
        after: str | None = None
        pages_count = 0
        while True:
            page = Row.of(ask(after))
            models += map(reply_decoding.model, page.items("models"))
            pages_count += 1
            following = page.optional("next", str)
            if following is None:
                return models
            if following <= (after or "") or max(len(models), pages_count) > MAX_MODELS:
                raise FormatError("the node's list of models does not go on, or does not end")
            after = following

    def model(self, name: str, *, replicated: bool = False) -> ModelInfo:
        """See `StorageNode`."""
        return reply_decoding.model(self._asking("model", replicated=replicated)(name))

    def witness(self, model: str, version: int | None = None) -> WitnessAnswer:
        """See `StorageNode`."""
        if version is not None and not 0 <= version <= MAX_VERSION:
            raise _no_version(model, version)
        try:
            answer = self._query("witness", {"model": model, "version": version})
        except NotFoundError as error:
            if version is None or reject_of(error) is not None:
                raise
            raise _no_version(model, version) from error
        return reply_decoding.witness(answer)

    def scrub(self, cursor: bytes, max_bytes: int) -> ScrubStep:
        """See `StorageNode`."""
        is_first = self._version() < _VERSION_2
        kind = SCRUB_1 if is_first else METHODS["scrub"]
        row = Row.of(self._send(self._agent.call, "scrub", kind, (cursor, max_bytes)))
        return ScrubStep(
            next_cursor=row.optional("next", bytes),
            checked=() if is_first else _digests(row, "checked"),
            corrupt=_digests(row, "corrupt"),
            restored=() if is_first else _digests(row, "restored"),
            names_checked=not is_first,
        )

    def delete_model(self, name: str, version: int | None = None) -> None:
        """See `StorageNode`."""
        cursor: bytes | None = b""
        while cursor is not None:
            row = Row.of(self._call("delete_model", name, version, cursor))
            cursor = row.optional("next", bytes)

    def collect_garbage(self, cursor: bytes, *, force: bool = False) -> GarbageStep:
        """See `StorageNode`."""
        row = Row.of(self._call("collect_garbage", {"force": force}, cursor))
        return GarbageStep(
            next_cursor=row.optional("next", bytes),
            freed_count=row.number("freed_frames"),
            freed_bytes=row.number("freed_bytes"),
        )

    def grant(self, grant: Grant) -> None:
        """See `StorageNode`."""
        self._call("grant", reply_decoding.grant_value(grant))

    def revoke(self, to: Principal, role: Role, model: str | None) -> None:
        """See `StorageNode`."""
        self._call("revoke", {"to": to, "role": (role.value, None), "model": model})

    def grants(self, model: str | None) -> list[Grant]:
        """See `StorageNode`."""
        return [reply_decoding.grant(value) for value in items(self._query("grants", model))]

    def transfer_model(self, model: str, to: Principal) -> None:
        """See `StorageNode`."""
        self._call("transfer_model", {"model": model, "to": to})

    def set_visibility(self, model: str, visibility: Visibility) -> None:
        """See `StorageNode`."""
        self._call("set_visibility", {"model": model, "visibility": (visibility.value, None)})

    def _asking(self, method: str, *, replicated: bool) -> Callable[..., Value]:
        """Choose how to ask: one replica, or the subnet where the node lets it answer."""
        if replicated and method in _UPDATES_SINCE_VERSION_2 and self._version() < _VERSION_2:
            return partial(self._query, method)
        return partial(self._call if replicated else self._query, method)

    def _version(self) -> int:
        """Return the interface version; asks once."""
        return self._interface_version or self.status().interface_version

    def _query(self, method: str, *arguments: Value) -> Value:
        """Ask one replica; a reply that is no Candid of ours is asked for again, of another."""
        for _ in range(SUSPECT_ATTEMPTS - 1):
            with suppress(FormatError):
                return self._ask(self._agent.query, method, arguments)
        return self._ask(self._agent.query, method, arguments)

    def _call(self, method: str, *arguments: Value) -> Value:
        return self._ask(self._agent.call, method, arguments)

    def _ask(
        self,
        ask: Callable[[Principal, str, bytes], bytes],
        method: str,
        arguments: Sequence[Value],
    ) -> Value:
        if method in _SINCE_VERSION_2 and self._version() < _VERSION_2:
            raise UnsupportedVersionError(
                f"{self._principal} speaks interface version 1, whose `{method}` this release does "
                "not use",
                safe="Nothing was changed.",
                hint="Copy its models to a node of this release with `datanode copy`.",
            )
        self._version()
        return self._send(ask, method, METHODS[method], arguments)

    def _send(
        self,
        ask: Callable[[Principal, str, bytes], bytes],
        method: str,
        kind: CandidMethod,
        arguments: Sequence[Value],
    ) -> Value:
        argument = encode(kind.arguments, arguments)
        return open_reply(kind, self._drained(lambda: ask(self._principal, method, argument)))

    def _drained(self, ask: Callable[[], bytes]) -> bytes:
        """Tell a canister whose code was deleted when its cycles ran out from an empty one.

        Raises:
            CyclesError: It ran out of cycles.
        """
        try:
            return ask()
        except NodeStoppedError as error:
            reject = reject_of(error)
            if reject is None or reject.error_code != _NO_CODE or not self._is_out_of_cycles():
                raise
            raise CyclesError(
                f"{self._principal} ran out of cycles: the subnet deleted its code and everything "
                "it stored",
                hint="Make a new node with `datanode node create`, and upload again.",
            ) from error

    def _is_out_of_cycles(self) -> bool:
        try:
            status = canister_status(self._agent, self._principal)
        except CyclesError:
            return True  # it cannot even pay for the question
        except DataNodeError:
            return False  # only controllers may look
        return status.cycles < status.burn_per_day_cycles or not status.cycles

    def _bits(
        self,
        ask: Callable[..., Value],
        lease_id: int,
        digests: Sequence[FrameDigest],
    ) -> list[bool]:
        """Ask about digests in batches, each digest once; the answer is one bit each."""
        distinct = list(dict.fromkeys(digests))
        bits: list[bool] = []
        for at in range(0, len(distinct), MAX_DIGESTS_A_CALL):
            batch = distinct[at : at + MAX_DIGESTS_A_CALL]
            bits += reply_decoding.bits(narrow(ask(lease_id, batch), bytes), len(batch))
        told = dict(zip(distinct, bits, strict=True))
        return [told[digest] for digest in digests]


def _no_version(model: str, version: int) -> NotFoundError:
    return NotFoundError(
        f"not on the node, or not for this identity: version {version} of {model}",
        hint=f"`datanode show {model}` lists its versions.",
    )


def _digests(row: Row, name: str) -> tuple[FrameDigest, ...]:
    return tuple(FrameDigest(narrow(item, bytes)) for item in row.items(name))


def _outcome(ask: Callable[[], CertifiedReply | Unsettled]) -> Settled | Refused | Unsettled:
    """Tell certified ends, good or bad, from what is still open."""
    try:
        reply = ask()
    except DataNodeError as error:
        if is_certified(error):
            return Refused(error=error)
        raise
    if isinstance(reply, Unsettled):
        return reply
    try:
        results = items(open_reply(METHODS["put_frames"], reply.data))
    except FormatError:
        raise
    except DataNodeError as error:
        return Refused(error=error)
    return Settled(
        results=tuple(map(reply_decoding.put_result, results)), receipt=reply.certificate
    )
