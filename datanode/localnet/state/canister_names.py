"""Names of canisters, for people who look at the page; no client depends on them."""

from collections.abc import Mapping, Sequence
from typing import Final

from datanode.errors import UsageError
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.principal import Principal
from datanode.text import printable

MAX_NAME_LENGTH: Final = 64


class CanisterNames:
    """Names of canisters of a network, kept in its database.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database

    def of(self, canisters: Sequence[Principal]) -> Mapping[Principal, str]:
        """Return the names of those canisters that have one, by one query."""
        facts = {_fact(canister): canister for canister in canisters}
        places = ",".join("?" * len(facts))
        found = self._database.rows(
            f"SELECT name, value FROM facts WHERE name IN ({places})",  # noqa: S608 - only places
            tuple(facts),
        )
        return {facts[str(name)]: str(value) for name, value in found}

    def set(self, canister: Principal, name: str) -> None:
        """Name a canister, or rename it.

        Raises:
            UsageError: The name is empty, too long or not printable.
        """
        if not 0 < len(name) <= MAX_NAME_LENGTH or printable(name) != name:
            raise UsageError(f"a name has 1 to {MAX_NAME_LENGTH} printable characters")
        self._database.set_fact(_fact(canister), name)


def _fact(canister: Principal) -> str:
    return f"name of {canister.text}"
