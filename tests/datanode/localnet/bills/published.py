"""The published formulas, written out: integers of the protocol's price list, no code under test.

Figures for n = 13 nodes; a subnet of n nodes takes n / reference of each, rounded down as the
replica rounds: what is multiplied before differs from formula to formula.
"""

from dataclasses import dataclass

GIB = 1 << 30
DAY_S = 86_400
UPDATE_LIMIT = 40_000_000_000
INSTALL_LIMIT = 300_000_000_000
LARGEST_RESPONSE = 2_097_152

Items = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Prices of a subnet."""

    nodes: int = 13
    reference: int = 13
    storage: int = 127_000

    def scaled(self, cycles: int) -> int:
        return cycles * self.nodes // self.reference

    def ingress(self, envelope_bytes: int) -> Items:
        return {"ingress": self.scaled(1_200_000) + self.scaled(2_000) * envelope_bytes}

    def executed(self, used: int, *, limit: int = UPDATE_LIMIT, ten: int = 10) -> Items:
        """Ten instructions cost ten cycles, in Wasm64 twenty; the unused ones come back."""
        prepaid = self.scaled(5_000_000 + ten * limit // 10)
        refund = self.scaled(ten * (limit - used) // 10)
        base = prepaid - self.scaled(ten * limit // 10)
        return {"execution": base, "instructions": prepaid - refund - base}

    def installed(self, used: int, *, ten: int = 10) -> Items:
        return self.executed(used, limit=INSTALL_LIMIT, ten=ten)

    def managed(self, instructions: int) -> Items:
        return {"instructions": self.scaled(10 * instructions // 10)}

    def called(self, request_bytes: int, cycles: int = 0, *, ten: int = 10) -> Items:
        largest = self.scaled(1_000 * LARGEST_RESPONSE)
        callback = self.scaled(5_000_000 + ten * UPDATE_LIMIT // 10)
        fee = self.scaled(260_000) + self.scaled(1_000 * request_bytes)
        return {"call": fee, "call_reserve": largest + callback, "sent": cycles}

    def answered(self, response_bytes: int, refunded: int = 0) -> Items:
        largest = self.scaled(1_000 * LARGEST_RESPONSE)
        callback = self.scaled(5_000_000 + UPDATE_LIMIT)
        return {
            "call_reserve": -largest - callback,
            "call_response": self.scaled(1_000 * response_bytes),
            "refunded": -refunded,
        }

    def rent(self, held_bytes: int, seconds: int, compute_percent: int = 0) -> Items:
        storage = self.scaled(held_bytes * self.storage * DAY_S // GIB)
        base = self.scaled(10_000 * DAY_S) if held_bytes else 0
        compute = self.scaled(10_000_000 * DAY_S * compute_percent)
        memory = (storage + base) * seconds // DAY_S
        return {
            "storage": memory - base * seconds // DAY_S,
            "base": base * seconds // DAY_S,
            "compute": compute * seconds // DAY_S,
        }

    def history(self, changes: int, controllers: int) -> int:
        """The bytes of so many changes, which name so many controllers between them."""
        return 192 * changes + 30 * controllers

    def freezing(self, held_bytes: int, threshold_s: int, reserved: int = 0) -> int:
        day = sum(self.rent(held_bytes, DAY_S).values())
        return max(0, day * threshold_s // DAY_S - reserved)

    def reserved(self, used_bytes: int, grown_bytes: int) -> int:
        """Between 750 and 2,048 GiB the time that is reserved grows to 300,000,000 s."""

        def total(size: int) -> int:
            above = max(0, min(size, 2_048 * GIB) - 750 * GIB)
            seconds = 300_000_000 * above // ((2_048 - 750) * GIB)
            return self.scaled(above * self.storage * (seconds // 2) // GIB)

        return total(used_bytes + grown_bytes) - total(used_bytes)

    @property
    def creation(self) -> int:
        return self.scaled(500_000_000_000)


def joined(*parts: Items) -> Items:
    """Add items up, and leave out what comes to nothing."""
    out: Items = {}
    for part in parts:
        for name, cycles in part.items():
            out[name] = out.get(name, 0) + cycles
    return {name: cycles for name, cycles in out.items() if cycles}
