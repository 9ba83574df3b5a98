"""Orders to the cycles ledger that have no final answer yet: a file each in the state folder.

::

    {"v": 1, "cycles": number, "subnet": text or null, "made_ns": number}

A file is named by the network's root key, who pays, and what for. It is written before the order is
sent and goes when what it paid for is in place, so that the same command repeats the same order.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode import record_file
from datanode.errors import UsageError
from datanode.files import disk_errors, locked
from datanode.principal import Principal
from datanode.record_file import RecordFields

_FOLDER: Final = "orders"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Kind of payment.

    Attributes:
        cycles: How many, the ledger's fee aside.
        subnet: Where a canister is created; None: the ledger chooses.
        made_ns: When the order was made: the ledger knows it again by that.
        is_fresh: Whether it was never sent.
        path: The file that keeps it.
    """

    cycles: int
    subnet: Principal | None
    made_ns: int
    is_fresh: bool
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """Purpose of an order; at most one order is open for each.

    Attributes:
        root_key: Of the network.
        payer: Whose account.
        kind: `create` or `top-up`.
        subject: The name of a node to come, or the canister.
    """

    root_key: bytes
    payer: Principal
    kind: str
    subject: str

    def path(self, state_dir: Path) -> Path:
        """Return the file of its order."""
        parts = (self.root_key, self.payer.raw, self.kind.encode(), self.subject.encode())
        joined = b"".join(len(part).to_bytes(4) + part for part in parts)
        name = hashlib.sha256(joined).hexdigest()[:32]
        return state_dir / _FOLDER / f"{self.kind}-{name}.json"


@contextmanager
def ordered(
    state_dir: Path,
    purpose: Purpose,
    *,
    cycles: int,
    subnet: Principal | None,
    now_ns: Callable[[], int],
    check: Callable[[], None],
) -> Iterator[Order]:
    """Take up the open order of a purpose, or make one; it is done with when the block ends well.

    Args:
        state_dir: The user's state folder.
        purpose: What for.
        cycles: How many.
        subnet: Where.
        now_ns: The ledger's time.
        check: Refuses a new order before it is written down.

    Raises:
        UsageError: The open order is another one than this.
        UnsupportedVersionError: A newer release wrote it.
    """
    path = purpose.path(state_dir)
    with locked(path.with_suffix(".lock")):
        order = _read(path)
        if order is None:
            check()
            made_ns = now_ns()
            order = Order(cycles=cycles, subnet=subnet, made_ns=made_ns, is_fresh=True, path=path)
            _write(order)
        elif (order.cycles, order.subnet) != (cycles, subnet):
            where = "" if order.subnet is None else f" --subnet {order.subnet}"
            raise UsageError(
                f"an earlier {purpose.kind} of {purpose.subject} has no answer yet, and was "
                "another one",
                safe="It may have been carried out; nothing was paid now.",
                hint=f"Run it with --cycles {order.cycles}{where}: that is carried out once.",
            )
        yield order
        forget(state_dir, purpose)


def forget(state_dir: Path, purpose: Purpose) -> None:
    """Drop the order of a purpose, if there is one."""
    path = purpose.path(state_dir)
    with disk_errors(path):
        path.unlink(missing_ok=True)


def _read(path: Path) -> Order | None:
    def parse(fields: RecordFields) -> Order:
        subnet = fields.optional_text("subnet")
        return Order(
            cycles=fields.number("cycles"),
            subnet=None if subnet is None else Principal.parse(subnet),
            made_ns=fields.number("made_ns"),
            is_fresh=False,
            path=path,
        )

    damaged = UsageError(
        f"{path} is damaged",
        safe="Nothing was paid now.",
        hint="It kept an order whose outcome is not known: look whether the account paid, then "
        "move the file away.",
    )
    return record_file.read(path, parse, version=_VERSION, damaged=damaged)


def _write(order: Order) -> None:
    content = {
        "cycles": order.cycles,
        "subnet": None if order.subnet is None else order.subnet.text,
        "made_ns": order.made_ns,
    }
    record_file.write(order.path, content, version=_VERSION)
