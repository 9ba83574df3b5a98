"""Ingress messages: checked on arrival, executed once, answered with a certificate."""

import threading

import pytest

from datanode.agent import envelope
from datanode.agent.identity import Identity, anonymous
from datanode.limits import MAX_INGRESS_BYTES
from datanode.localnet.management import interface_types
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.message import NotAdmittedError
from datanode.localnet.state.topology import canister_id
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import SECOND_NS
from tests.fakes.counter import argument, number
from tests.fakes.gateway import EMPTY, Gateway, RejectedError

NOBODY = canister_id(0x8000_0000_0010_FFFF)


def test_an_update_runs_and_its_reply_is_certified(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    assert number(net.call(alice, canister, "add", argument(5))) == 5
    assert number(net.query(alice, canister, "get")) == 5


def test_the_same_bytes_run_once_and_get_the_same_answer(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(5))
    first, second = net.post_call(body, canister), net.post_call(body, canister)
    assert first == second
    assert number(net.query(alice, canister, "get")) == 5


def test_the_same_bytes_from_many_threads_run_once(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(5))
    replies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: replies.append(net.post_call(body, canister)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number(reply) for reply in replies] == [5] * 8
    assert number(net.query(alice, canister, "get")) == 5


def test_an_executed_message_is_not_executed_again_after_a_restart(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(5))
    first = net.post_call(body, canister)
    net.reopen()
    assert net.post_call(body, canister) == first
    assert number(net.query(alice, canister, "get")) == 5


def test_an_answer_is_forgotten_once_its_message_cannot_arrive_again(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(5), expires_s=240)
    net.post_call(body, canister)
    request = envelope.parse(body).request_id
    net.wall.pass_s(240 + 600)
    net.network.traffic.requests.forget(net.wall())
    assert net.network.traffic.requests.find(request) is not None
    net.wall.pass_s(2)
    net.network.traffic.requests.forget(net.wall())
    assert net.network.traffic.requests.find(request) is None
    with pytest.raises(NotAdmittedError, match="Invalid request expiry: "):
        net.post_call(body, canister)


def test_a_trap_is_a_certified_reject_and_leaves_no_trace(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(5))
    with pytest.raises(RejectedError, match="boom") as rejected:
        net.call(alice, canister, "crash")
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0503", True)
    assert number(net.query(alice, canister, "get")) == 5


def test_an_unknown_method_is_a_certified_reject(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    with pytest.raises(RejectedError, match="no update method 'nothing'") as rejected:
        net.call(alice, canister, "nothing")
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0536", True)


def test_a_query_method_may_be_called_and_changes_nothing(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    assert number(net.call(alice, canister, "get")) == 0


@pytest.mark.parametrize("form", list(RangesForm))
def test_every_form_of_the_delegation_is_believed(
    net: Gateway, alice: Identity, form: RangesForm
) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(1))
    assert number(net.post_call(body, canister, form)) == 1


def test_what_is_refused_on_arrival_leaves_no_trace(net: Gateway, alice: Identity) -> None:
    empty = net.create(alice)
    entries = net.network.records.database.rows("SELECT count(*) FROM ledger")
    for canister, code in ((NOBODY, "IC0301"), (empty, "IC0537")):
        with pytest.raises(RejectedError) as rejected:
            net.call(alice, canister, "add", argument(1))
        assert (rejected.value.error_code, rejected.value.certified) == (code, False)
    assert net.network.records.database.rows("SELECT count(*) FROM ledger") == entries


def test_a_stopped_canister_refuses_calls_and_queries(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=canister)
    with pytest.raises(RejectedError, match="is stopped") as rejected:
        net.call(alice, canister, "add", argument(1))
    assert rejected.value.error_code == "IC0508"
    with pytest.raises(RejectedError, match="is stopped"):
        net.query(alice, canister, "get")


@pytest.mark.parametrize("expires_s", [-1, 361])
def test_an_expiry_out_of_range_is_refused_in_the_replicas_words(
    net: Gateway, alice: Identity, expires_s: int
) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(1), expires_s=expires_s)
    with pytest.raises(NotAdmittedError) as refused:
        net.post_call(body, canister)
    assert refused.value.status == 400
    assert refused.value.text.startswith("Invalid request expiry: ")


def test_a_flipped_byte_of_the_signature_is_refused(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    body = bytearray(net.signed_call(alice, canister, "add", argument(1)))
    body[-1] ^= 1
    with pytest.raises(NotAdmittedError) as refused:
        net.post_call(bytes(body), canister)
    assert refused.value.status == 403


def test_another_senders_name_is_refused(net: Gateway, alice: Identity, bob: Identity) -> None:
    canister = net.counter(alice)
    content = envelope.call_content(
        canister,
        "add",
        argument(1),
        sender=alice.principal,
        ingress_expiry_ns=net.wall() + 60 * SECOND_NS,
    )
    with pytest.raises(NotAdmittedError, match="not the principal of the key") as refused:
        net.post_call(envelope.sign(bob, content), canister)
    assert refused.value.status == 403


def test_anybody_may_call_anonymously(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    assert number(net.call(anonymous(), canister, "add", argument(2))) == 2


def test_the_url_and_the_call_name_the_same_canister(net: Gateway, alice: Identity) -> None:
    canister, other = net.counter(alice), net.create(alice)
    body = net.signed_call(alice, canister, "add", argument(1))
    with pytest.raises(NotAdmittedError, match="does not match effective canister id"):
        net.post_call(body, other)
    body = net.signed_call(alice, MANAGEMENT_CANISTER, "stop_canister", _about(canister))
    with pytest.raises(NotAdmittedError, match="does not match effective canister id"):
        net.post_call(body, other)


def test_a_message_of_more_than_two_mebibytes_is_refused(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(1) + bytes(MAX_INGRESS_BYTES))
    with pytest.raises(NotAdmittedError) as refused:
        net.post_call(body, canister)
    assert refused.value.status == 413


@pytest.mark.parametrize("body", [b"", b"\xd9\xd9\xf7\xa0", b"\xff" * 40, b"\xa1gcontent\xa0"])
def test_bytes_that_are_no_envelope_are_refused(net: Gateway, alice: Identity, body: bytes) -> None:
    canister = net.create(alice)
    with pytest.raises(NotAdmittedError) as refused:
        net.post_call(body, canister)
    assert refused.value.status == 400


def test_a_query_is_not_a_call(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    content = envelope.query_content(
        canister, "get", EMPTY, sender=alice.principal, ingress_expiry_ns=net.wall() + SECOND_NS
    )
    with pytest.raises(NotAdmittedError, match="Expected a request of type call"):
        net.post_call(envelope.sign(alice, content), canister)


def _about(canister: Principal) -> bytes:
    from datanode.agent import candid

    return candid.encode((interface_types.CANISTER,), ({"canister_id": canister},))
