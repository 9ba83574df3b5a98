"""The canister client maps replies to the port's types."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final, cast

import pytest

from datanode.agent.candid import Value, encode
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.reject import RejectError, error_of
from datanode.agent.retry import SUSPECT_ATTEMPTS
from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import (
    CertificateError,
    CyclesError,
    FormatError,
    LeaseLostError,
    NodeRejectedError,
    NotStorageNodeError,
    UnauthorizedError,
    UnsupportedVersionError,
)
from datanode.node.candid_interface import METHODS
from datanode.node.canister import CanisterNode
from datanode.node.port import PutStatus, Refused, Settled
from datanode.node.values import Row
from datanode.principal import Principal

if TYPE_CHECKING:
    from datanode.agent.client import Agent

CANISTER = Principal(b"\1")
MESSAGE = SignedMessage(
    request_id=bytes(32), canister=CANISTER, sender=CANISTER, expiry_ns=1, body=b"signed"
)
STATUS = {"interface_version": 2, "store_version": 3, "details": None}


class ScriptedAgent:
    """Answers as a test says."""

    def __init__(self) -> None:
        self.answers: dict[str, Value] = {"status": STATUS}
        self.junk: bytes | None = None
        self.wrong = 0
        self.asked: list[str] = []
        self.called: list[str] = []
        self.outcome: Callable[[], CertifiedReply | Unsettled] = lambda: Unsettled.UNKNOWN
        self.sent: list[SignedMessage] = []

    def query(self, canister: Principal, method: str, arg: bytes) -> bytes:
        self.asked.append(method)
        answer = self.answers[method]
        if self.junk is not None:
            return self.junk
        if self.wrong:
            self.wrong -= 1
            return b"DIDL\0\0"
        kind = METHODS[method]
        return encode((kind.reply,), (("Ok", answer) if kind.fallible else answer,))

    def call(self, canister: Principal, method: str, arg: bytes) -> bytes:
        self.called.append(method)
        return self.query(canister, method, arg)

    def send(self, call: SignedMessage) -> CertifiedReply | Unsettled:
        self.sent.append(call)
        return self.outcome()

    def recover(
        self, request_id: bytes, canister: Principal, expiry_ns: int
    ) -> CertifiedReply | Unsettled:
        return self.outcome()


@pytest.fixture
def agent() -> ScriptedAgent:
    return ScriptedAgent()


@pytest.fixture
def node(agent: ScriptedAgent) -> CanisterNode:
    return CanisterNode(cast("Agent", agent), CANISTER)


def test_the_canister_is_asked_once_what_it_is(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.answers["models"] = {"models": [], "next": None}
    assert node.models() == node.models() == []
    assert agent.asked == ["status", "models", "models"]


def test_a_newer_interface_is_refused_before_anything_is_asked(
    agent: ScriptedAgent, node: CanisterNode
) -> None:
    agent.answers["status"] = STATUS | {"interface_version": 3}
    with pytest.raises(UnsupportedVersionError, match="version 3"):
        node.models()
    assert agent.asked == ["status"]


def test_version_1_is_asked_as_it_was_then(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.answers["status"] = STATUS | {"interface_version": 1}
    agent.answers["models"] = {"models": [], "next": None}
    assert node.models(replicated=True) == []
    assert node.find_contents([ContentDigest(bytes(32))], replicated=True) == [None]
    assert agent.asked == ["status", "models"]
    assert agent.called == []
    with pytest.raises(UnsupportedVersionError, match="`end_lease`"):
        node.end_lease(1)


def test_replicated_reads_are_update_calls(agent: ScriptedAgent, node: CanisterNode) -> None:
    model: Value = {
        "name": "llama",
        "owner": CANISTER,
        "visibility": ("public", None),
        "latest": 0,
        "versions": [],
    }
    agent.answers |= {
        "models": {"models": [model], "next": None},
        "model": model,
        "lease_frames": {"frames": [], "next": None},
        "missing_frames": b"\0",
    }
    for replicated, called in ((False, []), (True, [*agent.answers][1:])):
        assert node.models(replicated=replicated)[0].name == "llama"
        assert node.model("llama", replicated=replicated).name == "llama"
        assert list(node.lease_frames(1, replicated=replicated)) == []
        node.missing_frames(1, [FrameDigest(bytes(32))], replicated=replicated)
        assert agent.called == called


@pytest.mark.parametrize("reply", [b"", b"DIDL\0\0", b"DIDL\0\1\x71\1a"])
def test_an_answer_of_another_kind_is_that_of_another_canister(
    agent: ScriptedAgent, node: CanisterNode, reply: bytes
) -> None:
    agent.junk = reply
    with pytest.raises(NotStorageNodeError):
        node.model("llama")


def test_a_witness_without_certificate_proves_nothing(
    agent: ScriptedAgent, node: CanisterNode
) -> None:
    agent.answers["witness"] = {
        "certificate": None,
        "witness": b"",
        "version": 1,
        "manifest": b"",
        "placement": b"",
    }
    with pytest.raises(CertificateError):
        node.witness("llama")


def test_a_bitmap_of_another_size_is_refused(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.answers["missing_frames"] = b"\0\0"
    with pytest.raises(FormatError, match="2 bytes for 1 digests"):
        node.missing_frames(1, [FrameDigest(bytes(32))])


def test_many_digests_travel_in_several_calls(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.answers["pin_frames"] = b"\xff" * 2048
    digests = [FrameDigest(index.to_bytes(32)) for index in range(16_385)]
    with pytest.raises(FormatError, match="2048 bytes for 1 digests"):
        node.pin_frames(1, digests)
    assert agent.asked == ["status", "pin_frames", "pin_frames"]


def test_digests_travel_once(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.answers["pin_frames"] = b"\x01"
    one, two = (FrameDigest(index.to_bytes(32)) for index in range(2))
    assert node.pin_frames(1, [one, two, one]) == [True, False, True]


HELD: Final[Mapping[str, Value]] = {
    "content": bytes(32),
    "frame": bytes(32),
    "bytes": 70,
    "raw_bytes": 6,
    "codec": 0,
    "element": 0,
}


def test_pages_are_read_to_the_end(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.answers["lease_frames"] = {"frames": [HELD], "next": b"more"}
    frames = node.lease_frames(1)
    assert next(frames).frame_bytes == 70
    agent.answers["lease_frames"] = {"frames": [HELD], "next": None}
    assert len(list(frames)) == 1


@pytest.mark.parametrize(("frames", "listed"), [([], 0), ([HELD, HELD], 6)])
def test_a_lease_whose_frames_do_not_end_is_refused(
    agent: ScriptedAgent,
    node: CanisterNode,
    monkeypatch: pytest.MonkeyPatch,
    frames: list[Value],
    listed: int,
) -> None:
    monkeypatch.setattr("datanode.node.canister.MAX_LEASE_FRAMES", 7)
    agent.answers["lease_frames"] = {"frames": frames, "next": b"more"}
    records = node.lease_frames(1)
    assert len(list(islice(records, listed))) == listed
    with pytest.raises(FormatError, match="does not end"):
        next(records)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [("element", 99, UnsupportedVersionError), ("raw_bytes", 0, FormatError)],
)
def test_a_frame_that_cannot_be_is_refused(
    agent: ScriptedAgent, node: CanisterNode, field: str, value: int, error: type[Exception]
) -> None:
    agent.answers["lease_frames"] = {"frames": [{**HELD, field: value}], "next": None}
    with pytest.raises(error):
        list(node.lease_frames(1))


def reply_of(value: Value) -> CertifiedReply:
    return CertifiedReply(encode((METHODS["put_frames"].reply,), (value,)), b"certificate")


def test_a_certified_reply_settles_with_a_result_a_frame(
    agent: ScriptedAgent, node: CanisterNode
) -> None:
    results: Value = [("stored", None), ("bad", "no magic"), ("no_room", None)]
    agent.outcome = lambda: reply_of(("Ok", results))
    for outcome in (node.send(MESSAGE), node.recover(MESSAGE.request_id, 1)):
        assert isinstance(outcome, Settled)
        assert [result.status for result in outcome.results] == [
            PutStatus.STORED,
            PutStatus.BAD,
            PutStatus.NO_ROOM,
        ]
        assert outcome.results[1].detail == "no magic"
        assert outcome.receipt == b"certificate"
    assert agent.sent[0].body == b"signed"


def test_a_certified_refusal_is_final(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.outcome = lambda: reply_of(("Err", ("lease_lost", None)))
    outcome = node.send(MESSAGE)
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, LeaseLostError)


@pytest.mark.parametrize("pending", list(Unsettled))
def test_what_is_open_stays_open(
    agent: ScriptedAgent, node: CanisterNode, pending: Unsettled
) -> None:
    agent.outcome = lambda: pending
    outcome = node.send(MESSAGE)
    assert isinstance(outcome, Unsettled)
    assert outcome.value == pending.value


def rejected(error_code: str, *, certified: bool) -> Callable[[], CertifiedReply]:
    def outcome() -> CertifiedReply:
        raise error_of(RejectError(5, error_code, "because", certified=certified))

    return outcome


@pytest.mark.parametrize(("code", "kind"), [("IC0503", NodeRejectedError), ("IC0207", CyclesError)])
def test_a_rejection_is_final_only_when_it_is_certified(
    agent: ScriptedAgent, node: CanisterNode, code: str, kind: type[Exception]
) -> None:
    agent.outcome = rejected(code, certified=True)
    outcome = node.send(MESSAGE)
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, kind)
    agent.outcome = rejected(code, certified=False)
    with pytest.raises(kind):
        node.send(MESSAGE)


def test_a_stranger_is_told_without_a_certificate(agent: ScriptedAgent, node: CanisterNode) -> None:
    agent.outcome = rejected("IC0406", certified=False)
    with pytest.raises(UnauthorizedError):
        node.send(MESSAGE)


def test_a_malformed_certified_reply_is_no_refusal(
    agent: ScriptedAgent, node: CanisterNode
) -> None:
    agent.outcome = lambda: CertifiedReply(b"junk", b"certificate")
    with pytest.raises(FormatError):
        node.send(MESSAGE)


@pytest.mark.parametrize("after", ["", "a"])
def test_a_list_of_models_that_does_not_go_on_is_refused(
    agent: ScriptedAgent, node: CanisterNode, after: str
) -> None:
    agent.answers["models"] = {"models": [], "next": after}
    with pytest.raises(FormatError, match="does not go on"):
        node.models()


def test_a_list_of_models_without_end_is_refused(node: CanisterNode) -> None:
    names = iter(f"{number:020}" for number in range(10**9))
    bare = [Row.of({"name": "m"})]
    page = {"models": 256 * bare, "next": ""}

    def endless(*_: object) -> Value:
        return cast("Value", page | {"next": next(names)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "_query", endless)
        patch.setattr("datanode.node.reply_decoding.model", lambda row: row)
        with pytest.raises(FormatError, match="does not end"):
            node.models()


def test_query_that_answers_nonsense_is_asked_again(
    agent: ScriptedAgent, node: CanisterNode
) -> None:
    agent.answers["models"] = {"models": [], "next": None}
    node.status()
    agent.wrong = SUSPECT_ATTEMPTS - 1
    assert node.models() == []
    agent.wrong = SUSPECT_ATTEMPTS
    with pytest.raises(FormatError):
        node.models()
    assert agent.asked == ["status", *["models"] * 2 * SUSPECT_ATTEMPTS]


def test_update_that_answers_nonsense_is_not_repeated(
    agent: ScriptedAgent, node: CanisterNode
) -> None:
    agent.answers["renew_upload"] = None
    node.status()
    agent.wrong = 1
    with pytest.raises(FormatError):
        node.renew_upload(1)
    assert agent.called == ["renew_upload"]
