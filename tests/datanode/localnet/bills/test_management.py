"""Exact costs of management methods, item by item."""

import hashlib

import pytest

from datanode.agent import candid
from datanode.agent.candid import Value
from datanode.localnet.management import cycles_ledger_types, interface_types, snapshot_types
from datanode.localnet.state.compiled_modules import CHECKPOINT_INTERVAL_NS
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.topology import CYCLES_LEDGER
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import GIB, MIB, SECOND_NS, TC
from tests.datanode.localnet.bills.world import WASM, World, check
from tests.fakes.counter import counter_wasm
from tests.fakes.grower import grower_wasm, pages


def pass_checkpoint(world: World) -> None:
    """Let time pass, and its rent be paid."""
    world.net.network.runtime.canister_time.advance(CHECKPOINT_INTERVAL_NS // SECOND_NS)
    fields: dict[str, Value] = {"canister_id": world.canister}
    arg = candid.encode((interface_types.CANISTER,), (fields,))
    world.send("start_canister", arg, to=MANAGEMENT_CANISTER, effective=world.canister)


def order(world: World, method: str, argument: candid.Record, **fields: Value) -> None:
    given: dict[str, Value] = {name: None for _, name, _ in argument.fields}
    arg = candid.encode((argument,), ({**given, **fields},))
    world.net.call(world.who, CYCLES_LEDGER, method, arg)


@pytest.mark.parametrize(
    ("mode", "wasm", "rejected"),
    [
        ("upgrade", WASM, ""),
        ("reinstall", WASM, ""),
        ("reinstall", counter_wasm(), ""),
        ("install", WASM, "IC0514"),
        ("upgrade", b"\0asm nonsense", "IC0505"),
    ],
)
def test_installing_pays_for_compiling_and_for_what_runs(
    world: World, mode: str, wasm: bytes, rejected: str
) -> None:
    entry, ingress = world.manage(
        "install_code",
        interface_types.INSTALL,
        mode=(mode, None),
        wasm_module=wasm,
        arg=b"",
        rejected=rejected,
    )
    assert (entry.instructions == 0) == bool(rejected)
    check(entry, ingress, world.published.installed(entry.instructions))


def test_a_first_installation_costs_the_same(world: World) -> None:
    world.manage("uninstall_code", interface_types.CANISTER)
    entry, ingress = world.manage(
        "install_code",
        interface_types.INSTALL,
        mode=("install", None),
        wasm_module=WASM,
        arg=b"x" * 999,
    )
    check(entry, ingress, world.published.installed(entry.instructions))


def test_a_chunked_installation_pays_for_its_chunks_one_by_one(world: World) -> None:
    cut = len(WASM) // 2
    digests: list[Value] = []
    for part in (WASM[:cut], WASM[cut:], bytes(MIB), bytes(MIB)):
        entry, ingress = world.manage("upload_chunk", interface_types.UPLOAD_CHUNK, chunk=part)
        assert entry.instructions == 200_000_000
        check(entry, ingress, world.published.managed(200_000_000))
        digests.append({"hash": hashlib.sha256(part).digest()})
    entry, ingress = world.manage("stored_chunks", interface_types.CANISTER)
    check(entry, ingress)
    entry, ingress = world.manage(
        "install_chunked_code",
        interface_types.INSTALL_CHUNKED,
        mode=("reinstall", None),
        chunk_hashes_list=digests[:2],
        wasm_module_hash=hashlib.sha256(WASM).digest(),
        arg=b"",
    )
    check(entry, ingress, world.published.installed(entry.instructions))
    entry, ingress = world.manage("clear_chunk_store", interface_types.CANISTER)
    check(entry, ingress)


@pytest.mark.parametrize(
    "method", ["uninstall_code", "start_canister", "stop_canister", "canister_status"]
)
def test_other_methods_cost_their_ingress_alone(world: World, method: str) -> None:
    entry, ingress = world.manage(method, interface_types.CANISTER)
    check(entry, ingress)


def test_a_small_change_of_settings_pays_for_argument_and_method_afterwards(
    world: World,
) -> None:
    entry, _ = world.settings(freezing_threshold=1_000_000)
    assert entry.argument_bytes <= 366
    check(entry, world.published.ingress(entry.argument_bytes + len("update_settings")))
    entry, _ = world.settings(compute_allocation=101, rejected="IC0408")
    check(entry, world.published.ingress(entry.argument_bytes + len("update_settings")))


def test_a_large_change_of_settings_pays_on_its_way_in(world: World) -> None:
    others = [Principal(bytes([number]) * 29) for number in range(9)]
    entry, ingress = world.settings(controllers=[world.who.principal, *others])
    assert entry.argument_bytes > 366
    check(entry, ingress)


def test_what_is_rejected_later_has_paid_its_way_in(world: World) -> None:
    entry, ingress = world.manage("delete_canister", interface_types.CANISTER, rejected="IC0510")
    check(entry, ingress)


def test_what_a_deleted_canister_has_left_is_burnt(world: World) -> None:
    world.manage("stop_canister", interface_types.CANISTER)
    before = world.held.balance_cycles
    entry, ingress = world.manage("delete_canister", interface_types.CANISTER)
    check(entry, ingress, {"burnt": before - ingress["ingress"]})
    assert entry.balance_cycles == 0


def test_provisional_cycles_come_out_of_nothing(world: World) -> None:
    with world.billed() as entries:
        made = world.net.create(world.who, 3 * TC)
    check(entries[0], {"deposit": -3 * TC})
    assert world.of(made).balance_cycles == 3 * TC
    entry, _ = world.manage("provisional_top_up_canister", interface_types.TOP_UP, amount=TC)
    check(entry, {"deposit": -TC})


def test_the_cycles_ledger_takes_the_creation_fee_and_gives_the_rest(world: World) -> None:
    with world.billed() as entries:
        order(world, "create_canister", cycles_ledger_types.CREATE, amount=5 * TC)
    check(entries[0], {"deposit": -5 * TC, "creation": world.published.creation})
    with world.billed() as entries:
        order(world, "withdraw", cycles_ledger_types.WITHDRAW, amount=2 * TC, to=world.canister)
    check(entries[0], {"deposit": -2 * TC})


def test_a_module_that_was_compiled_since_the_checkpoint_is_compiled_for_a_hundredth(
    world: World,
) -> None:
    def reinstalled() -> int:
        entry, ingress = world.manage(
            "install_code",
            interface_types.INSTALL,
            mode=("reinstall", None),
            wasm_module=counter_wasm(),
            arg=b"",
        )
        check(entry, ingress, world.published.installed(entry.instructions))
        return entry.instructions

    first, again = reinstalled(), reinstalled()
    pass_checkpoint(world)
    assert reinstalled() == first
    compiling = (first - again) * 100 // 99
    assert compiling % 6_000 == 0
    assert 0 < compiling <= first


def test_snapshots_cost_a_baseline_and_a_byte_an_instruction(world: World) -> None:
    entry, ingress = world.manage("take_canister_snapshot", snapshot_types.TAKE)
    size = entry.instructions - 2_000_000_000
    assert size == world.held.snapshot_bytes > 0
    check(entry, ingress, world.published.managed(2_000_000_000 + size))
    (snapshot,) = world.net.network.records.snapshots.of(world.canister)
    entry, ingress = world.manage(
        "load_canister_snapshot", snapshot_types.ONE, snapshot_id=snapshot.id
    )
    compiled_again = entry.instructions - 2_000_000_000 - size
    check(entry, ingress, world.published.managed(entry.instructions))
    pass_checkpoint(world)
    entry, _ = world.manage("load_canister_snapshot", snapshot_types.ONE, snapshot_id=snapshot.id)
    compiled = entry.instructions - 2_000_000_000 - size
    assert compiled % 6_000 == 0
    assert compiled == 100 * compiled_again > 0
    entry, ingress = world.manage("list_canister_snapshots", interface_types.CANISTER)
    check(entry, ingress)
    entry, ingress = world.manage(
        "delete_canister_snapshot", snapshot_types.ONE, snapshot_id=snapshot.id
    )
    check(entry, ingress)


def test_a_full_subnet_sets_cycles_aside_for_everything_that_grows(world: World) -> None:
    world.net.install(world.who, world.canister, mode="reinstall", wasm=grower_wasm())
    world.settings(reserved_cycles_limit=50 * TC)
    world.net.network.runtime.rules.choose(SubnetChoice(used_gib=900))
    used = 900 * GIB + world.held.memory_bytes
    (entry,), ingress = world.send("both", pages(7))
    grown = 14 * 65_536
    reserve = {"reserve": world.published.reserved(used, grown)}
    check(entry, ingress, world.published.executed(entry.instructions), reserve)
    used = 900 * GIB + world.held.memory_bytes
    entry, ingress = world.manage("upload_chunk", interface_types.UPLOAD_CHUNK, chunk=b"c")
    reserve = {"reserve": world.published.reserved(used, MIB)}
    check(entry, ingress, world.published.managed(200_000_000), reserve)
    used = 900 * GIB + world.held.memory_bytes
    entry, ingress = world.manage("take_canister_snapshot", snapshot_types.TAKE)
    size = world.held.snapshot_bytes
    reserve = {"reserve": world.published.reserved(used, size)}
    check(entry, ingress, world.published.managed(2_000_000_000 + size), reserve)
    used = 900 * GIB + world.held.memory_bytes
    grown = 16 * MIB - world.held.memory_bytes
    entry, _ = world.settings(memory_allocation=16 * MIB)
    reserve = {"reserve": world.published.reserved(used, grown)}
    late = world.published.ingress(entry.argument_bytes + len("update_settings"))
    check(entry, late, reserve)
