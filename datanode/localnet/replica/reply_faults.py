"""Injected faults in answers to queries.

A `lie` is signed as it is told: only certificates and witnesses catch it. A `bad-signature` tells
the truth and cannot prove that a node said so.
"""

from collections.abc import Iterable
from dataclasses import replace

from datanode.localnet.state.fault import Fault, FaultKind
from datanode.localnet.state.message import IngressReply


def told(answer: IngressReply, faults: Iterable[Fault]) -> IngressReply:
    """Change a byte of a reply for every lie; an empty reply and a reject stay true."""
    for fault in faults:
        if fault.kind is FaultKind.LIE and answer.reply:
            reply = bytearray(answer.reply)
            reply[fault.number("at") % len(reply)] ^= fault.number("xor")
            answer = replace(answer, reply=bytes(reply))
    return answer


def signed(signature: bytes, faults: Iterable[Fault]) -> bytes:
    """Break a signature if a fault wants it."""
    if any(fault.kind is FaultKind.BAD_SIGNATURE for fault in faults):
        return bytes([signature[0] ^ 1, *signature[1:]])
    return signature
