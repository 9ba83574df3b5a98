"""The storage canister as a storage node, reached through the agent.

Before the first call the canister is asked what it is, once: another canister and a newer
interface are told apart from trouble. Methods that work in steps are called until they are done.
"""

from collections.abc import Callable, Iterator, Sequence

from datanode.agent.candid import Value, encode
from datanode.agent.client import Agent
from datanode.agent.outcome import Pending, Reply, SignedCall
from datanode.agent.reject import is_certified
from datanode.digest import FrameDigest
from datanode.errors import (
    DataNodeError,
    FormatError,
    NotFoundError,
    NotStorageNodeError,
    UnsupportedVersionError,
)
from datanode.limits import MAX_DIGESTS_A_CALL
from datanode.model import ChunkRecord
from datanode.node import answers
from datanode.node.interface import INTERFACE_VERSION, METHODS
from datanode.node.port import (
    FrameAbsence,
    GarbageStep,
    Grant,
    Lease,
    ManifestPart,
    ModelInfo,
    NodeStatus,
    Refused,
    Role,
    ScrubStep,
    Settled,
    SignedMessage,
    Unsettled,
    Visibility,
    WitnessAnswer,
)
from datanode.node.refusals import open_reply
from datanode.node.values import Row, case, items, narrow
from datanode.principal import Principal

MAX_MODELS = 100_000
"""Most models that are listed: a node could go on for ever, and fill the memory. Ours."""

MAX_LEASE_FRAMES = 1 << 22
"""Most frames, or pages of them, that are listed of a lease: for the same reason. Ours."""

_UNSETTLED = {
    Pending.UNKNOWN: Unsettled.UNKNOWN,
    Pending.EXPIRED: Unsettled.EXPIRED,
    Pending.FORGOTTEN: Unsettled.FORGOTTEN,
}


class CanisterNode:
    """A storage canister; see `StorageNode` for its methods.

    Args:
        agent: How it is reached, and as whom.
        principal: The canister.
    """

    def __init__(self, agent: Agent, principal: Principal) -> None:
        self._agent = agent
        self._principal = principal
        self._is_known = False

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
        reply = self._agent.query(self._principal, "status", encode((), ()))
        try:
            status = answers.status(open_reply(METHODS["status"], reply))
        except FormatError as error:
            raise NotStorageNodeError(
                f"{self._principal} answers, and not as a storage canister does"
            ) from error
        if status.interface_version > INTERFACE_VERSION:
            raise UnsupportedVersionError(
                f"{self._principal} speaks interface version {status.interface_version}, "
                f"this release up to {INTERFACE_VERSION}"
            )
        self._is_known = True
        return status

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
        return answers.lease(self._call("begin_upload", wish))

    def renew_upload(self, lease_id: int) -> Lease:
        """See `StorageNode`."""
        return answers.lease(self._call("renew_upload", lease_id))

    def end_upload(self, lease_id: int) -> None:
        """See `StorageNode`."""
        self._call("end_upload", lease_id)

    def prepare(self, lease_id: int, frames: Sequence[bytes]) -> SignedMessage:
        """See `StorageNode`."""
        argument = encode(METHODS["put_frames"].arguments, (lease_id, frames))
        call = self._agent.prepare(self._principal, "put_frames", argument)
        return SignedMessage(
            request_id=call.request_id,
            canister=self._principal,
            sender=call.sender,
            expiry_ns=call.expiry_ns,
            body=call.body,
        )

    def send(self, message: SignedMessage) -> Settled | Refused | Unsettled:
        """See `StorageNode`."""
        call = SignedCall(
            request_id=message.request_id,
            canister=message.canister,
            sender=message.sender,
            expiry_ns=message.expiry_ns,
            body=message.body,
        )
        return _outcome(lambda: self._agent.send(call))

    def recover(self, request_id: bytes, expiry_ns: int) -> Settled | Refused | Unsettled:
        """See `StorageNode`."""
        return _outcome(lambda: self._agent.recover(request_id, self._principal, expiry_ns))

    def pin_frames(self, lease_id: int, digests: Sequence[FrameDigest]) -> list[bool]:
        """See `StorageNode`."""
        return self._bits("pin_frames", self._call, lease_id, digests)

    def lease_frames(self, lease_id: int) -> Iterator[ChunkRecord]:
        """See `StorageNode`."""
        cursor: bytes | None = b""
        count = 0
        while cursor is not None:
            page = Row.of(self._query("lease_frames", lease_id, cursor))
            frames = page.rows("frames")
            count += max(1, len(frames))
            if count > MAX_LEASE_FRAMES:
                raise FormatError("the node's list of a lease's frames does not end")
            yield from map(answers.held, frames)
            cursor = page.optional("next", bytes)

    def missing_frames(
        self, lease_id: int, digests: Sequence[FrameDigest], *, replicated: bool = False
    ) -> list[bool]:
        """See `StorageNode`."""
        ask = self._call if replicated else self._query
        return self._bits("missing_frames", ask, lease_id, digests)

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
        return [answers.frame_answer(value) for value in items(self._query("get_frames", wish))]

    def get_manifest(
        self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        """See `StorageNode`."""
        wish = {"model": model, "manifest": manifest, "part": answers.manifest_part(part, index)}
        return narrow(self._query("get_manifest", wish), bytes)

    def models(self) -> list[ModelInfo]:
        """See `StorageNode`."""
        models: list[ModelInfo] = []
        after: str | None = None
        while True:
            page = Row.of(self._query("models", after))
            models += map(answers.model, page.items("models"))
            following = page.optional("next", str)
            if following is None:
                return models
            if following <= (after or "") or len(models) > MAX_MODELS:
                raise FormatError("the node's list of models does not go on, or does not end")
            after = following

    def model(self, name: str) -> ModelInfo:
        """See `StorageNode`."""
        return answers.model(self._query("model", name))

    def witness(self, model: str, version: int | None = None) -> WitnessAnswer:
        """See `StorageNode`."""
        try:
            answer = self._query("witness", {"model": model, "version": version})
        except NotFoundError as error:
            if version is None:
                raise
            raise NotFoundError(
                f"not on the node, or not for this identity: version {version} of {model}",
                hint=f"`datanode show {model}` lists its versions.",
            ) from error
        return answers.witness(answer)

    def scrub(self, cursor: bytes, max_bytes: int) -> ScrubStep:
        """See `StorageNode`."""
        row = Row.of(self._call("scrub", cursor, max_bytes))
        return ScrubStep(
            next_cursor=row.optional("next", bytes),
            checked_count=row.number("checked"),
            corrupt=tuple(FrameDigest(narrow(item, bytes)) for item in row.items("corrupt")),
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
        self._call("grant", answers.grant_value(grant))

    def revoke(self, to: Principal, role: Role, model: str | None) -> None:
        """See `StorageNode`."""
        self._call("revoke", {"to": to, "role": (role.value, None), "model": model})

    def grants(self, model: str | None) -> list[Grant]:
        """See `StorageNode`."""
        return [answers.grant(value) for value in items(self._query("grants", model))]

    def transfer_model(self, model: str, to: Principal) -> None:
        """See `StorageNode`."""
        self._call("transfer_model", {"model": model, "to": to})

    def set_visibility(self, model: str, visibility: Visibility) -> None:
        """See `StorageNode`."""
        self._call("set_visibility", {"model": model, "visibility": (visibility.value, None)})

    def _query(self, method: str, *arguments: Value) -> Value:
        return self._ask(self._agent.query, method, arguments)

    def _call(self, method: str, *arguments: Value) -> Value:
        return self._ask(self._agent.call, method, arguments)

    def _ask(
        self,
        ask: Callable[[Principal, str, bytes], bytes],
        method: str,
        arguments: Sequence[Value],
    ) -> Value:
        if not self._is_known:
            self.status()
        kind = METHODS[method]
        reply = ask(self._principal, method, encode(kind.arguments, arguments))
        return open_reply(kind, reply)

    def _bits(
        self,
        method: str,
        ask: Callable[..., Value],
        lease_id: int,
        digests: Sequence[FrameDigest],
    ) -> list[bool]:
        """Ask about digests in batches; the answer is one bit each."""
        bits: list[bool] = []
        for at in range(0, len(digests), MAX_DIGESTS_A_CALL):
            batch = digests[at : at + MAX_DIGESTS_A_CALL]
            bits += answers.bits(narrow(ask(method, lease_id, batch), bytes), len(batch))
        return bits


def _outcome(ask: Callable[[], Reply | Pending]) -> Settled | Refused | Unsettled:
    """Tell certified ends, good or bad, from what is still open."""
    try:
        reply = ask()
    except DataNodeError as error:
        if is_certified(error):
            return Refused(error=error)
        raise
    if isinstance(reply, Pending):
        return _UNSETTLED[reply]
    try:
        results = items(open_reply(METHODS["put_frames"], reply.data))
    except FormatError:
        raise
    except DataNodeError as error:
        return Refused(error=error)
    return Settled(results=tuple(map(answers.put_result, results)), receipt=reply.certificate)
