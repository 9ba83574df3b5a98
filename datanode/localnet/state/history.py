"""Canister history: changes of code and controllers, and their origin.

The last twenty changes are kept and every one is counted. They belong to the memory that the
canister pays for, each with what it takes in the replica's memory. A canister that runs out of
cycles loses its history, and goes on counting.

Sources: interface specification 0.66, `canister_info`; `CanisterHistory` of the replica, mid-2026,
which keeps changes of controllers and none of other settings.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self, cast

from datanode.agent import candid
from datanode.agent.candid import Blob, Nat64, Null, Opt, Record, Reserved, Value, Variant, Vec
from datanode.agent.candid import Principal as PrincipalType
from datanode.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_COUNT: Final = 20
CHANGE_BYTES: Final = 192
CONTROLLER_BYTES: Final = 30
"""What a change takes, and each controller that it names: the sizes of `CanisterChange` and of
`PrincipalId` of the replica, mid-2026, compiled for a machine of 64 bits."""

_NAMED: Final = ("creation", "controllers_change")

CHANGE: Final = Record(
    {
        "timestamp_nanos": Nat64,
        "canister_version": Nat64,
        "origin": Variant(
            {
                "from_user": Record({"user_id": PrincipalType}),
                "from_canister": Record(
                    {"canister_id": PrincipalType, "canister_version": Opt(Nat64)}
                ),
            }
        ),
        "details": Variant(
            {
                "creation": Record(
                    {"controllers": Vec(PrincipalType), "environment_variables_hash": Opt(Blob)}
                ),
                "code_uninstall": Null,
                "code_deployment": Record(
                    {
                        "mode": Variant({"install": Null, "reinstall": Null, "upgrade": Null}),
                        "module_hash": Blob,
                    }
                ),
                "load_snapshot": Record(
                    {
                        "canister_version": Nat64,
                        "snapshot_id": Blob,
                        "taken_at_timestamp": Nat64,
                        "source": Variant(
                            {"taken_from_canister": Reserved, "metadata_upload": Reserved}
                        ),
                        "from_canister_id": Opt(PrincipalType),
                    }
                ),
                "controllers_change": Record({"controllers": Vec(PrincipalType)}),
            }
        ),
    }
)
"""The interface has two cases more, `settings_change` and `rename_canister`, which do not occur."""

_CHANGES: Final = Vec(CHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Origin and time of a change to a canister.

    Attributes:
        origin: As a change tells it.
        time_ns: In canister time.
    """

    origin: Value
    time_ns: int

    @classmethod
    def user(cls, who: Principal, time_ns: int) -> Self:
        """Name somebody who sent a message."""
        return cls(origin=("from_user", {"user_id": who}), time_ns=time_ns)

    @classmethod
    def canister(cls, who: Principal, version: int | None, time_ns: int) -> Self:
        """Name a canister that made a call, and which version of it, if it says so."""
        fields: dict[str, Value] = {"canister_id": who, "canister_version": version}
        return cls(origin=("from_canister", fields), time_ns=time_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A canister's last changes.

    Attributes:
        encoded: The changes that are kept, in Candid; empty without any.
        size_bytes: What they take of the canister's memory.
        total_count: How many there ever were.
    """

    encoded: bytes = b""
    size_bytes: int = 0
    total_count: int = 0

    def last(self, count: int) -> list[Value]:
        """Return as many of the changes that are kept, the oldest first."""
        if not self.encoded or not count:
            return []
        (changes,) = candid.decode((_CHANGES,), self.encoded)
        return cast("list[Value]", changes)[-count:]

    def with_change(self, cause: Cause, version: int, details: tuple[str, Value]) -> Self:
        """Return the history with one change more; `version` is the canister's after it."""
        change: dict[str, Value] = {
            "timestamp_nanos": cause.time_ns,
            "canister_version": version,
            "origin": cause.origin,
            "details": details,
        }
        kept = [*self.last(KEPT_COUNT - 1), change]
        return replace(
            self,
            encoded=candid.encode((_CHANGES,), (kept,)),
            size_bytes=sum(_size_bytes(each) for each in kept),
            total_count=self.total_count + 1,
        )

    def forgotten(self) -> Self:
        """Return the history without its changes."""
        return replace(self, encoded=b"", size_bytes=0)


def _size_bytes(change: Value) -> int:
    case, fields = cast("tuple[str, Value]", cast("Mapping[str, Value]", change)["details"])
    named = cast("Mapping[str, list[Value]]", fields)["controllers"] if case in _NAMED else ()
    return CHANGE_BYTES + CONTROLLER_BYTES * len(named)
