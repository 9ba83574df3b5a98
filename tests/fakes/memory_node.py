"""A storage node in memory with real certificates, for every test that needs no canister.

Faults on cue: `script` plays one letter a sent message, and past its end all works:

    .  works
    x  lost on the way in: never executed
    o  lost on the way out: executed, the answer is lost
    l  executed late: the answer is unknown until somebody asks
    K  kills the caller before execution
    k  kills the caller after it
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from datanode import cbor
from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.digest import FrameDigest
from datanode.errors import NodeRejectedError, NotFoundError, UnauthorizedError
from datanode.limits import MESSAGE_EXPIRY_NS
from datanode.node.port import (
    GarbageStep,
    Grant,
    Lease,
    Refused,
    Role,
    ScrubStep,
    Settled,
    Visibility,
)
from datanode.principal import Principal
from tests.fakes.memory_queries import Queries
from tests.fakes.memory_world import NODE

REMEMBERED_NS: Final = 300 * 10**9
"""How long after its expiry the subnet still knows a message."""


class KilledError(BaseException):
    """Stands for SIGKILL: no handler in the project catches it."""


class MemoryNode(Queries):
    """One caller's view of a node."""

    def as_caller(self, caller: Principal) -> "MemoryNode":
        return MemoryNode(self.world, caller)

    def begin_upload(
        self, model: str, *, frames_count: int, frame_bytes: int, takeover: bool = False
    ) -> Lease:
        self._update()
        return self.store.begin(
            self.caller, model, self._now, takeover=takeover, frame_bytes=frame_bytes
        )

    def renew_upload(self, lease_id: int) -> Lease:
        self._update()
        return self.store.renew(self.caller, lease_id, self._now)

    def end_upload(self, lease_id: int) -> None:
        self._update()
        self.store.end(self.caller, lease_id)

    def leases(self) -> list[Lease]:
        self._query()
        self._require_controller()
        return self.store.list_leases()

    def end_lease(self, lease_id: int) -> None:
        self._update()
        self._require_controller()
        if lease_id not in self.store.leases:
            raise NotFoundError(f"no lease {lease_id}")
        self.store.drop_lease(lease_id)

    def prepare(self, lease_id: int, frames: Sequence[bytes]) -> SignedMessage:
        self.world.nonce += 1
        body = cbor.encode(
            {
                "caller": self.caller.raw,
                "lease": lease_id,
                "frames": list(frames),
                "nonce": self.world.nonce,
            }
        )
        return SignedMessage(
            request_id=hashlib.sha256(body).digest(),
            canister=NODE,
            sender=self.caller,
            expiry_ns=self._now + MESSAGE_EXPIRY_NS,
            body=body,
        )

    def send(self, message: SignedMessage) -> Settled | Refused | Unsettled:
        world = self.world
        letter = world.script[world.sent] if world.sent < len(world.script) else "."
        world.sent += 1
        self._update()
        if letter == "K":
            raise KilledError
        if letter == "x":
            return Unsettled.UNKNOWN
        if letter == "l":
            world.late[message.request_id] = lambda: world.execute(message)
            return Unsettled.UNKNOWN
        world.execute(message)
        if letter == "k":
            raise KilledError
        if letter == "o":
            return Unsettled.UNKNOWN
        return self.recover(message.request_id, message.expiry_ns)

    def recover(self, request_id: bytes, expiry_ns: int) -> Settled | Refused | Unsettled:
        self._update()
        if request_id in self.world.late:
            self.world.late.pop(request_id)()
        if self._now > expiry_ns + REMEMBERED_NS:
            return Unsettled.FORGOTTEN
        done = self.world.executed.get(request_id)
        if done is not None:
            return done.outcome
        return Unsettled.EXPIRED if self._now > expiry_ns else Unsettled.UNKNOWN

    def pin_frames(self, lease_id: int, digests: Sequence[FrameDigest]) -> list[bool]:
        self._update()
        return self.store.pin(self.caller, lease_id, digests, self._now)

    def seal_model(
        self,
        lease_id: int,
        model: str,
        *,
        manifest: FrameDigest,
        placement: FrameDigest,
        expected_version: int | None = None,
    ) -> int:
        self._update()
        return self.store.seal(
            self.caller,
            lease_id,
            model,
            head_digest=manifest,
            placement_digest=placement,
            expected=expected_version,
            now_ns=self._now,
        )

    def scrub(self, cursor: bytes, max_bytes: int) -> ScrubStep:
        self._update()
        self._require_controller()
        corrupt = tuple(self.store.scrub())
        return ScrubStep(
            next_cursor=None,
            checked=tuple(self.store.frames),
            corrupt=corrupt,
            restored=tuple(self.store.restore_references()),
        )

    def delete_model(self, name: str, version: int | None = None) -> None:
        self._update()
        self._require_owner(name)
        model = self.store.models[name]
        if version is None:
            del self.store.models[name]
        elif model.versions.pop(version, None) is None:
            raise NotFoundError(f"no version {version} of {name}")
        else:
            del model.references[version]

    def collect_garbage(self, cursor: bytes, *, force: bool = False) -> GarbageStep:
        self._update()
        self._require_controller()
        count, size = self.store.collect(self._now, force=force)
        return GarbageStep(next_cursor=None, freed_count=count, freed_bytes=size)

    def grant(self, grant: Grant) -> None:
        self._update()
        self._require_administrator(grant.model)
        if grant.expires_ns is not None and grant.expires_ns <= self._now:
            raise NodeRejectedError("the grant would have expired already")
        by_controller = self.caller in self.store.controllers
        self.store.give(grant, by_controller=by_controller)

    def revoke(self, to: Principal, role: Role, model: str | None) -> None:
        self._update()
        self._require_administrator(model)
        self.store.grants.pop((to, role, model), None)

    def transfer_model(self, model: str, to: Principal) -> None:
        self._update()
        self._require_owner(model)
        self.store.models[model].owner = to
        if self.caller in self.store.controllers:
            self.store.models[model].sponsor = self.caller

    def set_visibility(self, model: str, visibility: Visibility) -> None:
        self._update()
        self._require_owner(model)
        self.store.models[model].visibility = visibility

    def _require_controller(self) -> None:
        if self.caller not in self.store.controllers:
            raise UnauthorizedError("controllers only")

    def _require_owner(self, model: str) -> None:
        self.store.readable(self.caller, model, self._now)
        if not self.store.may_administer(self.caller, model):
            raise UnauthorizedError("controllers and the owner only")
