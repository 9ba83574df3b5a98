"""The accounts of the cycles ledger and its blocks, in the network's database.

Every account starts with 100,000 TC out of nothing, because nobody sells cycles here. A block is
one transaction; those that name the time at which they were made are known again by their key, so
that a message that repeats one is not executed a second time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.errors import FormatError
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.principal import Principal
from datanode.units import TC

START_CYCLES: Final = 100_000 * TC
SUBACCOUNT_BYTES: Final = 32
DEFAULT_SUBACCOUNT: Final = bytes(SUBACCOUNT_BYTES)


@dataclass(frozen=True, slots=True)
class CyclesAccount:
    """Whose cycles; a principal has as many accounts as there are subaccounts."""

    owner: Principal
    subaccount: bytes = DEFAULT_SUBACCOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One transaction.

    Attributes:
        kind: `burn`, `mint` or `transfer`.
        changes: Whose balance changes, and by how much; below zero for what is taken, the fee
            included.
        time_ns: When the ledger took it up.
        key: What a repetition has in common with it.
        canister: Which canister it created.
    """

    kind: str
    changes: tuple[tuple[CyclesAccount, int], ...]
    time_ns: int
    key: bytes | None = None
    canister: Principal | None = None


class AccountBook:
    """Reads accounts and blocks; writes both as part of a message's transaction."""

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database

    def balance(self, account: CyclesAccount) -> int:
        """Return the cycles of an account."""
        row = self._database.row(
            "SELECT balance FROM accounts WHERE owner = ? AND subaccount = ?",
            (account.owner.raw, account.subaccount),
        )
        return START_CYCLES if row is None else int(str(row[0]))

    def height(self) -> int:
        """Return the number of the next block."""
        row = self._database.row("SELECT coalesce(max(id) + 1, 0) FROM blocks")
        return 0 if row is None else int(str(row[0]))

    def find(self, key: bytes) -> tuple[int, Principal | None] | None:
        """Return the block with a key, and the canister that it created."""
        row = self._database.row("SELECT id, canister FROM blocks WHERE key = ?", (key,))
        if row is None:
            return None
        number, canister = row
        return int(str(number)), Principal(canister) if isinstance(canister, bytes) else None

    def entering(self, blocks: Sequence[Block]) -> tuple[Callable[[], object], ...]:
        """Return the writes that enter blocks, numbered from `height` on."""
        return tuple(lambda block=block: self._enter(block) for block in blocks)

    def _enter(self, block: Block) -> None:
        account, cycles = block.changes[0]
        self._database.write(
            "INSERT INTO blocks (id, time_ns, kind, owner, subaccount, cycles, key, canister)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                self.height(),
                block.time_ns,
                block.kind,
                account.owner.raw,
                account.subaccount,
                str(cycles),
                block.key,
                None if block.canister is None else block.canister.raw,
            ),
        )
        for account, cycles in block.changes:
            self._database.write(
                "INSERT OR REPLACE INTO accounts VALUES (?,?,?)",
                (account.owner.raw, account.subaccount, str(self.balance(account) + cycles)),
            )


def subaccount(args: Arguments, name: str) -> bytes:
    """Read a subaccount of an argument; the default one where it is not there.

    Raises:
        FormatError: It is not 32 bytes long.
    """
    if not args.has(name):
        return DEFAULT_SUBACCOUNT
    found = args.blob(name)
    if len(found) != SUBACCOUNT_BYTES:
        raise FormatError(f"{name} is not {SUBACCOUNT_BYTES} bytes long")
    return found
