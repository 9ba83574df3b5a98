"""datanode.agent.client: runs at most once, believes only certificates, says what it knows."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from datanode import cbor
from datanode.agent import identity
from datanode.agent.client import Agent
from datanode.agent.envelope import Envelope, parse
from datanode.agent.hash_tree import ABSENT, HashTree, Plan
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.reject import RejectError, error_of, is_certified, reject_of
from datanode.agent.request_id import leb128
from datanode.agent.retry import SUSPECT_ATTEMPTS
from datanode.agent.signed_message import Unsettled
from datanode.agent.transport import HttpRefusedError
from datanode.errors import (
    CertificateError,
    CyclesError,
    NetworkError,
    NodeRejectedError,
    NodeStoppedError,
    NotFoundError,
    NotStorageNodeError,
    UnauthorizedError,
    UnknownOutcomeError,
    UsageError,
)
from datanode.limits import MAX_INGRESS_BYTES, MESSAGE_EXPIRY_NS
from datanode.principal import MANAGEMENT_CANISTER
from tests.datanode.agent.replica import (
    CANISTER,
    Clock,
    Handler,
    Replica,
    http,
    late,
    lost,
    rejected,
    serving,
)
from tests.datanode.agent.subnet import HIGH, LOW, ROOT, Subnet

MINUTE_NS = 60 * 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replica(clock: Clock) -> Iterator[Replica]:
    with serving(Replica(clock=clock)) as replica:
        yield replica


@pytest.fixture
def agent(replica: Replica, clock: Clock, tmp_path: Path) -> Iterator[Agent]:
    who = identity.generate(tmp_path / "identity.pem")
    with Agent(replica.network, who, clock_ns=clock, sleep=clock.sleep) as agent:
        yield agent


def test_a_call_returns_its_certified_reply(agent: Agent, replica: Replica) -> None:
    assert agent.call(CANISTER, "echo", b"argument") == b"argument"
    assert len(replica.executed) == 1


def test_a_sent_message_comes_back_with_its_receipt(agent: Agent) -> None:
    message = agent.prepare(CANISTER, "echo", b"argument")
    reply = agent.send(message)
    assert isinstance(reply, CertifiedReply)
    assert reply.data == b"argument"
    assert agent.send(message) == agent.recover(message.request_id, CANISTER, message.expiry_ns)
    assert message.sender == agent.identity.principal
    assert agent.time_ns() + MESSAGE_EXPIRY_NS >= message.expiry_ns


def test_message_larger_than_the_network_takes_is_not_sent(agent: Agent, replica: Replica) -> None:
    with pytest.raises(UsageError) as caught:
        agent.call(CANISTER, "echo", b"x" * MAX_INGRESS_BYTES)
    assert caught.value.safe == "Nothing was sent."
    assert not [kind for kind, _ in replica.posts if kind == "call"]


def test_messages_of_equal_content_are_different_messages(agent: Agent, replica: Replica) -> None:
    agent.call(CANISTER, "echo", b"x")
    agent.call(CANISTER, "echo", b"x")
    assert len(replica.executed) == 2


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (http(202), Unsettled.ACCEPTED),
        (http(500), Unsettled.UNKNOWN),
        (http(429), Unsettled.UNKNOWN),
        (http(503), Unsettled.UNKNOWN),
        (late, Unsettled.ACCEPTED),
        (lost, Unsettled.UNKNOWN),
    ],
)
def test_trouble_on_the_way_leaves_the_outcome_open_and_costs_one_execution(
    agent: Agent, replica: Replica, trouble: Handler, outcome: Unsettled
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    replica.script["call"].append(trouble)
    assert agent.send(message) is outcome
    reply = agent.send(message)
    assert isinstance(reply, CertifiedReply)
    replica.script["call"] += [trouble, trouble]
    assert agent.call(CANISTER, "echo", b"y") == b"y"
    assert len(replica.executed) == 2
    bodies = {body for kind, body in replica.posts if kind == "call"}
    assert len(bodies) == 2


def test_an_endpoint_without_the_newest_version_is_spoken_to_in_older_ones(
    agent: Agent, replica: Replica
) -> None:
    replica.newest = False
    assert agent.call(CANISTER, "echo", b"x") == b"x"
    assert agent.query(CANISTER, "echo", b"y") == b"y"
    assert agent.call(CANISTER, "echo", b"z") == b"z"


CERTIFIED = [
    ("5 IC0503", NodeRejectedError),
    ("4 ", NodeRejectedError),
    ("2 IC0207", CyclesError),
    ("5 IC0501", CyclesError),
    ("5 IC0508", NodeStoppedError),
    ("5 IC0509", NodeStoppedError),
    ("5 IC0537", NodeStoppedError),
    ("3 IC0301", NotFoundError),
    ("5 IC0536", NotStorageNodeError),
    ("3 IC0302", NotStorageNodeError),
    ("4 IC0406", UnauthorizedError),
    ("2 IC0201", NetworkError),
    ("1 ", NetworkError),
]


@pytest.mark.parametrize(("codes", "kind"), CERTIFIED)
def test_certified_rejections_are_final_and_typed(
    agent: Agent, replica: Replica, codes: str, kind: type[Exception]
) -> None:
    codes = codes if not codes.endswith(" ") else codes + "-"
    with pytest.raises(kind) as caught:
        agent.call(CANISTER, "reject", codes.encode())
    reject = reject_of(caught.value)
    assert reject is not None
    assert is_certified(caught.value)
    assert reject.certificate
    assert (reject.code, reject.error_code) == (int(codes.split()[0]), codes.split()[1])
    assert "\x1b" not in str(caught.value)
    assert len(replica.executed) == 1


REFUSALS = [
    (rejected(4, "IC0406"), UnauthorizedError),
    (rejected(5, "IC0508"), NodeStoppedError),
    (rejected(2, "IC0207"), CyclesError),
    (http(403, b"canister_inspect_message"), UnauthorizedError),
    (http(409, b"not \x1b[2Jnow"), HttpRefusedError),
    (http(400, b"canister_not_found"), HttpRefusedError),
]


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS)
def test_refusals_before_acceptance_are_typed_and_not_final(
    agent: Agent, replica: Replica, refusal: Handler, kind: type[Exception]
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    replica.script["call"].append(refusal)
    with pytest.raises(kind) as caught:
        agent.send(message)
    assert not is_certified(caught.value)
    assert "\x1b" not in str(caught.value)
    assert isinstance(agent.send(message), CertifiedReply)


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS)
def test_a_call_asks_a_second_replica_before_it_believes_a_refusal(
    agent: Agent, replica: Replica, refusal: Handler, kind: type[Exception]
) -> None:
    replica.script["call"].append(refusal)
    assert agent.call(CANISTER, "echo", b"x") == b"x"
    replica.script["call"] += [refusal, refusal]
    with pytest.raises(kind):
        agent.call(CANISTER, "echo", b"y")
    assert len(replica.executed) == 1


@pytest.mark.parametrize("code", ["IC0406", "IC0508"])
def test_a_refusal_of_what_already_ran_gives_the_certified_reply(
    agent: Agent, replica: Replica, code: str
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    replica.script["call"].append(rejected(5, code, executes=True))
    reply = agent.send(message)
    assert isinstance(reply, CertifiedReply)
    assert reply.data == b"x"


def test_a_refusal_that_cannot_be_checked_is_an_unknown_outcome(
    agent: Agent, replica: Replica
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    replica.script["call"].append(rejected(4, "IC0406"))
    replica.script["read_state"].append(http(503))
    assert agent.send(message) is Unsettled.UNKNOWN


def test_a_transient_rejection_of_one_replica_is_an_unknown_outcome(
    agent: Agent, replica: Replica
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    replica.script["call"].append(rejected(2, "IC0201"))
    assert agent.send(message) is Unsettled.UNKNOWN


def test_expiry_and_forgetting_follow_certified_time(
    agent: Agent, replica: Replica, clock: Clock
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    clock.now_ns = message.expiry_ns
    known = (message.request_id, CANISTER, message.expiry_ns)
    assert agent.recover(*known) is Unsettled.UNKNOWN
    clock.now_ns = message.expiry_ns + 1
    assert agent.recover(*known) is Unsettled.EXPIRED
    assert agent.send(message) is Unsettled.EXPIRED
    clock.now_ns = message.expiry_ns + 5 * MINUTE_NS
    assert agent.recover(*known) is Unsettled.EXPIRED
    clock.now_ns += 1
    assert agent.recover(*known) is Unsettled.FORGOTTEN
    replica.known[message.request_id] = {b"status": b"done"}
    assert agent.recover(*known) is Unsettled.FORGOTTEN


@pytest.mark.parametrize("status", [b"received", b"processing"])
def test_a_message_in_work_has_no_outcome_yet(
    agent: Agent, replica: Replica, status: bytes, clock: Clock
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    replica.known[message.request_id] = {b"status": status}
    clock.now_ns = message.expiry_ns + MINUTE_NS
    assert agent.recover(message.request_id, CANISTER, message.expiry_ns) is Unsettled.ACCEPTED


def test_a_call_that_is_never_taken_up_is_proven_not_to_have_run(
    agent: Agent, replica: Replica
) -> None:
    replica.script["call"] += [http(202)] * 100
    with pytest.raises(NetworkError, match="did not run") as caught:
        agent.call(CANISTER, "echo", b"x")
    assert not isinstance(caught.value, UnknownOutcomeError)


def test_a_network_lost_for_good_leaves_an_unknown_outcome(agent: Agent, replica: Replica) -> None:
    agent.time_ns()
    agent.read_state(CANISTER, [[b"time"]])
    replica.script["call"] += [http(503)] * 1000
    replica.script["read_state"] += [http(503)] * 1000
    with pytest.raises(UnknownOutcomeError):
        agent.call(CANISTER, "echo", b"x")


def test_a_reply_of_another_subnet_or_of_nobody_is_not_believed(
    agent: Agent, replica: Replica
) -> None:
    def forged(by_root: bool) -> Handler:  # noqa: FBT001
        def handler(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
            certificate = replica.status(request.request_id)
            if by_root:
                certificate = ROOT.certify({b"time": b"\0", b"request_status": {}})
            else:
                certificate = certificate[:-1] + bytes([certificate[-1] ^ 1])
            return 200, cbor.encode({"status": "replied", "certificate": certificate})

        return handler

    message = agent.prepare(CANISTER, "echo", b"x")
    for by_root in (True, False):
        for answer in (forged(by_root), http(200, cbor.encode({"status": "replied"}))):
            replica.script["call"].append(answer)
            assert agent.send(message) is Unsettled.UNKNOWN  # another replica was asked
            replica.script["call"].append(answer)
            replica.script["read_state"] += [forged(by_root)] * SUSPECT_ATTEMPTS
            with pytest.raises(CertificateError):
                agent.send(message)
    for page in (b"", b"<html>", b"garbage"):
        replica.script["call"].append(http(200, page))
        assert agent.send(message) is Unsettled.UNKNOWN
    assert isinstance(agent.send(message), CertifiedReply)


def test_a_query_is_believed_with_the_signature_of_a_node(agent: Agent, replica: Replica) -> None:
    assert agent.query(CANISTER, "echo", b"x") == b"x"
    reads = [kind for kind, _ in replica.posts].count("read_state")
    assert agent.query(CANISTER, "echo", b"y") == b"y"
    assert [kind for kind, _ in replica.posts].count("read_state") == reads
    with pytest.raises(CyclesError) as caught:
        agent.query(CANISTER, "reject", b"2 IC0207")
    assert not is_certified(caught.value)
    with pytest.raises(RejectError):
        agent.query(CANISTER, "reject", b"5 IC0503")


def test_the_keys_of_nodes_are_asked_for_again_when_a_new_node_signs(
    agent: Agent, replica: Replica
) -> None:
    agent.query(CANISTER, "echo", b"x")
    replica.node = Ed25519PrivateKey.generate()
    assert agent.query(CANISTER, "echo", b"y") == b"y"


def test_queries_that_nobody_of_the_subnet_signed_are_refused(
    agent: Agent, replica: Replica, clock: Clock
) -> None:
    def unsigned(_: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
        answer: cbor.Encodable = {
            "status": "replied",
            "reply": {"arg": request.arg},
            "signatures": [],
        }
        return 200, cbor.encode(answer)

    def stranger(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
        other = Replica(clock=replica.clock)
        return other.query(request)

    def altered(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
        status, body = replica.query(request)
        return status, body.replace(b"argument", b"Argument")

    def other_request(replica: Replica, _request: Envelope, _body: bytes) -> tuple[int, bytes]:
        answer: dict[str, cbor.Encodable] = {"status": "replied", "reply": {"arg": b"x"}}
        return 200, replica.sign_query(bytes(32), answer)

    def stale(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
        clock.now_ns -= 6 * MINUTE_NS
        answer = replica.query(request)
        clock.now_ns += 6 * MINUTE_NS
        return answer

    for handler, words in (
        (unsigned, "not signed"),
        (stranger, "no node of its subnet"),
        (altered, "does not belong"),
        (other_request, "does not belong"),
        (stale, "360 s old"),
        (http(200, cbor.encode({"status": "maybe"})), "malformed"),
    ):
        replica.script["query"] += [handler] * (SUSPECT_ATTEMPTS - 1)
        assert agent.query(CANISTER, "echo", b"argument") == b"argument"
        replica.script["query"] += [handler] * SUSPECT_ATTEMPTS
        with pytest.raises(CertificateError, match=words):
            agent.query(CANISTER, "echo", b"argument")
    assert agent.query(CANISTER, "echo", b"argument") == b"argument"


def test_reads_are_retried_while_the_network_is_not_ready(
    agent: Agent, replica: Replica, clock: Clock
) -> None:
    replica.script["query"] += [http(503), http(429), lost]
    replica.script["read_state"] += [http(503), http(502)]
    assert agent.query(CANISTER, "echo", b"x") == b"x"
    assert 7.0 in clock.slept
    replica.script["query"] += [http(503)] * 100
    with pytest.raises(NetworkError, match="not ready"):
        agent.query(CANISTER, "echo", b"x")
    assert len(replica.script["query"]) == 94


def test_state_is_read_verified_and_can_be_kept_as_evidence(agent: Agent, replica: Replica) -> None:
    replica.extra = {b"canister": {CANISTER.raw: {b"module_hash": b"h" * 32}}}
    assert agent.read_state(CANISTER, [[b"nothing"]]).lookup([b"nothing"]) is ABSENT
    path = [b"canister", CANISTER.raw, b"module_hash"]
    assert agent.read_state(CANISTER, [path]).lookup(path) == b"h" * 32
    assert b"h" * 32 in agent.certificate(CANISTER, [path])
    replica.script["read_state"].append(http(403, b"not yours"))
    with pytest.raises(HttpRefusedError):
        agent.read_state(CANISTER, [path])


def test_stale_state_is_refused(agent: Agent, replica: Replica, clock: Clock) -> None:
    agent.time_ns()

    def stale(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
        clock.now_ns -= 6 * MINUTE_NS
        proof = replica.certificate(list(request.paths))
        clock.now_ns += 6 * MINUTE_NS
        return 200, cbor.encode({"certificate": proof})

    replica.script["read_state"].append(stale)
    assert agent.read_state(CANISTER, [[b"time"]]).list_labels([b"subnet"]) == []
    replica.script["read_state"] += [stale, stale] * SUSPECT_ATTEMPTS
    with pytest.raises(CertificateError, match="older time"):
        agent.read_state(CANISTER, [[b"time"]])


@pytest.mark.parametrize("skew_ns", [-10 * MINUTE_NS, 10 * MINUTE_NS])
def test_a_wrong_clock_does_not_matter_unless_the_agent_is_strict(
    replica: Replica, clock: Clock, tmp_path: Path, skew_ns: int
) -> None:
    who = identity.generate(tmp_path / "identity.pem")

    def wrong() -> int:
        return clock() + skew_ns

    with Agent(replica.network, who, clock_ns=wrong, sleep=clock.sleep) as agent:
        assert agent.call(CANISTER, "echo", b"x") == b"x"
        assert agent.query(CANISTER, "echo", b"x") == b"x"
        assert agent.skew_ns == -skew_ns
    with (
        Agent(replica.network, who, clock_ns=wrong, sleep=clock.sleep, strict_clock=True) as strict,
        pytest.raises(CertificateError, match="by this machine's clock"),
    ):
        strict.read_state(CANISTER, [[b"time"]])


def test_a_clock_that_is_set_while_running_is_noticed(
    replica: Replica, clock: Clock, tmp_path: Path
) -> None:
    who = identity.generate(tmp_path / "identity.pem")
    set_by = [0]
    with Agent(
        replica.network, who, clock_ns=lambda: clock() + set_by[0], sleep=clock.sleep
    ) as agent:
        agent.call(CANISTER, "echo", b"x")
        for change in (30 * MINUTE_NS, -20 * MINUTE_NS):
            set_by[0] += change
            assert agent.read_state(CANISTER, [[b"time"]]).list_labels()
            assert agent.query(CANISTER, "echo", b"y") == b"y"
            assert agent.call(CANISTER, "echo", b"z") == b"z"
        set_by[0] += 30 * MINUTE_NS
        message = agent.prepare(CANISTER, "echo", b"signed for the wrong time")
        assert agent.send(message) is Unsettled.EXPIRED
        assert agent.call(CANISTER, "echo", b"and the next is right") == b"and the next is right"


def test_the_anonymous_identity_may_call_and_ask(replica: Replica, clock: Clock) -> None:
    with Agent(replica.network, identity.anonymous(), clock_ns=clock, sleep=clock.sleep) as agent:
        assert agent.call(CANISTER, "echo", b"x") == b"x"
        assert agent.query(CANISTER, "echo", b"y") == b"y"


def test_the_management_canister_is_called_through_the_canister_it_is_about(
    agent: Agent, replica: Replica
) -> None:
    message = agent.prepare(MANAGEMENT_CANISTER, "echo", b"x", effective=CANISTER)
    assert message.canister == CANISTER
    assert agent.call(MANAGEMENT_CANISTER, "echo", b"x", effective=CANISTER) == b"x"


def test_many_threads_share_an_agent(agent: Agent, replica: Replica) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for n in range(5):
                arg = b"%d %d" % (number, n)
                assert agent.call(CANISTER, "echo", arg) == arg
                assert agent.query(CANISTER, "echo", arg) == arg
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(replica.executed) == 40


def test_certificates_that_contradict_themselves_are_refused(
    agent: Agent, replica: Replica
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    known = (message.request_id, CANISTER, message.expiry_ns)
    statements: list[Plan] = [
        {b"status": b"replied"},
        {b"status": b"replied", b"reply": {b"deep": b""}},
        {b"status": b"rejected", b"reject_code": b"\x80", b"reject_message": b""},
        {b"status": b"rejected", b"reject_code": b"\x05"},
    ]
    for statement in statements:
        replica.known[message.request_id] = statement
        with pytest.raises(CertificateError):
            agent.recover(*known)
    replica.script["read_state"] += [http(200, cbor.encode({}))] * SUSPECT_ATTEMPTS
    with pytest.raises(CertificateError, match="malformed"):
        agent.recover(*known)
    replica.known[message.request_id] = {b"status": b"processing"}
    replica.script["call"].append(rejected(4, "IC0406"))
    assert agent.send(message) is Unsettled.ACCEPTED


def test_a_network_that_cannot_be_asked_leaves_the_outcome_unknown(
    agent: Agent, replica: Replica
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    replica.script["read_state"].append(http(503))
    assert agent.recover(message.request_id, CANISTER, message.expiry_ns) is Unsettled.UNKNOWN
    replica.script["call"].append(http(400, b"no such canister"))
    replica.script["read_state"].append(http(400, b"no such canister"))
    with pytest.raises(HttpRefusedError, match="no such canister"):
        agent.send(message)


def test_a_canister_may_move_to_another_subnet(agent: Agent, replica: Replica) -> None:
    assert agent.query(CANISTER, "echo", b"x") == b"x"
    replica.node = Ed25519PrivateKey.generate()
    replica.app = Subnet("the new home")
    assert agent.query(CANISTER, "echo", b"x") == b"x"
    assert agent.call(CANISTER, "echo", b"y") == b"y"


def test_an_endpoint_that_holds_the_clock_does_not_hold_a_call_for_ever(
    agent: Agent, replica: Replica, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replays the same certified time whenever it is asked, and complains of the expiry."""
    agent.read_state(CANISTER, [[b"time"]])
    old = replica.certificate([(b"time",)])
    started_ns = clock.now_ns

    def replay(_replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
        if clock.now_ns > started_ns + 60 * MINUTE_NS:
            raise AssertionError("it waits for ever")
        if request.sender_pubkey is not None:
            return 503, b""
        return 200, cbor.encode({"certificate": old}, tagged=True)

    monkeypatch.setattr(replica, "admitted", lambda _, body: (parse(body), ""))
    replica.script["call"] += [http(400, b"Invalid request expiry")] * 10_000
    replica.script["read_state"] += [replay] * 10_000
    with pytest.raises(UnknownOutcomeError):
        agent.call(CANISTER, "echo", b"x")
    assert clock.now_ns < started_ns + 10 * MINUTE_NS


def by_root(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
    """An honest statement of the root subnet, which has never heard of the message."""
    plan: Plan = {b"request_status": {}, b"time": leb128(replica.clock())}
    proof = ROOT.certify(HashTree.from_dict(plan).prune([*request.paths, (b"time",)]))
    return 200, cbor.encode({"certificate": proof}, tagged=True)


@pytest.mark.parametrize("newest", [True, False])
def test_fresh_process_does_not_believe_the_root_subnet_about_a_foreign_canister(
    agent: Agent, replica: Replica, clock: Clock, tmp_path: Path, newest: object
) -> None:
    message = agent.prepare(CANISTER, "echo", b"x")
    assert isinstance(agent.send(message), CertifiedReply)
    clock.now_ns = message.expiry_ns + MINUTE_NS
    replica.newest = bool(newest)
    known = (message.request_id, CANISTER, message.expiry_ns)
    with Agent(replica.network, agent.identity, clock_ns=clock, sleep=clock.sleep) as fresh:
        replica.script["read_state"] += [by_root] * 20
        with pytest.raises(CertificateError, match="hosted elsewhere"):
            fresh.recover(*known)
        with pytest.raises(CertificateError, match="hosted elsewhere"):
            fresh.read_state(CANISTER, [[b"request_status", message.request_id]])
        replica.script["read_state"].clear()
        assert isinstance(fresh.recover(*known), CertifiedReply)


@pytest.mark.parametrize("newest", [True, False])
def test_root_subnet_is_believed_about_canisters_in_its_own_ranges(
    replica: Replica, clock: Clock, agent: Agent, newest: object
) -> None:
    replica.newest = bool(newest)
    replica.root_ranges = [(LOW, HIGH)]
    replica.script["read_state"] += [by_root] * 2
    message = agent.prepare(CANISTER, "echo", b"x")
    clock.now_ns = message.expiry_ns + MINUTE_NS
    known = (message.request_id, CANISTER, message.expiry_ns)
    assert agent.recover(*known) is Unsettled.EXPIRED


def test_ranges_of_the_root_subnet_are_its_own_word(
    replica: Replica, clock: Clock, agent: Agent
) -> None:
    replica.root_ranges = [(LOW, HIGH)]
    replica.root = Subnet("somebody else")
    replica.script["read_state"] += [by_root] * 10
    with pytest.raises(CertificateError, match="does not belong"):
        agent.time_ns(CANISTER)


def test_message_of_a_clock_that_jumped_is_given_up_on_proof(
    agent: Agent, replica: Replica, clock: Clock
) -> None:
    day_ns = 24 * 60 * MINUTE_NS
    agent.call(CANISTER, "echo", b"x")
    clock.now_ns += day_ns
    message = agent.prepare(CANISTER, "echo", b"y")
    clock.now_ns -= day_ns
    known = (message.request_id, CANISTER, message.expiry_ns)
    assert agent.send(message) is Unsettled.EXPIRED
    with Agent(replica.network, agent.identity, clock_ns=clock, sleep=clock.sleep) as later:
        assert later.recover(*known) is Unsettled.EXPIRED
        assert later.send(message) is Unsettled.EXPIRED
    wrong = Agent(
        replica.network, agent.identity, clock_ns=lambda: clock() + day_ns, sleep=clock.sleep
    )
    with wrong:
        assert wrong.recover(*known) is Unsettled.UNKNOWN  # it could be a replay of yesterday
        wrong.call(CANISTER, "echo", b"z")  # whose answer proves the time
        assert wrong.recover(*known) is Unsettled.EXPIRED
    near = message.expiry_ns - 11 * MINUTE_NS
    clock.now_ns = near - 1
    assert agent.recover(*known) is Unsettled.EXPIRED
    clock.now_ns = near
    assert agent.recover(*known) is Unsettled.UNKNOWN


def test_call_is_signed_anew_after_the_clock_was_set(
    replica: Replica, clock: Clock, agent: Agent
) -> None:
    set_by = [0]
    with Agent(
        replica.network, agent.identity, clock_ns=lambda: clock() + set_by[0], sleep=clock.sleep
    ) as jumping:
        jumping.call(CANISTER, "echo", b"x")
        for change in (24 * 60 * MINUTE_NS, -48 * 60 * MINUTE_NS):
            set_by[0] += change
            before = len(replica.executed)
            assert jumping.call(CANISTER, "echo", b"y") == b"y"
            assert len(replica.executed) == before + 1


@pytest.mark.parametrize("page", [b"<html>blocked</html>", b"blocked by policy"])
@pytest.mark.parametrize("status", [403, 200, 302, 407])
def test_firewall_is_a_network_error_whatever_is_asked(
    agent: Agent, replica: Replica, page: bytes, status: int
) -> None:
    agent.time_ns(CANISTER)
    wall = http(status, page)
    for kind in ("call", "query", "read_state"):
        replica.script[kind] += [wall] * 100
    asks = [lambda: agent.query(CANISTER, "echo", b"x"), lambda: agent.call(CANISTER, "echo", b"x")]
    for ask in asks[status == 403 and not page.startswith(b"<") :]:
        with pytest.raises(NetworkError) as caught:
            ask()
        assert caught.value.exit_code == 30 or isinstance(caught.value, UnknownOutcomeError)


def test_a_canister_that_is_gone_is_looked_for_among_the_nodes() -> None:
    error = error_of(RejectError(3, "IC0301", "not found", certified=True))
    assert isinstance(error, NotFoundError)
    assert "datanode node list" in error.hint
