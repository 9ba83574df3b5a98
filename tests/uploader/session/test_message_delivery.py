"""uploader.session.message_delivery: identical bytes, sent as seldom as the answers allow."""

from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.errors import NodeRejectedError
from datanode.node.port import Settled, StorageNode
from datanode.principal import Principal
from uploader.session.message_delivery import RESEND_EVERY, deliver

SETTLED = Settled(results=(), receipt=b"receipt")
MESSAGE = SignedMessage(
    request_id=bytes(32),
    canister=Principal(b"\1"),
    sender=Principal(b"\2"),
    expiry_ns=1,
    body=b"signed",
)
UNKNOWN, ACCEPTED = Unsettled.UNKNOWN, Unsettled.ACCEPTED
Answer = Settled | Unsettled | NodeRejectedError


class ScriptedNode:
    """Answers from a script; counts what is sent."""

    def __init__(self, sends: Sequence[Answer], asks: Sequence[Answer]) -> None:
        self.sends, self.asks = iter(sends), iter(asks)
        self.sent_count = 0

    def send(self, message: SignedMessage) -> Answer:
        assert message is MESSAGE
        self.sent_count += 1
        return _next(self.sends)

    def recover(self, request_id: bytes, expiry_ns: int) -> Answer:
        assert (request_id, expiry_ns) == (MESSAGE.request_id, MESSAGE.expiry_ns)
        return _next(self.asks)


def _next(answers: Iterator[Answer]) -> Answer:
    answer = next(answers)
    if isinstance(answer, NodeRejectedError):
        raise answer
    return answer


@pytest.mark.parametrize(
    ("sends", "asks", "sent_count"),
    [
        ([SETTLED], [], 1),
        ([ACCEPTED], [UNKNOWN, UNKNOWN, SETTLED], 1),
        ([UNKNOWN], [ACCEPTED, ACCEPTED, UNKNOWN, SETTLED], 1),
        ([UNKNOWN, SETTLED], [UNKNOWN], 2),
        ([ACCEPTED, SETTLED], [UNKNOWN] * RESEND_EVERY, 2),
        ([ACCEPTED, UNKNOWN, SETTLED], [ACCEPTED] * RESEND_EVERY + [UNKNOWN], 3),
        ([UNKNOWN], [Unsettled.EXPIRED], 1),
    ],
)
def test_bytes_travel_again_only_if_no_replica_has_them(
    sends: list[Answer], asks: list[Answer], sent_count: int
) -> None:
    node = ScriptedNode(sends, asks)
    retries: list[None] = []
    found = deliver(
        cast("StorageNode", node),
        MESSAGE,
        sleep=lambda _: None,
        retried=lambda: retries.append(None),
    )
    assert found == (
        asks[-1] if len(asks) and asks[-1] in {SETTLED, Unsettled.EXPIRED} else SETTLED
    )
    assert node.sent_count == sent_count == len(retries) + 1
    assert not list(node.sends)
    assert not list(node.asks)


def test_a_refusal_without_a_certificate_ends_the_delivery_once_nothing_else_is_known() -> None:
    refusal = NodeRejectedError("the replica says no")
    assert (
        deliver(
            cast("StorageNode", ScriptedNode([refusal], [SETTLED])), MESSAGE, sleep=lambda _: None
        )
        == SETTLED
    )
    with pytest.raises(NodeRejectedError):
        deliver(
            cast("StorageNode", ScriptedNode([refusal], [UNKNOWN])), MESSAGE, sleep=lambda _: None
        )
