"""Where all cycles of a network are: in balances, on their way, set aside for callbacks."""

from collections import Counter

from datanode.localnet.state import ledger
from datanode.localnet.state.network_database import NetworkDatabase

MOVED = ("sent", "accepted", "refunded")


def totals(database: NetworkDatabase) -> "Counter[str]":
    """Add up the ledger, item by item."""
    found: Counter[str] = Counter()
    after = 0
    while page := ledger.page(database, after=after):
        for entry in page:
            for item, cycles in entry.items:
                found[item] += cycles
        after = page[-1].sequence
    return found


def _sum(database: NetworkDatabase, statement: str) -> int:
    return sum(int(str(value)) for row in database.rows(statement) for value in row)


def check(database: NetworkDatabase) -> None:
    """Hold the ledger against what is there: every cycle that was sent is somewhere."""
    with database.transaction():
        found = totals(database)
        on_the_way = _sum(database, "SELECT cycles FROM queue")
        on_the_way += _sum(database, "SELECT available FROM contexts")
        assert sum(found[item] for item in MOVED) == on_the_way
        reserved = _sum(database, "SELECT transmission, execution FROM callbacks")
        assert found["call_reserve"] == reserved
        assert sum(found.values()) == -_sum(database, "SELECT balance FROM canisters")
