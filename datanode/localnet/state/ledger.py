"""Ledger of message costs, item by item, in commit order.

The items of an entry are cycles taken from one canister; a deposit is negative. Their sum is the
entry's total, and all totals of a canister add up to the change of its balance. What is set aside
for storage is no longer in the balance: the items `reserve` alone add up to it.

| item | for |
| --- | --- |
| `ingress` | the message and the bytes of its envelope |
| `execution` | executing it, whatever it does |
| `instructions` | what it executed |
| `storage`, `base`, `compute` | the time since it last paid, in entries of the method `rent` |
| `reserve` | cycles set aside for storage by growing; negative where they pay rent |
| `creation` | creating it, where the cycles ledger did |
| `deposit` | cycles that were added |
| `call` | a call to another canister and its bytes |
| `call_reserve` | set aside for its response and callback; negative when the response is there |
| `call_response` | the bytes of the response |
| `sent`, `accepted`, `refunded` | cycles that went along with calls, were taken, came back |
| `drained` | taken away by a fault on cue |
| `burnt` | what was left of a canister that is deleted, or could not pay its rent; what it burnt |
| `drained` | cycles that a fault on cue took away |
"""

import json
from dataclasses import dataclass
from typing import Final, cast

from datanode.localnet.state.bill import Bill
from datanode.localnet.state.network_database import NetworkDatabase, Row
from datanode.principal import MANAGEMENT_CANISTER, Principal

PAGE_ENTRIES: Final = 1000
MAX_KEPT_REPLY_BYTES: Final = 2048
_BEHIND_ALL: Final = (1 << 63) - 1
_COLUMNS: Final = (
    "time_ns, canister, method, sender, request_id, envelope_bytes, argument_bytes,"
    " instructions, items, balance, status, reply"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BillEntry:
    """One message and its bill.

    Attributes:
        sequence: Position in the ledger, from 1; 0 before it is written.
        time_ns: When it was committed.
        canister: Who paid.
        method: What was called; names of the management canister's methods too.
        sender: Who called.
        request_id: Which message.
        envelope_bytes: Size of its envelope.
        argument_bytes: Size of its argument.
        instructions: What it executed.
        items: Names and cycles taken.
        balance_cycles: What the canister has afterwards.
        status: `replied`, or the error code of the reject.
        reply: The reply's bytes when they are at most 2,048, else nothing.
    """

    sequence: int = 0
    time_ns: int
    canister: Principal
    method: str
    sender: Principal
    request_id: bytes
    envelope_bytes: int
    argument_bytes: int
    instructions: int
    items: tuple[tuple[str, int], ...]
    balance_cycles: int
    status: str
    reply: bytes = b""

    @property
    def total_cycles(self) -> int:
        """The sum of the items."""
        return sum(cycles for _, cycles in self.items)

    def to_json(self) -> dict[str, object]:
        """The entry as `datanode localnet ledger --json` shows it."""
        return {
            "sequence": self.sequence,
            "time_ns": self.time_ns,
            "canister": self.canister.text,
            "method": self.method,
            "sender": self.sender.text,
            "request_id": self.request_id.hex(),
            "envelope_bytes": self.envelope_bytes,
            "argument_bytes": self.argument_bytes,
            "instructions": self.instructions,
            "items": dict(self.items),
            "total_cycles": self.total_cycles,
            "balance_cycles": self.balance_cycles,
            "status": self.status,
            "reply": self.reply.hex(),
        }


def unasked(bill: Bill, method: str, status: str, time_ns: int) -> BillEntry:
    """Make the entry of what the network does to a canister without a message of anybody."""
    return BillEntry(
        time_ns=time_ns,
        canister=bill.canister.id,
        method=method,
        sender=MANAGEMENT_CANISTER,
        request_id=b"",
        envelope_bytes=0,
        argument_bytes=0,
        instructions=0,
        items=bill.items,
        balance_cycles=bill.canister.balance_cycles,
        status=status,
    )


def append(database: NetworkDatabase, entry: BillEntry) -> int:
    """Write an entry; returns its position."""
    return database.write(
        f"INSERT INTO ledger ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
        (
            entry.time_ns,
            entry.canister.raw,
            entry.method,
            entry.sender.raw,
            entry.request_id,
            entry.envelope_bytes,
            entry.argument_bytes,
            entry.instructions,
            json.dumps(entry.items),
            str(entry.balance_cycles),
            entry.status,
            entry.reply,
        ),
    )


def page(database: NetworkDatabase, *, after: int = 0) -> list[BillEntry]:
    """Read at most a thousand entries behind a position."""
    rows = database.rows(
        f"SELECT sequence, {_COLUMNS} FROM ledger WHERE sequence > ?"  # noqa: S608
        " ORDER BY sequence LIMIT ?",
        (after, PAGE_ENTRIES),
    )
    return [_entry(row) for row in rows]


def newest(
    database: NetworkDatabase,
    count: int,
    *,
    before: int | None = None,
    canister: Principal | None = None,
    rent: bool = True,
) -> list[BillEntry]:
    """Read the last entries, the newest first; as fast in a long ledger as in a short one.

    Args:
        database: The network's database.
        count: At most so many.
        before: Only entries before this position.
        canister: Only what this canister paid.
        rent: Entries of rent too; there is one every ten seconds for each canister.
    """
    source, wanted = "ledger", ["sequence < ?"]
    values: list[bytes | int] = [_BEHIND_ALL if before is None else before]
    if canister is not None:
        wanted.append("canister = ?")
        values.append(canister.raw)
    if not rent:
        source += " INDEXED BY " + ("ledger_messages" if canister is None else "ledger_own")
        wanted.append("NOT (sender = x'' AND method = 'rent')")
    rows = database.rows(
        f"SELECT sequence, {_COLUMNS} FROM {source} WHERE {' AND '.join(wanted)}"  # noqa: S608
        " ORDER BY sequence DESC LIMIT ?",
        (*values, count),
    )
    return [_entry(row) for row in rows]


def last_sequence(database: NetworkDatabase) -> int:
    """Return the position of the last entry; 0 when there is none."""
    row = database.row("SELECT max(sequence) FROM ledger")
    return cast("int", row[0]) if row and row[0] else 0


def _entry(row: Row) -> BillEntry:
    sequence, time_ns, canister, method, sender, request_id, *sizes, items, balance = row[:-2]
    envelope_bytes, argument_bytes, instructions = (cast("int", size) for size in sizes)
    return BillEntry(
        sequence=cast("int", sequence),
        time_ns=cast("int", time_ns),
        canister=Principal(cast("bytes", canister)),
        method=str(method),
        sender=Principal(cast("bytes", sender)),
        request_id=cast("bytes", request_id),
        envelope_bytes=envelope_bytes,
        argument_bytes=argument_bytes,
        instructions=instructions,
        items=tuple((name, cycles) for name, cycles in json.loads(str(items))),
        balance_cycles=int(str(balance)),
        status=str(row[-2]),
        reply=cast("bytes", row[-1]),
    )
