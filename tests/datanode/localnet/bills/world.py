"""A network with one canister to bill, and what a message of it is expected to cost."""

from collections.abc import Iterator
from contextlib import contextmanager

from datanode.agent import candid
from datanode.agent.candid import Record, Value
from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.localnet.state import ledger
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.ledger import BillEntry
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import TC
from tests.datanode.localnet.bills.published import Items, Published, joined
from tests.datanode.localnet.wasm_canisters import build
from tests.fakes.gateway import EMPTY, Gateway, RejectedError

WASM = build(
    """
    (memory 1)
    (func (export "canister_update reply") (call $msg_reply))
    (func (export "canister_update reject") (call $msg_reject (i32.const 0) (i32.const 0)))
    (func (export "canister_update trap") unreachable)
    (func (export "canister_update silent"))
    (func (export "canister_update overrun")
      (call $msg_reply_data_append (i32.const 0) (i32.const -1)))
    (func (export "canister_update touch")
      (drop (i64.load (i32.const 8))) (i64.store (i32.const 8) (i64.const 7)) (call $msg_reply))
    (func (export "canister_query look") (call $msg_reply))
    (func (export "canister_query fail") unreachable)
    """,
    *("msg_reply", "msg_reject", "msg_reply_data_append"),
)
"""Small enough to count by hand: an entry is 1 instruction, a call 5, a system call 500."""


class World:
    """One canister on one subnet.

    Attributes:
        net: The network.
        who: The canister's controller.
        published: What the subnet takes.
        canister: The canister.
    """

    def __init__(self, net: Gateway, who: Identity, published: Published) -> None:
        self.net, self.who, self.published = net, who, published
        self.canister = net.create(who, 100 * TC)
        net.install(who, self.canister, wasm=WASM)

    @property
    def held(self) -> Canister:
        return self.of(self.canister)

    def of(self, canister: Principal) -> Canister:
        slot = self.net.network.records.canisters.find(canister)
        assert slot is not None
        return slot.canister

    def entries(self) -> list[BillEntry]:
        return ledger.page(self.net.network.records.database)

    @contextmanager
    def billed(self) -> Iterator[list[BillEntry]]:
        """Collect the entries that the block makes."""
        last = self.entries()[-1].sequence
        found: list[BillEntry] = []
        yield found
        found += ledger.page(self.net.network.records.database, after=last)

    def send(
        self,
        method: str,
        arg: bytes = EMPTY,
        *,
        to: Principal | None = None,
        effective: Principal | None = None,
        rejected: str = "",
    ) -> tuple[list[BillEntry], Items]:
        """Send a message; returns its entries, and what its ingress costs."""
        to = to or self.canister
        body = self.net.signed_call(self.who, to, method, arg)
        with self.billed() as entries:
            told = ""
            try:
                self.net.post_call(body, effective or to)
            except RejectedError as error:
                told = error.error_code
            assert told == rejected
        return entries, self.published.ingress(len(body))

    def manage(
        self, method: str, record: Record, *, rejected: str = "", **fields: Value
    ) -> tuple[BillEntry, Items]:
        """Call the management canister about the canister."""
        given: dict[str, Value] = {name: None for _, name, _ in record.fields}
        target = "target_canister" if "target_canister" in given else "canister_id"
        arg = candid.encode((record,), ({**given, target: self.canister, **fields},))
        (entry,), ingress = self.send(
            method, arg, to=MANAGEMENT_CANISTER, effective=self.canister, rejected=rejected
        )
        return entry, ingress

    def settings(self, *, rejected: str = "", **chosen: Value) -> tuple[BillEntry, Items]:
        given: dict[str, Value] = {name: None for _, name, _ in interface_types.SETTINGS.fields}
        return self.manage(
            "update_settings",
            interface_types.UPDATE_SETTINGS,
            settings={**given, **chosen},
            rejected=rejected,
        )


def check(entry: BillEntry, *expected: Items) -> None:
    """Compare a bill item by item."""
    assert dict(entry.items) == joined(*expected), entry
    assert entry.total_cycles == sum(joined(*expected).values())
