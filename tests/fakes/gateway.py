"""The embedded network without its HTTP server, and a client that believes certificates alone."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from datanode import cbor
from datanode.agent import candid, certificate, envelope
from datanode.agent.candid import Record, Value
from datanode.agent.envelope import Signer
from datanode.agent.fields import CborFields
from datanode.agent.hash_tree import HashTree
from datanode.agent.request_id import parse_leb128
from datanode.fees import FeeSchedule
from datanode.localnet.gateway.ic_interface import Interface
from datanode.localnet.gateway.page.page_facts import PageFacts
from datanode.localnet.management import interface_types
from datanode.localnet.replica.damage import Damage
from datanode.localnet.replica.housekeeping import Housekeeper
from datanode.localnet.state import ledger, message
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.network_state import NetworkState, cache_folder
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.topology import REGISTRY
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import SECOND_NS, TC
from tests.fakes.counter import counter_wasm
from tests.fakes.puppet import puppet_wasm

NOW_NS = 1_790_000_000 * SECOND_NS
EMPTY = b"DIDL\0\0"
WAIT_S = 300.0


class RejectedError(Exception):
    """A call or query was rejected; `certified` tells whether the subnet signed it."""

    def __init__(self, error_code: str, text: str, *, certified: bool) -> None:
        super().__init__(f"{error_code}: {text}")
        self.error_code = error_code
        self.certified = certified


class Wall:
    """A wall clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND_NS


@dataclass
class Gateway:
    """A network in a folder, spoken to in bytes."""

    folder: Path
    wall: Wall = field(default_factory=Wall)
    subnet: SubnetChoice = field(default_factory=SubnetChoice)
    free_bytes: int = 1 << 40
    nonces: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.network = NetworkState(
            self.folder,
            module_cache=cache_folder(),
            clock_ns=self.wall,
            subnet=self.subnet,
            free_bytes=lambda _: self.free_bytes,
        )
        self.interface = Interface(self.network)

    def close(self) -> None:
        self.network.close()

    def page_facts(self) -> PageFacts:
        network = self.network
        return PageFacts(network.runtime, network.traffic, network.records, network.topology)

    def housekeeper(self) -> Housekeeper:
        runtime, records = self.network.runtime, self.network.records
        return Housekeeper(runtime.canister_time, records, self.interface.rent)

    def damage(self) -> Damage:
        return Damage(
            runtime=self.network.runtime,
            traffic=self.network.traffic,
            host=self.interface.host,
            certification=self.network.certification,
        )

    def reopen(self) -> None:
        self.close()
        self.open()

    @property
    def fees(self) -> FeeSchedule:
        return self.network.runtime.fees

    @property
    def root_key(self) -> bytes:
        return self.network.topology.root_key

    def signed_call(
        self,
        who: Signer,
        canister: Principal,
        method: str,
        arg: bytes = EMPTY,
        *,
        expires_s: int = 240,
    ) -> bytes:
        content = envelope.call_content(
            canister,
            method,
            arg,
            sender=who.principal,
            ingress_expiry_ns=self.wall() + expires_s * SECOND_NS,
            nonce=next(self.nonces).to_bytes(8),
        )
        return envelope.sign(who, content)

    def post_call(
        self, body: bytes, canister: Principal, form: RangesForm = RangesForm.SHARDS
    ) -> bytes:
        """Send a signed call; returns the reply out of a verified certificate."""
        admitted = self.interface.admit(body, canister)
        refused = admitted.refused
        if refused is not None:
            assert refused.reject is not None
            raise RejectedError(refused.reject.error_code, refused.reject.message, certified=False)
        try:
            self.interface.execute(admitted.message)
        except message.RejectedError as error:
            reject = error.reject
            raise RejectedError(reject.error_code, reject.message, certified=False) from error
        answered = threading.Event()
        self.network.traffic.requests.watch(admitted.message.request_id, answered.set)
        assert answered.wait(WAIT_S), "no answer came"
        outcome = self.interface.outcome(admitted.message, form)
        assert outcome is not None
        answer = CborFields(cbor.decode(outcome), "answer")
        assert answer.text("status") == "replied"
        tree = self.verified(answer.data("certificate"), canister)
        return reply_of(tree, admitted.message.request_id)

    def verified(self, raw: bytes, canister: Principal | None) -> HashTree:
        covered = None if canister == MANAGEMENT_CANISTER else canister
        return certificate.verify(raw, root_key=self.root_key, canister=covered, now_ns=self.wall())

    def call(
        self,
        who: Signer,
        canister: Principal,
        method: str,
        arg: bytes = EMPTY,
        *,
        effective: Principal | None = None,
    ) -> bytes:
        return self.post_call(self.signed_call(who, canister, method, arg), effective or canister)

    def manage(self, who: Signer, method: str, record: Record, **fields: Value) -> bytes:
        target = fields.get("canister_id") or fields.get("target_canister") or REGISTRY
        assert isinstance(target, Principal)
        given: dict[str, Value] = {name: None for _, name, _ in record.fields}
        arg = candid.encode((record,), ({**given, **fields},))
        return self.call(who, MANAGEMENT_CANISTER, method, arg, effective=target)

    def create(self, who: Signer, cycles: int = 10 * TC) -> Principal:
        reply = self.manage(
            who,
            "provisional_create_canister_with_cycles",
            interface_types.PROVISIONAL_CREATE,
            amount=cycles,
        )
        (made,) = candid.decode((interface_types.CANISTER,), reply)
        assert isinstance(made, dict)
        principal = made["canister_id"]
        assert isinstance(principal, Principal)
        return principal

    def install(
        self,
        who: Signer,
        canister: Principal,
        mode: str = "install",
        wasm: bytes | None = None,
        arg: bytes = b"",
    ) -> None:
        self.manage(
            who,
            "install_code",
            interface_types.INSTALL,
            mode=(mode, None),
            canister_id=canister,
            wasm_module=counter_wasm() if wasm is None else wasm,
            arg=arg,
        )

    def puppet(self, who: Signer, cycles: int = 10 * TC) -> Principal:
        canister = self.create(who, cycles)
        self.install(who, canister, wasm=puppet_wasm())
        return canister

    def counter(self, who: Signer, cycles: int = 10 * TC) -> Principal:
        canister = self.create(who, cycles)
        self.install(who, canister)
        return canister

    def pause(self) -> None:
        """Execute no further message between canisters."""
        for closer in self.network.closers:
            closer()

    def settle(self) -> None:
        """Wait until no message between canisters is on its way."""
        self.until(lambda: not self.network.traffic.queue.receivers())

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, "it does not come"
            time.sleep(0.002)

    def signed_stop(self, who: Signer, canister: Principal) -> bytes:
        """Sign a call that stops a canister."""
        arg = candid.encode((interface_types.CANISTER,), ({"canister_id": canister},))
        return self.signed_call(who, MANAGEMENT_CANISTER, "stop_canister", arg)

    def set(self, who: Signer, canister: Principal, **settings: Value) -> None:
        """Change settings of a canister."""
        given: dict[str, Value] = {name: None for _, name, _ in interface_types.SETTINGS.fields}
        self.manage(
            who,
            "update_settings",
            interface_types.UPDATE_SETTINGS,
            canister_id=canister,
            settings={**given, **settings},
        )

    def drain(self, canister: Principal, left_cycles: int) -> None:
        """Take most cycles of a canister, behind its back."""
        slot = self.network.records.canisters.find(canister)
        assert slot is not None
        with slot.lock:
            slot.canister = replace(slot.canister, balance_cycles=left_cycles)

    def query_answer(
        self,
        who: Signer,
        canister: Principal,
        method: str,
        arg: bytes = EMPTY,
        *,
        effective: Principal | None = None,
    ) -> tuple[bytes, CborFields]:
        content = envelope.query_content(
            canister,
            method,
            arg,
            sender=who.principal,
            ingress_expiry_ns=self.wall() + 60 * SECOND_NS,
        )
        identifier, body = envelope.seal(who, content)
        answer = self.interface.query(body, effective or canister)
        return identifier, CborFields(cbor.decode(answer), "answer")

    def query(
        self,
        who: Signer,
        canister: Principal,
        method: str,
        arg: bytes = EMPTY,
        *,
        effective: Principal | None = None,
    ) -> bytes:
        _, answer = self.query_answer(who, canister, method, arg, effective=effective)
        if answer.text("status") == "rejected":
            raise RejectedError(
                answer.text("error_code"), answer.text("reject_message"), certified=False
            )
        return CborFields(answer.take("reply"), "reply").data("arg")

    def read(
        self,
        who: Signer,
        canister: Principal,
        paths: Sequence[Sequence[bytes]],
        *,
        form: RangesForm = RangesForm.SHARDS,
        expires_s: int = 60,
    ) -> HashTree:
        content = envelope.read_state_content(
            paths,
            sender=who.principal,
            ingress_expiry_ns=self.wall() + expires_s * SECOND_NS,
        )
        answer = self.interface.read_state(envelope.sign(who, content), canister, form)
        return self.verified(
            CborFields(cbor.decode(answer), "answer").data("certificate"), canister
        )

    def held(self, canister: Principal) -> Canister:
        """Return the record of a canister."""
        slot = self.network.records.canisters.find(canister)
        assert slot is not None
        return slot.canister

    def balance(self, canister: Principal) -> int:
        return self.held(canister).balance_cycles

    def last(self, canister: Principal) -> BillEntry:
        """Return the newest entry of a canister's ledger."""
        return [e for e in ledger.page(self.network.records.database) if e.canister == canister][-1]


def reply_of(tree: HashTree, request_id: bytes) -> bytes:
    """Take the reply of a message out of a certified tree."""

    def leaf(name: str) -> bytes:
        value = tree.lookup([b"request_status", request_id, name.encode()])
        assert isinstance(value, bytes)
        return value

    if leaf("status") == b"replied":
        return leaf("reply")
    assert leaf("status") == b"rejected"
    assert 1 <= parse_leb128(leaf("reject_code")) <= 5
    raise RejectedError(
        leaf("error_code").decode(), leaf("reject_message").decode(), certified=True
    )
