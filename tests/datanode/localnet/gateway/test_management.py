"""The management canister: its methods, who may call them, and what they leave behind."""

import hashlib

import pytest

from datanode.agent import candid
from datanode.agent.candid import Record
from datanode.agent.identity import Identity, anonymous
from datanode.localnet.management import chunk_store, interface_types
from datanode.localnet.state.message import NotAdmittedError
from datanode.localnet.state.topology import FIRST_CANISTER, LAST_CANISTER, REGISTRY, canister_id
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import MIB, TC
from tests.fakes.counter import CANDID, argument, counter_wasm, number
from tests.fakes.gateway import EMPTY, Gateway, RejectedError


def fields(kind: Record, reply: bytes) -> dict[str, object]:
    (value,) = candid.decode((kind,), reply)
    assert isinstance(value, dict)
    return value


def status(net: Gateway, who: Identity, canister: Principal) -> dict[str, object]:
    reply = net.manage(who, "canister_status", interface_types.CANISTER, canister_id=canister)
    return fields(interface_types.CANISTER_STATUS, reply)


def test_ids_are_given_in_order_and_never_twice(net: Gateway, alice: Identity) -> None:
    first, second = net.create(alice), net.create(alice)
    assert first.text == "bnz7o-iuaaa-aaaaa-qaaaa-cai"
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=second)
    net.manage(alice, "delete_canister", interface_types.CANISTER, canister_id=second)
    net.reopen()
    third = net.create(alice)
    assert len({first, second, third}) == 3


def test_a_canister_may_be_created_under_a_free_id(net: Gateway, alice: Identity) -> None:
    wanted = canister_id(0x0210_0007)
    method = "provisional_create_canister_with_cycles"
    net.manage(alice, method, interface_types.PROVISIONAL_CREATE, amount=TC, specified_id=wanted)
    assert net.balance(wanted) == TC
    for taken in (wanted, REGISTRY, canister_id(0x7000_0000_0000_0000)):
        with pytest.raises(RejectedError, match="is not free"):
            net.manage(
                alice, method, interface_types.PROVISIONAL_CREATE, amount=TC, specified_id=taken
            )


def test_whoever_takes_the_last_id_leaves_the_others_free(net: Gateway, alice: Identity) -> None:
    method = "provisional_create_canister_with_cycles"
    for taken in (FIRST_CANISTER + 1, LAST_CANISTER):
        wanted = canister_id(taken)
        net.manage(
            alice, method, interface_types.PROVISIONAL_CREATE, amount=TC, specified_id=wanted
        )
    assert net.create(alice) == canister_id(FIRST_CANISTER)
    net.reopen()
    assert net.create(alice) == canister_id(FIRST_CANISTER + 2)


def test_create_canister_takes_no_ingress_messages(net: Gateway, alice: Identity) -> None:
    for method in ("create_canister", "raw_rand", "deposit_cycles"):
        with pytest.raises(RejectedError, match="Only canisters can call") as rejected:
            net.call(alice, MANAGEMENT_CANISTER, method, EMPTY, effective=REGISTRY)
        assert (rejected.value.error_code, rejected.value.certified) == ("IC0406", False)
    with pytest.raises(RejectedError, match="has no method 'fly'"):
        net.call(alice, MANAGEMENT_CANISTER, "fly", EMPTY, effective=REGISTRY)


def test_the_status_shows_code_memory_balance_and_settings(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    found = status(net, alice, canister)
    assert found["status"] == ("running", None)
    assert found["module_hash"] == hashlib.sha256(counter_wasm()).digest()
    assert found["cycles"] == net.balance(canister)
    memory = found["memory_metrics"]
    assert isinstance(memory, dict)
    assert found["memory_size"] == sum(memory.values())
    assert found["idle_cycles_burned_per_day"] == net.fees.idle_cycles_per_day(sum(memory.values()))
    assert memory["wasm_binary_size"] == len(counter_wasm())
    assert memory["global_memory_size"] == 32
    sections = {"candid:service": CANDID, "secret": "for controllers"}
    assert memory["custom_sections_size"] == sum(
        len(name) + 1 + len(text) for name, text in sections.items()
    )
    assert memory["stable_memory_size"] == 65_536
    assert memory["wasm_memory_size"] == 131_072
    settings = found["settings"]
    assert isinstance(settings, dict)
    assert settings["controllers"] == [alice.principal]
    assert settings["freezing_threshold"] == 2_592_000


def test_the_status_may_be_queried_by_controllers(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    canister = net.counter(alice)
    arg = candid.encode((interface_types.CANISTER,), ({"canister_id": canister},))
    reply = net.query(alice, MANAGEMENT_CANISTER, "canister_status", arg, effective=canister)
    assert fields(interface_types.CANISTER_STATUS, reply)["status"] == ("running", None)
    with pytest.raises(RejectedError, match="Only controllers"):
        net.query(bob, MANAGEMENT_CANISTER, "canister_status", arg, effective=canister)


def test_only_controllers_manage(net: Gateway, alice: Identity, bob: Identity) -> None:
    canister = net.counter(alice)
    balance = net.balance(canister)
    for method in ("stop_canister", "canister_status", "uninstall_code", "delete_canister"):
        with pytest.raises(RejectedError, match="Only controllers") as rejected:
            net.manage(bob, method, interface_types.CANISTER, canister_id=canister)
        assert (rejected.value.error_code, rejected.value.certified) == ("IC0512", False)
    with pytest.raises(RejectedError, match="Only controllers"):
        net.install(bob, canister, "reinstall")
    assert net.balance(canister) == balance


def test_controllers_and_settings_change(net: Gateway, alice: Identity, bob: Identity) -> None:
    canister = net.create(alice)
    changes = dict.fromkeys((name for _, name, _ in interface_types.SETTINGS.fields), None)
    net.manage(
        alice,
        "update_settings",
        interface_types.UPDATE_SETTINGS,
        canister_id=canister,
        settings={
            **changes,
            "controllers": [bob.principal],
            "freezing_threshold": 60,
            "log_visibility": ("allowed_viewers", [alice.principal]),
            "environment_variables": [{"name": "A", "value": "1"}],
        },
    )
    with pytest.raises(RejectedError, match="Only controllers"):
        status(net, alice, canister)
    settings = status(net, bob, canister)["settings"]
    assert isinstance(settings, dict)
    assert settings["freezing_threshold"] == 60
    assert settings["log_visibility"] == ("allowed_viewers", [alice.principal])
    assert settings["environment_variables"] == [{"name": "A", "value": "1"}]
    net.reopen()
    assert status(net, bob, canister)["settings"] == settings


@pytest.mark.parametrize(
    "setting",
    [
        {"controllers": [Principal(bytes([n])) for n in range(11)]},
        {"compute_allocation": 101},
        {"memory_allocation": 1 << 49},
        {"environment_variables": [{"name": "A" * 129, "value": ""}]},
        {"environment_variables": [{"name": "A", "value": "1" * 129}]},
    ],
)
def test_settings_out_of_bounds_are_rejected(
    net: Gateway, alice: Identity, setting: dict[str, object]
) -> None:
    canister = net.create(alice)
    changes = dict.fromkeys((name for _, name, _ in interface_types.SETTINGS.fields), None)
    with pytest.raises(RejectedError) as rejected:
        net.manage(
            alice,
            "update_settings",
            interface_types.UPDATE_SETTINGS,
            canister_id=canister,
            settings={**changes, **setting},  # type: ignore[dict-item]
        )
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0408", True)


def test_code_is_installed_reinstalled_upgraded_and_removed(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(4))
    with pytest.raises(RejectedError, match="is not empty") as rejected:
        net.install(alice, canister)
    assert rejected.value.error_code == "IC0514"
    net.install(alice, canister, "upgrade")
    assert number(net.query(alice, canister, "get")) == 4
    net.install(alice, canister, "reinstall")
    assert number(net.query(alice, canister, "get")) == 0
    net.manage(alice, "uninstall_code", interface_types.CANISTER, canister_id=canister)
    with pytest.raises(RejectedError, match="no Wasm module"):
        net.query(alice, canister, "get")
    assert status(net, alice, canister)["module_hash"] is None
    net.reopen()
    net.install(alice, canister)
    assert number(net.query(alice, canister, "get")) == 0


def test_a_module_that_is_none_is_rejected_and_the_old_one_stays(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(4))
    with pytest.raises(RejectedError, match="not valid") as rejected:
        net.install(alice, canister, "upgrade", b"\0asm nothing")
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0505", True)
    assert number(net.query(alice, canister, "get")) == 4


def test_code_is_installed_from_chunks(net: Gateway, alice: Identity, bob: Identity) -> None:
    canister, wasm = net.create(alice), counter_wasm()
    hashes = []
    for part in (wasm[:100], wasm[100:]):
        reply = net.manage(
            alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=part
        )
        hashes.append(fields(interface_types.CHUNK_HASH, reply)["hash"])
    reply = net.manage(alice, "stored_chunks", interface_types.CANISTER, canister_id=canister)
    (stored,) = candid.decode((interface_types.STORED_CHUNKS,), reply)
    assert isinstance(stored, list)
    assert len(stored) == 2
    assert net.network.records.canisters.find(canister).canister.chunk_bytes == 2 * MIB  # type: ignore[union-attr]

    def install(who: Identity, target: Principal, digest: bytes) -> None:
        net.manage(
            who,
            "install_chunked_code",
            interface_types.INSTALL_CHUNKED,
            mode=("install", None),
            target_canister=target,
            store_canister=canister,
            chunk_hashes_list=[{"hash": each} for each in hashes],  # type: ignore[dict-item]
            wasm_module_hash=digest,
            arg=b"",
        )

    with pytest.raises(RejectedError, match="do not make up"):
        install(alice, canister, bytes(32))
    digest = hashlib.sha256(wasm).digest()
    other = net.create(bob)
    with pytest.raises(RejectedError, match="Only controllers"):
        install(bob, other, digest)
    install(alice, canister, digest)
    assert number(net.call(alice, canister, "add", argument(1))) == 1
    net.manage(alice, "clear_chunk_store", interface_types.CANISTER, canister_id=canister)
    with pytest.raises(RejectedError, match="was not found"):
        install(alice, net.create(alice), digest)


def test_a_chunk_named_again_and_again_makes_no_module_larger_than_the_largest(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_store, "MAX_CHUNKS", 3)
    canister, chunk = net.create(alice), bytes(MIB)
    net.manage(
        alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=chunk
    )
    for times, words in ((3, "do not make up"), (4, f"more than {3 * MIB} bytes")):
        with pytest.raises(RejectedError, match=words):
            net.manage(
                alice,
                "install_chunked_code",
                interface_types.INSTALL_CHUNKED,
                mode=("install", None),
                target_canister=canister,
                store_canister=None,
                chunk_hashes_list=[{"hash": chunk_store.digest(chunk)}] * times,
                wasm_module_hash=bytes(32),
                arg=b"",
            )


def test_a_chunk_of_more_than_a_mebibyte_is_rejected(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    with pytest.raises(RejectedError, match="exceeds the maximum chunk size of 1048576"):
        net.manage(
            alice,
            "upload_chunk",
            interface_types.UPLOAD_CHUNK,
            canister_id=canister,
            chunk=bytes(MIB + 1),
        )


def test_a_canister_is_stopped_before_it_is_deleted(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    folder = net.folder / "canisters" / canister.text
    with pytest.raises(RejectedError, match="must be stopped") as rejected:
        net.manage(alice, "delete_canister", interface_types.CANISTER, canister_id=canister)
    assert rejected.value.error_code == "IC0510"
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=canister)
    assert status(net, alice, canister)["status"] == ("stopped", None)
    net.manage(alice, "start_canister", interface_types.CANISTER, canister_id=canister)
    assert number(net.call(alice, canister, "add", argument(1))) == 1
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=canister)
    net.manage(alice, "delete_canister", interface_types.CANISTER, canister_id=canister)
    assert not folder.exists()
    with pytest.raises(RejectedError, match="not found"):
        net.query(alice, canister, "get")
    net.reopen()
    assert net.network.records.canisters.find(canister) is None


def test_the_log_is_shown_to_whom_it_is_allowed(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    arg = candid.encode((interface_types.CANISTER,), ({"canister_id": canister},))
    reply = net.query(alice, MANAGEMENT_CANISTER, "fetch_canister_logs", arg, effective=canister)
    lines = fields(interface_types.CANISTER_LOGS, reply)["canister_log_records"]
    assert isinstance(lines, list)
    assert [line["content"] for line in lines] == [b"added"]
    with pytest.raises(RejectedError, match="not allowed"):
        net.query(bob, MANAGEMENT_CANISTER, "fetch_canister_logs", arg, effective=canister)


def test_an_argument_that_is_none_is_refused(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    with pytest.raises(NotAdmittedError, match="argument of install_code"):
        net.call(alice, MANAGEMENT_CANISTER, "install_code", b"DIDL", effective=canister)


def test_anybody_may_make_cycles_out_of_nothing(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice, TC)
    net.manage(
        anonymous(),
        "provisional_top_up_canister",
        interface_types.TOP_UP,
        canister_id=canister,
        amount=5,
    )
    assert net.balance(canister) == TC + 5
