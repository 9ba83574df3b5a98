"""The accounts of the ICP ledger and its blocks, in the network's database.

An account is named by its identifier: a CRC-32 and the SHA-224 of an owner and a subaccount. Every
account starts with 10,000 ICP, since this network sells none.
"""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datanode.localnet.state.network_database import NetworkDatabase
from datanode.principal import Principal

E8S_PER_ICP: Final = 100_000_000
START_E8S: Final = 10_000 * E8S_PER_ICP
IDENTIFIER_BYTES: Final = 32
_DOMAIN: Final = b"\x0aaccount-id"
_CRC_BYTES: Final = 4


def account_identifier(owner: Principal, subaccount: bytes) -> bytes:
    """Return the 32 bytes that name an account; source: the ICP ledger's specification."""
    digest = hashlib.sha224(_DOMAIN + owner.raw + subaccount).digest()
    return zlib.crc32(digest).to_bytes(_CRC_BYTES) + digest


def is_identifier(raw: bytes) -> bool:
    """Whether 32 bytes carry the checksum of an account identifier."""
    return (
        len(raw) == IDENTIFIER_BYTES
        and zlib.crc32(raw[_CRC_BYTES:]).to_bytes(_CRC_BYTES) == raw[:_CRC_BYTES]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IcpBlock:
    """A transfer of ICP.

    Attributes:
        sender: Account identifier that paid, fee included.
        receiver: Account identifier that received `e8s`.
        e8s: Amount, 1e-8 ICP, without the fee.
        fee_e8s: The ledger's fee.
        memo: The number that the sender gave.
        time_ns: When the ledger accepted it.
        key: Equal for repetitions of the same transfer; None if it may be repeated.
    """

    sender: bytes
    receiver: bytes
    e8s: int
    fee_e8s: int
    memo: int
    time_ns: int
    key: bytes | None = None


class IcpBook:
    """Reads accounts and blocks; writes both as part of a message's transaction."""

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database

    def balance_e8s(self, account: bytes) -> int:
        """Return the balance of an account identifier, 1e-8 ICP."""
        row = self._database.row("SELECT e8s FROM icp_accounts WHERE id = ?", (account,))
        return START_E8S if row is None else int(str(row[0]))

    def height(self) -> int:
        """Return the number of the next block."""
        row = self._database.row("SELECT coalesce(max(id) + 1, 0) FROM icp_blocks")
        return 0 if row is None else int(str(row[0]))

    def find(self, key: bytes) -> int | None:
        """Return the number of the block with a key."""
        row = self._database.row("SELECT id FROM icp_blocks WHERE key = ?", (key,))
        return None if row is None else int(str(row[0]))

    def payment(self, number: int) -> tuple[bytes, int, int] | None:
        """Return receiver, amount in 1e-8 ICP and memo of a block."""
        row = self._database.row(
            "SELECT receiver, e8s, memo FROM icp_blocks WHERE id = ?", (number,)
        )
        if row is None or not isinstance(row[0], bytes):
            return None
        return row[0], int(str(row[1])), int(str(row[2]))

    def amount_e8s(self, number: int) -> int:
        """Return what a block that exists transferred, 1e-8 ICP."""
        paid = self.payment(number)
        return 0 if paid is None else paid[1]

    def minted(self, number: int) -> tuple[int, int, int] | None:
        """Return what a block was converted to: cycles ledger block, cycles, balance after it."""
        row = self._database.row("SELECT minted FROM icp_blocks WHERE id = ?", (number,))
        if row is None or row[0] is None:
            return None
        block, cycles, balance = (int(part) for part in str(row[0]).split())
        return block, cycles, balance

    def enter(self, block: IcpBlock) -> Callable[[], object]:
        """Return the write that enters a block as number `height`."""
        return lambda: self._enter(block)

    def mark_minted(self, number: int, minted: tuple[int, int, int]) -> Callable[[], object]:
        """Return the write that remembers what a block was converted to."""
        text = " ".join(str(part) for part in minted)
        return lambda: self._database.write(
            "UPDATE icp_blocks SET minted = ? WHERE id = ?", (text, number)
        )

    def _enter(self, block: IcpBlock) -> None:
        self._database.write(
            "INSERT INTO icp_blocks (id, time_ns, sender, receiver, e8s, memo, key)"
            " VALUES (?,?,?,?,?,?,?)",
            (
                self.height(),
                block.time_ns,
                block.sender,
                block.receiver,
                str(block.e8s),
                str(block.memo),
                block.key,
            ),
        )
        for account, change in (
            (block.sender, -block.e8s - block.fee_e8s),
            (block.receiver, block.e8s),
        ):
            self._database.write(
                "INSERT OR REPLACE INTO icp_accounts VALUES (?,?)",
                (account, str(self.balance_e8s(account) + change)),
            )
