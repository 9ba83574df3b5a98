"""The judge of "paid twice": reads the embedded network's own ledger, and nobody else's word."""

from collections.abc import Sequence
from dataclasses import dataclass

from datanode.errors import DataNodeError, FormatError
from datanode.localnet.replica.rent import METHOD as RENT
from datanode.localnet.state.ledger import BillEntry
from datanode.node import reply_decoding
from datanode.node.candid_interface import METHODS
from datanode.node.error_mapping import open_reply
from datanode.node.port import PutResult, PutStatus
from datanode.node.values import items

PUT = "put_frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """Totals of the executed `put_frames` messages of a ledger.

    Attributes:
        messages_count: Messages executed.
        frames_count: Frames that they carried.
        stored_count: Of those, frames that were new to the caller.
        twice_count: Of those, frames that the caller had paid for before.
        argument_bytes: Bytes of their arguments.
        envelope_bytes: Bytes of their envelopes.
        cycles: Cycles they cost.
    """

    messages_count: int
    frames_count: int
    stored_count: int
    twice_count: int
    argument_bytes: int
    envelope_bytes: int
    cycles: int


def messages(entries: Sequence[BillEntry]) -> list[BillEntry]:
    """Return ledger entries of sent messages, without rent."""
    return [entry for entry in entries if entry.method != RENT]


def _results(reply: bytes) -> list[PutResult]:
    try:
        results = items(open_reply(METHODS[PUT], reply))
    except FormatError:
        raise
    except DataNodeError:
        return []  # refused as a whole: no frame was taken
    return [reply_decoding.put_result(value) for value in results]


def paid(entries: Sequence[BillEntry]) -> Paid:
    """Judge a ledger."""
    puts = [entry for entry in entries if entry.method == PUT and entry.status == "replied"]
    results = [result for entry in puts for result in _results(entry.reply)]
    return Paid(
        messages_count=len(puts),
        frames_count=len(results),
        stored_count=sum(result.status is PutStatus.STORED for result in results),
        twice_count=sum(result.status is PutStatus.ALREADY_STORED for result in results),
        argument_bytes=sum(entry.argument_bytes for entry in puts),
        envelope_bytes=sum(entry.envelope_bytes for entry in puts),
        cycles=sum(entry.total_cycles for entry in puts),
    )
