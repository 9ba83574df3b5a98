"""HTTP in Candid: requests as another codec reads them, and replies made of anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ic import candid as judge

from datanode.agent import candid
from datanode.errors import FormatError
from datanode.localnet.gateway import web
from datanode.localnet.gateway.web import CanisterHttpRequest, StreamingCallback
from datanode.localnet.state.topology import canister_id
from tests.fakes.website import answer, part, streamed

CANISTER = canister_id(0x8000_0000_0010_0000)
REQUEST = CanisterHttpRequest(
    method="POST", url="/a?b=c", headers=(("host", "x"), ("accept", "*/*")), body=b"\0\xff"
)


def judged(arg: bytes) -> dict[str, object]:
    (found,) = judge.decode(arg)
    value: dict[str, object] = found["value"]
    return value


def key(name: str) -> str:
    return f"_{candid.field_id(name)}"


@pytest.mark.parametrize(
    "arg", [REQUEST.query_arg(), REQUEST.update_arg()], ids=["query", "update"]
)
def test_another_codec_reads_the_request(arg: bytes) -> None:
    found = judged(arg)
    assert (found[key("method")], found[key("url")]) == ("POST", "/a?b=c")
    assert bytes(found[key("body")]) == b"\0\xff"  # type: ignore[call-overload]
    assert found[key("headers")] == [["host", "x"], ["accept", "*/*"]]


def test_only_the_query_asks_for_a_certificate() -> None:
    assert judged(REQUEST.query_arg())[key("certificate_version")] == [2]
    assert key("certificate_version") not in judged(REQUEST.update_arg())


@given(body=st.binary(), token=st.integers(0, 255), method=st.text(max_size=20))
def test_a_callback_gets_the_token_as_the_canister_made_it(
    body: bytes, token: int, method: str
) -> None:
    reply = web.parse_reply(streamed(body, CANISTER, method, token))
    assert reply.callback is not None
    assert (reply.body, reply.callback.canister) == (body, CANISTER)
    assert reply.callback.method == method
    assert candid.decode((candid.Nat8,), reply.callback.arg) == (token,)
    assert judge.decode(reply.callback.arg)[0]["value"] == token


@given(body=st.binary(), token=st.none() | st.integers(0, 255))
def test_a_part_says_how_it_goes_on(body: bytes, token: int | None) -> None:
    before = StreamingCallback(CANISTER, "next", b"")
    found, after = web.parse_part(part(body, token), before)
    assert found == body
    if token is None:
        assert after is None
    else:
        assert after is not None
        assert (after.canister, after.method) == (CANISTER, "next")
        assert candid.decode((candid.Nat8,), after.arg) == (token,)


@given(data=st.data())
def test_a_damaged_reply_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    good = data.draw(
        st.sampled_from(
            [
                streamed(b"abc", CANISTER, "next", 7),
                answer(b"abc", headers=[("content-type", "text/plain")], upgrade=True),
            ]
        )
    )
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + data.draw(st.binary(max_size=8)) + good[at + data.draw(st.integers(0, 8)) :]
    try:
        reply = web.parse_reply(bad)
    except FormatError:
        return
    assert 200 <= reply.status < 600
    assert all("\n" not in name + value for name, value in reply.headers)
