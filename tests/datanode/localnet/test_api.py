"""The testing API: network, handles and fixtures."""

import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from datanode.agent.candid import Nat64, Text
from datanode.errors import FormatError, LocalNetworkError, UsageError
from datanode.localnet import api, process
from datanode.localnet.api import CanisterHandle, LocalNetwork, RejectError
from datanode.localnet.handle import MAX_MESSAGE_BYTES
from datanode.units import TC
from tests.datanode.localnet.gateway.test_persistence import counter as persistent_counter
from tests.fakes.counter import counter_wasm
from tests.fakes.ledger_judge import messages

ROOT = Path(__file__).parents[3]
COUNTER = Path(__file__).parent / "example" / "counter.wat"
README = ROOT / "datanode" / "localnet" / "README.md"


@pytest.fixture
def counter(shared_localnet: LocalNetwork) -> CanisterHandle:
    return shared_localnet.create_canister(COUNTER, cycles=5 * TC)


def test_temporary_network_removes_its_folder() -> None:
    with LocalNetwork() as net:
        folder = net.directory
        assert (folder / "network.db").exists()
        net.stop()
        net.start()
    assert not folder.exists()
    with pytest.raises(LocalNetworkError, match="not running"):
        net.create_canister()


def test_failed_stop_keeps_first_error_and_removes_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stubborn(_folder: Path) -> bool:
        raise LocalNetworkError("it does not end")

    net = LocalNetwork()

    def test_of_somebody() -> None:
        with net:
            patch.setattr(process, "stop", stubborn)
            raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError) as raised:
        test_of_somebody()
    assert "it does not end" in raised.value.__notes__[0]
    assert not net.directory.exists()
    net.kill()


def test_failed_start_removes_folder() -> None:
    net = LocalNetwork(fees="barter")
    with pytest.raises(UsageError), net:
        pass
    assert not net.directory.exists()


def test_temporary_network_ends_with_its_program() -> None:
    code = (
        "import sys, time\n"
        "from datanode.localnet.api import LocalNetwork\n"
        "with LocalNetwork() as net:\n"
        "    print(net.directory, flush=True)\n"
        "    time.sleep(600)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    folder = Path(program.stdout.readline().strip())
    try:
        assert process.status(folder) is not None
        program.kill()
        program.communicate()
        deadline_s = time.monotonic() + 60
        while process.status(folder) is not None and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert process.status(folder) is None
    finally:
        process.reset(folder)


def test_identity_follows_from_its_name(shared_localnet: LocalNetwork, tmp_path: Path) -> None:
    elsewhere = LocalNetwork(tmp_path)
    alice = shared_localnet.identity("alice")
    assert alice.principal == elsewhere.identity("alice").principal
    assert alice.principal != shared_localnet.identity("bob").principal
    assert alice.principal.text == "satmn-lol4w-t2osq-k2mb2-vsozk-rrial-3lwud-qukzn-c3dzc-e6hy4-gae"


def test_calls_canister_as_another_identity(
    shared_localnet: LocalNetwork, counter: CanisterHandle
) -> None:
    bob = counter.using(shared_localnet.identity("bob"))
    assert bob.id == counter.id
    assert bob.update("add", (Nat64, 1), returns=Nat64) == 1
    assert messages(counter.ledger())[-1].sender == bob.identity.principal
    again = shared_localnet.canister(counter.id.text)
    assert again.query("get", returns=Nat64) == 1


def test_takes_and_returns_encoded_bytes(counter: CanisterHandle) -> None:
    five = b"DIDL\0\x01\x78" + (5).to_bytes(8, "little")
    assert counter.update("add", five) == five
    with pytest.raises(UsageError, match="bytes"):
        counter.update("add", five, (Nat64, 1))


def test_rejection_has_code_and_message_of_replica(counter: CanisterHandle) -> None:
    with pytest.raises(RejectError) as rejected:
        counter.query("nothing")
    assert (rejected.value.code, rejected.value.error_code) == (5, "IC0536")
    assert "has no query method 'nothing'" in rejected.value.message


def test_stops_starts_and_deletes_canister(counter: CanisterHandle) -> None:
    counter.stop()
    assert counter.status().status == "stopped"
    with pytest.raises(RejectError, match="IC0508"):
        counter.update("add", (Nat64, 1))
    counter.start()
    assert counter.status().status == "running"
    counter.stop()
    counter.delete()
    with pytest.raises(RejectError, match="not found"):
        counter.query("get")


def test_creates_canister_with_given_controllers(shared_localnet: LocalNetwork) -> None:
    bob = shared_localnet.identity("bob")
    canister = shared_localnet.create_canister(COUNTER, controllers=[bob.principal])
    assert canister.using(bob).status().controllers == (bob.principal,)
    with pytest.raises(RejectError):
        canister.status()


def test_installs_code_in_empty_canister(shared_localnet: LocalNetwork) -> None:
    canister = shared_localnet.create_canister(cycles=2 * TC)
    assert canister.status().module_hash is None
    assert canister.balance_cycles == 2 * TC
    canister.top_up(TC)
    canister.install(COUNTER)
    canister.update_settings(freezing_threshold=0)
    assert canister.status().freezing_threshold_s == 0
    assert 2 * TC < canister.balance_cycles < 3 * TC


def test_installs_large_module_in_chunks(shared_localnet: LocalNetwork) -> None:
    small = COUNTER.read_text().rpartition(")")[0]
    text = "x" * MAX_MESSAGE_BYTES
    wasm = shared_localnet.directory / "large.wat"
    wasm.write_text(f'{small} (data $text "{text}"))')
    canister = shared_localnet.create_canister(wasm)
    assert canister.update("add", (Nat64, 1), returns=Nat64) == 1
    assert "install_chunked_code" in [each.method for each in canister.ledger()]


def test_refuses_invalid_module_before_sending(counter: CanisterHandle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        counter.upgrade(tmp_path / "missing.wasm")
    (tmp_path / "wrong.wat").write_text("(module")
    with pytest.raises(UsageError, match="no WebAssembly text"):
        counter.upgrade(tmp_path / "wrong.wat")


def test_replaces_and_deletes_snapshot(counter: CanisterHandle) -> None:
    counter.update("add", (Nat64, 1))
    counter.stop()
    first = counter.take_snapshot()
    second = counter.take_snapshot(replace=first)
    with pytest.raises(RejectError):
        counter.load_snapshot(first)
    counter.load_snapshot(second)
    counter.delete_snapshot(second)
    with pytest.raises(RejectError):
        counter.load_snapshot(second)


def _run(example: str, names: dict[str, object]) -> None:
    exec(compile(textwrap.dedent(example), "example", "exec"), names)  # noqa: S102 - our own text


def test_docstring_example_runs() -> None:
    assert api.__doc__ is not None
    example = api.__doc__.split("::\n", 1)[1].split("\n`README.md`", 1)[0]
    names: dict[str, object] = {"wasm": COUNTER}
    _run(example, names)
    assert dict(names["paid"]).keys() >= {"ingress", "execution"}  # type: ignore[call-overload]


def test_readme_examples_run(
    shared_localnet: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(COUNTER.parent)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        _run(block, names)
    test = names["test_a_counter_adds"]
    assert callable(test)
    test(shared_localnet)


def test_readme_lists_public_methods() -> None:
    text = README.read_text().split("## In a program")[1].split("## The ledger")[0]
    network, handle = text.split("| on a canister's handle")
    for part, kind in (
        (network.split("| on the network")[1], LocalNetwork),
        (handle, CanisterHandle),
    ):
        named = set(re.findall(r"^\| (.*?) \|", part, re.MULTILINE))
        words = {word for cell in named for word in re.findall(r"`(\w+)", cell)}
        assert words
        assert not [word for word in words if not hasattr(kind, word)]
        public = {name for name in vars(kind) if not name.startswith("_")}
        left = public - words - {"id", "identity", "find", "flip", "canisters", "close", "time"}
        assert left <= {"owner", "subnet"}


def test_fixtures_import_server_on_first_use() -> None:
    code = (
        "import sys, datanode.localnet.fixtures\n"
        "heavy = {'wasmtime', 'ic', 'httpcore', 'uvicorn', 'py_arkworks_bls12381'}\n"
        "heavy |= {'datanode.localnet.api'}\n"
        "sys.exit(sorted(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_client_imports_nothing_of_server() -> None:
    code = (
        "import sys, datanode.localnet.api\n"
        "heavy = {'wasmtime', 'numpy', 'uvicorn', 'uvloop', 'jinja2'}\n"
        "rooms = {f'datanode.localnet.{name}' for name in (\n"
        "    'serving', 'gateway', 'replica', 'execution', 'machine')}\n"
        "sys.exit(sorted((heavy | rooms) & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_accepts_paths_as_str(tmp_path: Path) -> None:
    with LocalNetwork(str(tmp_path / "net")) as net:
        counter = net.create_canister(str(COUNTER))
        counter.upgrade(str(COUNTER))
        assert net.directory == tmp_path / "net"
        with pytest.raises(UsageError, match="cannot read the module"):
            counter.reinstall(str(tmp_path / "missing.wasm"))


def test_upgrade_keeps_or_replaces_heap(shared_localnet: LocalNetwork) -> None:
    module = persistent_counter(asks=True)
    counter = shared_localnet.create_canister(module)
    counter.update("add")
    counter.upgrade(module, wasm_memory_persistence="keep")
    assert counter.query("get")[0] == 101
    counter.upgrade(module, wasm_memory_persistence="replace", skip_pre_upgrade=True)
    assert counter.query("get")[0] == 100
    with pytest.raises(RejectError, match="Missing upgrade option"):
        counter.upgrade(module)
    with pytest.raises(UsageError, match="'keep' or 'replace'"):
        counter.upgrade(module, wasm_memory_persistence="forget")  # type: ignore[arg-type]


def test_attaches_to_running_network(tmp_path: Path) -> None:
    with LocalNetwork(tmp_path, port=0) as net:
        made = net.create_canister(COUNTER)
        with LocalNetwork(tmp_path).attached() as other:
            assert other.canister(made.id).query("get", returns=Nat64) == 0
        assert made.update("add", (Nat64, 2), returns=Nat64) == 2
    with (
        pytest.raises(LocalNetworkError, match="no network runs"),
        LocalNetwork(tmp_path).attached(),
    ):
        pass


def test_reply_mismatch_names_both_types(counter: CanisterHandle) -> None:
    with pytest.raises(FormatError, match="nat64 where text is expected"):
        counter.query("get", returns=Text)


def test_calls_in_textual_candid_by_file_or_by_module(shared_localnet: LocalNetwork) -> None:
    counter = shared_localnet.create_canister(COUNTER, "()", candid=COUNTER.with_suffix(".did"))
    assert counter.call("add", "(5)") == "(5 : nat64)"
    assert counter.update("add", "(2)", returns=Nat64) == 7
    assert counter.using(shared_localnet.identity("bob")).call("get") == "(7 : nat64)"
    assert [each.method for each in messages(counter.ledger())].count("get") == 0
    told = shared_localnet.create_canister(counter_wasm())
    assert told.call("add", "(1)") == "(1 : nat64)"
    with pytest.raises(UsageError, match=r"\(text\) where \(nat64\) is expected"):
        told.call("add", '("one")')
    with pytest.raises(UsageError, match="all arguments at once"):
        told.update("add", "(1)", (Nat64, 1))


def test_stranger_calls_without_private_interface(shared_localnet: LocalNetwork) -> None:
    counter = shared_localnet.create_canister(counter_wasm("private"))
    assert counter.call("add", "(1)") == "(1 : nat64)"
    stranger = counter.using(shared_localnet.identity("bob"))
    assert stranger.call("add", "(2 : nat64)") == "(3 : nat64)"
