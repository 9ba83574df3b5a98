import gzip
import hashlib
import os
import threading
from pathlib import Path

import pytest

from datanode.errors import DiskFullError, LocalNetworkError
from datanode.localnet.machine import stable
from datanode.localnet.machine.machine import Machine
from datanode.localnet.machine.undo import UndoLog
from tests.datanode.localnet.wasm_canisters import (
    COUNTER,
    ENVIRONMENT,
    SPREAD,
    build,
    counts,
    machine,
)

UPDATE_LIMIT = 40_000_000_000


def state(folder: Path) -> dict[str, bytes]:
    """Read the files that hold a canister's state."""
    found = (folder / "canister").iterdir()
    return {path.name: path.read_bytes() for path in found if path.name != "undo.log"}


def test_an_update_changes_heap_globals_and_stable_memory(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        for sequence in range(2, 5):
            done = made.update("increment", b"", ENVIRONMENT, sequence=sequence)
            made.commit()
        assert counts(done) == counts(made.query("read", b"", ENVIRONMENT)) == {3}


def test_a_query_changes_nothing(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        before = state(tmp_path)
        assert counts(made.query("sneak", b"", ENVIRONMENT)) == {1}
        assert counts(made.query("sneak", b"", ENVIRONMENT)) == {1}
        assert state(tmp_path) == before


def test_a_query_method_called_as_an_update_keeps_nothing(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        assert counts(made.update("sneak", b"", ENVIRONMENT, sequence=2)) == {1}
        made.commit()
        assert counts(made.query("read", b"", ENVIRONMENT)) == {0}


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("trap_after", "IC0502", "Canister trapped: unreachable"),
        ("grow_and_trap", "IC0502", "Canister trapped: unreachable"),
        ("wild", "IC0502", "Canister trapped: heap out of bounds"),
        ("far", "IC0502", "Canister trapped: stable memory out of bounds"),
        ("say", "IC0503", "Canister called `ic0.trap` with message: 'oop'"),
        ("nothing", "IC0536", "Canister has no update method 'nothing'"),
    ],
)
def test_a_message_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, method: str, code: str, words: str
) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        before = state(tmp_path)
        for sequence in (3, 4):
            done = made.update(method, b"", ENVIRONMENT, sequence=sequence)
            made.commit()
            assert done.reply is None
            assert done.reject is not None
            assert (done.reject.code, done.reject.error_code) == (5, code)
            assert words in done.reject.message
        assert state(tmp_path) == before
        assert counts(made.query("read", b"", ENVIRONMENT)) == {1}
        assert (made.stable_bytes, made.heap_bytes) == (4 * 65536, 2 * 65536)
        assert counts(made.update("increment", b"", ENVIRONMENT, sequence=5)) == {2}


def test_a_message_that_runs_into_its_limit_pays_all_of_it_and_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datanode.localnet.machine.execution import MessageKind

    limit = 10_000_000
    assert MessageKind.UPDATE.limit == UPDATE_LIMIT
    monkeypatch.setattr(MessageKind.UPDATE, "limit", limit)
    with machine(tmp_path, COUNTER) as made:
        done = made.update("forever", b"", ENVIRONMENT, sequence=2)
        assert done.instructions == limit
        assert done.reject is not None
        assert done.reject.error_code == "IC0522"
        assert f"exceeded the limit of {limit} instructions" in done.reject.message
        assert counts(made.query("read", b"", ENVIRONMENT)) == {0}


def test_each_kind_of_message_has_the_limit_of_the_ic() -> None:
    from datanode.localnet.machine.execution import MessageKind

    assert MessageKind.UPDATE.limit == MessageKind.REPLICATED_QUERY.limit == UPDATE_LIMIT
    assert MessageKind.QUERY.limit == 5_000_000_000
    assert (
        MessageKind.INIT.limit
        == MessageKind.START.limit
        == MessageKind.PRE_UPGRADE.limit
        == 300_000_000_000
    )
    assert MessageKind.INSPECT.limit == 200_000_000


def test_a_reject_by_the_canister_keeps_its_changes(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        done = made.update("refuse", b"", ENVIRONMENT, sequence=2)
        made.commit()
        assert done.reject is not None
        assert (done.reject.code, done.reject.error_code) == (4, "IC0406")
        assert done.reject.message == "oop"
        assert counts(made.query("read", b"", ENVIRONMENT)) == {0, 1}


def test_a_message_without_a_reply_is_an_error_and_keeps_its_changes(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        done = made.update("silent", b"", ENVIRONMENT, sequence=2)
        made.commit()
        assert done.reject is not None
        assert done.reject.error_code == "IC0506"
        assert "did not reply to the call" in done.reject.message
        assert counts(made.query("read", b"", ENVIRONMENT)) == {0, 1}


def test_growth_is_kept_and_survives_a_restart(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("grow", b"", ENVIRONMENT, sequence=2)
        made.commit()
        assert (made.stable_bytes, made.heap_bytes) == (12 * 65536, 5 * 65536)
    with machine(tmp_path, committed=2) as again:
        assert (again.stable_bytes, again.heap_bytes) == (12 * 65536, 5 * 65536)
        assert counts(again.query("read", b"", ENVIRONMENT)) == {1}


def test_rolling_back_a_prepared_message_restores_the_state(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        before = state(tmp_path)
        for method in ("increment", "grow"):
            assert counts(made.update(method, b"", ENVIRONMENT, sequence=3)) >= {2}
            made.rollback()
            assert state(tmp_path) == before
            assert counts(made.query("read", b"", ENVIRONMENT)) == {1}


@pytest.mark.parametrize("method", ["increment", "grow"])
@pytest.mark.parametrize(("committed", "expected"), [(2, 1), (3, 2), (9, 2)])
def test_recovery_keeps_a_prepared_message_exactly_when_it_was_committed(
    tmp_path: Path, method: str, committed: int, expected: int
) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        made.update(method, b"", ENVIRONMENT, sequence=3)
    with machine(tmp_path, committed=committed) as again:
        assert counts(again.query("read", b"", ENVIRONMENT)) == {expected}


def test_a_machine_with_an_unsettled_message_asks_to_be_recovered(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
    again = Machine(tmp_path / "canister", module_cache=tmp_path.parent / "cache")
    with pytest.raises(LocalNetworkError, match="not settled"):
        again.query("read", b"", ENVIRONMENT)
    again.close()


def test_a_second_message_waits_for_the_first_to_be_settled(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        with pytest.raises(LocalNetworkError, match="neither committed nor rolled back"):
            made.update("increment", b"", ENVIRONMENT, sequence=3)


def test_reinstalling_empties_heap_and_stable_memory(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("grow", b"", ENVIRONMENT, sequence=2)
        made.commit()
        made.install(COUNTER, b"", ENVIRONMENT, sequence=3)
        made.rollback()
        assert counts(made.query("read", b"", ENVIRONMENT)) == {1}
        made.install(COUNTER, b"", ENVIRONMENT, sequence=3)
        made.commit()
        assert counts(made.query("read", b"", ENVIRONMENT)) == {0}
        assert made.stable_bytes == 4 * 65536
        assert len(state(tmp_path)) == 4


UPGRADED = build(
    """(memory 1) (global $started (mut i32) (i32.const 0))
    (func $start (global.set $started (i32.const 1))) (start $start)
    (func (export "canister_post_upgrade")
      (call $stable64_read (i64.const 0) (i64.const 0) (i64.const 8))
      (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 100)))
      (call $msg_arg_data_copy (i32.const 8) (i32.const 0) (call $msg_arg_data_size))
      (call $stable64_write (i64.const 0) (i64.const 0) (i64.const 8))
      (if (i32.load8_u (i32.const 8)) (then unreachable)))
    (func (export "canister_query read")
      (i64.store (i32.const 8) (i64.extend_i32_u (global.get $started)))
      (call $msg_reply_data_append (i32.const 0) (i32.const 16)) (call $msg_reply))""",
    *("stable64_read", "stable64_write", "msg_arg_data_copy", "msg_arg_data_size"),
    *("msg_reply", "msg_reply_data_append"),
)


def test_an_upgrade_keeps_stable_memory_and_starts_a_new_heap(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=3)
        made.commit()
        assert made.query("read", b"", ENVIRONMENT).reply == b"\x65" + bytes(7) + b"\1" + bytes(7)
    with machine(tmp_path, committed=3) as again:
        assert again.query("read", b"", ENVIRONMENT).reply == b"\x65" + bytes(7) + b"\1" + bytes(7)
        assert len(state(tmp_path)) == 4


def test_pre_upgrade_runs_in_the_old_module_unless_it_is_skipped(tmp_path: Path) -> None:
    old = build(
        """(memory 1) (func (export "canister_init") (drop (call $stable64_grow (i64.const 1))))
        (func (export "canister_update add")
          (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 5)))
          (call $msg_reply))
        (func (export "canister_pre_upgrade")
          (call $stable64_write (i64.const 0) (i64.const 0) (i64.const 8)))""",
        *("stable64_grow", "stable64_write", "msg_reply"),
    )
    for skip, expected in ((True, 100), (False, 105)):
        with machine(tmp_path / str(skip), old) as made:
            made.update("add", b"", ENVIRONMENT, sequence=2)
            made.commit()
            made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=3, skip_pre_upgrade=skip)
            made.commit()
            assert max(counts(made.query("read", b"", ENVIRONMENT))) == expected


def test_a_pre_upgrade_that_traps_leaves_the_old_canister(tmp_path: Path) -> None:
    old = build(
        """(memory 1) (func (export "canister_init") (drop (call $stable64_grow (i64.const 1))))
        (func (export "canister_pre_upgrade")
          (i64.store (i32.const 0) (i64.const 5))
          (call $stable64_write (i64.const 0) (i64.const 0) (i64.const 8)) unreachable)""",
        *("stable64_grow", "stable64_write"),
    )
    with machine(tmp_path, old) as made:
        before = state(tmp_path)
        refused = made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=3).reject
        assert refused is not None
        assert refused.error_code == "IC0502"
        assert state(tmp_path) == before


def test_an_upgrade_that_fails_or_is_rolled_back_leaves_the_old_canister(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        before = state(tmp_path)
        failed = made.upgrade(UPGRADED, b"\1", ENVIRONMENT, sequence=3)
        assert failed.reject is not None
        assert failed.reject.error_code == "IC0502"
        assert state(tmp_path) == before
        assert made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=4).reject is None
        made.rollback()
        assert state(tmp_path) == before
        assert counts(made.update("increment", b"", ENVIRONMENT, sequence=5)) == {2}


@pytest.mark.parametrize("change", ["install", "upgrade"])
@pytest.mark.parametrize(("committed", "is_new"), [(2, False), (3, True)])
def test_recovery_settles_a_change_of_code(
    tmp_path: Path, change: str, committed: int, *, is_new: bool
) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        before = state(tmp_path)
        if change == "install":
            made.install(COUNTER, b"", ENVIRONMENT, sequence=3)
        else:
            made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=3)
    with machine(tmp_path, committed=committed) as again:
        assert (state(tmp_path) == before) is not is_new
        assert len(state(tmp_path)) == 4
        assert again.query("read", b"", ENVIRONMENT).reject is None


def test_uninstalling_removes_everything_and_can_be_rolled_back(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.uninstall(sequence=2)
        made.rollback()
        assert made.query("read", b"", ENVIRONMENT).reject is None
        made.uninstall(sequence=3)
        made.commit()
        refused = made.query("read", b"", ENVIRONMENT).reject
        assert refused is not None
        assert refused.error_code == "IC0537"
        assert (made.module_hash, made.stable_bytes, made.heap_bytes) == (None, 0, 0)
        assert made.metadata("anything") is None
        assert sorted(state(tmp_path)) == ["head.bin", "heap-2.bin", "stable-2.bin"]


def test_an_installation_whose_init_fails_leaves_no_module(tmp_path: Path) -> None:
    wasm = build('(memory 1) (func (export "canister_init") unreachable)')
    with machine(tmp_path) as made:
        refused = made.install(wasm, b"", ENVIRONMENT, sequence=1).reject
        assert refused is not None
        assert refused.error_code == "IC0502"
        assert made.module_hash is None
        assert sorted(state(tmp_path)) == ["head.bin", "heap-0.bin", "stable-0.bin"]


def test_an_installation_pays_for_compiling_and_for_its_code(tmp_path: Path) -> None:
    wasm = build('(func (export "canister_init") (nop) (nop))')
    with machine(tmp_path) as made:
        done = made.install(wasm, b"", ENVIRONMENT, sequence=1)
    init, counting = 3, 4 + 6
    helper, counter = 12, 2
    assert done.instructions == 6_000 * (init + counting + helper + counter) + 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('(import "ic0" "not_there" (func))', "function 'not_there' from 'ic0'"),
        ('(import "env" "abort" (func))', "function 'abort' from 'env'"),
        ('(import "ic0" "time" (func (result i32)))', "invalid function signature"),
        ('(import "ic0" "memory" (memory 1))', "which is not a function"),
        ('(func (export "canister_update x") (param i32))', "for 'canister_update x'"),
        (
            '(func (export "canister_update x")) (func (export "canister_query x"))',
            "Duplicate function 'x'",
        ),
        ('(func (export "canister_heartbeat"))', "runs no heartbeats"),
    ],
)
def test_a_module_that_the_ic_would_not_install_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    with machine(tmp_path) as made:
        refused = made.install(build(text), b"", ENVIRONMENT, sequence=1).reject
        assert refused is not None
        assert (refused.code, refused.error_code) == (5, "IC0505")
        assert words in refused.message
        assert made.module_hash is None


@pytest.mark.parametrize(
    "junk",
    [b"", b"\0asm", b"\0asm\1\0\0\0\xff", b"\x1f\x8bjunk", gzip.compress(b"no module", mtime=0)],
)
def test_bytes_that_are_no_module_are_refused(tmp_path: Path, junk: bytes) -> None:
    with machine(tmp_path) as made:
        refused = made.install(junk, b"", ENVIRONMENT, sequence=1).reject
        assert refused is not None
        assert refused.error_code == "IC0505"


def test_relaxed_simd_is_refused(tmp_path: Path) -> None:
    wasm = build(
        """(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))"""
    )
    with machine(tmp_path) as made:
        refused = made.install(wasm, b"", ENVIRONMENT, sequence=1).reject
        assert refused is not None
        assert "relaxed" in refused.message


def test_the_module_hash_is_over_the_bytes_as_given(tmp_path: Path) -> None:
    packed = gzip.compress(COUNTER, mtime=0)
    with machine(tmp_path, packed) as made:
        assert made.module_hash == hashlib.sha256(packed).digest()
        assert counts(made.query("read", b"", ENVIRONMENT)) == {0}


def test_metadata_sections_are_read_with_their_visibility(tmp_path: Path) -> None:
    public = b"\0\x1eicp:public candid:service"
    sections = b"".join(
        bytes([0, 1 + len(name) + len(body), len(name)]) + name + body
        for name, body in (
            (b"icp:public candid:service", b"service : {}"),
            (b"icp:private secret", b"plan"),
            (b"name", b""),
        )
    )
    assert public[2:].startswith(b"icp:public")
    with machine(tmp_path, gzip.compress(COUNTER + sections)) as made:
        assert made.metadata("candid:service") == ("public", b"service : {}")
        assert made.metadata("secret") == ("private", b"plan")
        assert made.metadata_names() == ("candid:service", "secret")
        assert made.metadata("name") is None


def test_inspect_message_decides_whether_a_message_enters(tmp_path: Path) -> None:
    wasm = build(
        """(memory 1) (func (export "canister_inspect_message")
          (call $msg_method_name_copy (i32.const 0) (i32.const 0) (i32.const 2))
          (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 116)) (then unreachable))
          (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 121)) (then (call $accept_message))))
        """,
        *("msg_method_name_copy", "accept_message"),
    )
    with machine(tmp_path, wasm) as made:
        yes, no, trap = (made.inspect(each, b"", ENVIRONMENT) for each in ("ye", "no", "tr"))
        assert (yes.accepted, yes.reject) == (True, None)
        assert not no.accepted
        assert no.reject is not None
        assert no.reject.error_code == "IC0406"
        assert not trap.accepted
        assert trap.reject is not None
        assert trap.reject.error_code == "IC0502"
    with machine(tmp_path / "other", COUNTER) as made:
        assert made.inspect("anything", b"", ENVIRONMENT).accepted


def test_segments_are_fresh_for_each_message(tmp_path: Path) -> None:
    wasm = build(
        """(memory 1) (data $d "x")
        (func (export "canister_update m")
          (i32.store (i32.const 8) (i32.const 1))
          (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)
          (i32.store (i32.const 12) (i32.add (i32.load (i32.const 12)) (i32.const 1)))
          (call $msg_reply_data_append (i32.const 8) (i32.const 8)) (call $msg_reply))""",
        *("msg_reply", "msg_reply_data_append"),
    )
    with machine(tmp_path, wasm) as made:
        for turn in (1, 2, 3):
            done = made.update("m", b"", ENVIRONMENT, sequence=1 + turn)
            made.commit()
            assert done.reply == b"\1\0\0\0" + bytes([turn, 0, 0, 0])


def test_globals_of_every_type_are_kept(tmp_path: Path) -> None:
    wasm = build(
        """(memory 1) (global $i (mut i32) (i32.const 0)) (global $l (mut i64) (i64.const 0))
        (global $f (mut f32) (f32.const 0)) (global $d (mut f64) (f64.const 0))
        (global $v (mut v128) (v128.const i64x2 0 0))
        (func (export "canister_update set")
          (global.set $i (i32.const -1)) (global.set $l (i64.const -2))
          (global.set $f (f32.const 1.5)) (global.set $d (f64.const -2.5))
          (global.set $v (v128.const i64x2 3 4)) (call $msg_reply))
        (func (export "canister_query get")
          (i32.store (i32.const 0) (global.get $i)) (i64.store (i32.const 4) (global.get $l))
          (f32.store (i32.const 12) (global.get $f)) (f64.store (i32.const 16) (global.get $d))
          (v128.store (i32.const 24) (global.get $v))
          (call $msg_reply_data_append (i32.const 0) (i32.const 40)) (call $msg_reply))""",
        *("msg_reply", "msg_reply_data_append"),
    )
    with machine(tmp_path, wasm) as made:
        made.update("set", b"", ENVIRONMENT, sequence=2)
        made.commit()
        kept = made.query("get", b"", ENVIRONMENT).reply
        assert kept is not None
        assert kept[24:] == b"\3" + bytes(7) + b"\4" + bytes(7)
    with machine(tmp_path, committed=2) as again:
        assert again.query("get", b"", ENVIRONMENT).reply == kept


def test_debug_prints_and_traps_are_logged(tmp_path: Path) -> None:
    wasm = build(
        """(memory 1) (data (i32.const 0) "hello")
        (func (export "canister_update m") (call $debug_print (i32.const 0) (i32.const 5))
          unreachable)""",
        "debug_print",
    )
    with machine(tmp_path, wasm) as made:
        done = made.update("m", b"", ENVIRONMENT, sequence=2)
        assert done.logs == ("hello", "[TRAP]: Canister trapped: unreachable")


def test_a_stored_byte_can_be_found_and_corrupted(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        assert made.find_stable(b"\1\0\0\0\0\0\0\0") == 0
        assert made.find_stable(b"never there") is None
        made.corrupt_stable(100_000, 0x80)
        assert counts(made.query("read", b"", ENVIRONMENT)) == {1, 0x81}
        with pytest.raises(LocalNetworkError, match="no byte at"):
            made.corrupt_stable(4 * 65536, 1)


def full(*_arguments: object) -> int:
    raise OSError(28, os.strerror(28))


def fails(*_arguments: object, **_options: object) -> int:
    raise OSError(5, "the disk fails")


def test_a_full_disk_refuses_the_update_and_keeps_answering_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        before = state(tmp_path)
        for place in ("datanode.localnet.machine.stable", "datanode.localnet.machine.heap"):
            with monkeypatch.context() as patch:
                patch.setattr(f"{place}.write_all", full)
                with pytest.raises(DiskFullError):
                    made.update("increment", b"", ENVIRONMENT, sequence=3)
            assert state(tmp_path) == before
            assert counts(made.query("read", b"", ENVIRONMENT)) == {1}
        with monkeypatch.context() as patch:
            patch.setattr(UndoLog, "save", full)
            with pytest.raises(DiskFullError):
                made.update("increment", b"", ENVIRONMENT, sequence=3)
        assert counts(made.update("increment", b"", ENVIRONMENT, sequence=3)) == {2}


def test_what_could_not_be_undone_is_undone_before_the_next_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        before = state(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("datanode.localnet.machine.heap.write_all", full)
            patch.setattr(UndoLog, "replay", fails)
            with pytest.raises(DiskFullError) as raised:
                made.update("increment", b"", ENVIRONMENT, sequence=3)
        cause = raised.value.__cause__
        assert cause is not None
        assert "the disk fails" in cause.__notes__[0]
        assert state(tmp_path) != before
        assert counts(made.query("read", b"", ENVIRONMENT)) == {1}
        assert state(tmp_path) == before


def test_a_message_that_could_not_be_rolled_back_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        made.update("increment", b"", ENVIRONMENT, sequence=3)
        with monkeypatch.context() as patch:
            patch.setattr(UndoLog, "replay", fails)
            with pytest.raises(OSError, match="the disk fails"):
                made.rollback()
        made.commit()
        assert counts(made.update("increment", b"", ENVIRONMENT, sequence=3)) == {2}
        made.commit()
    with machine(tmp_path, committed=3) as again:
        assert counts(again.query("read", b"", ENVIRONMENT)) == {2}


def test_machines_run_in_threads_of_their_own(tmp_path: Path) -> None:
    finished: list[set[int]] = []

    def work(name: str) -> None:
        with machine(tmp_path / name, COUNTER) as made:
            for sequence in range(2, 60):
                made.update("increment", b"", ENVIRONMENT, sequence=sequence)
                made.commit()
                trapped = made.update("say", b"", ENVIRONMENT, sequence=sequence)
                assert trapped.reject is not None
                assert trapped.reject.error_code == "IC0503"
                wild = made.update("wild", b"", ENVIRONMENT, sequence=sequence)
                assert wild.reject is not None
                assert wild.reject.error_code == "IC0502"
            finished.append(counts(made.query("read", b"", ENVIRONMENT)))

    threads = [threading.Thread(target=work, args=(str(each),)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert finished == [{58}] * 4


def test_a_stable_memory_of_many_gigabytes_takes_no_room(tmp_path: Path) -> None:
    with machine(tmp_path, SPREAD) as made:
        assert made.update("m", b"", ENVIRONMENT, sequence=2).reject is None
        made.commit()
        assert made.stable_bytes == 1638400 * stable.WASM_PAGE_BYTES
        (path,) = (tmp_path / "canister").glob("stable-*.bin")
        assert path.stat().st_blocks * 512 < 100_000


def test_endless_recursion_is_a_stack_overflow(tmp_path: Path) -> None:
    wasm = build('(func $f (export "canister_update m") (call $f))')
    with machine(tmp_path, wasm) as made:
        refused = made.update("m", b"", ENVIRONMENT, sequence=2).reject
        assert refused is not None
        assert "Canister trapped: stack overflow" in refused.message


def test_a_division_by_zero_is_a_trap_in_the_ics_words(tmp_path: Path) -> None:
    wasm = build(
        '(func (export "canister_update m") (drop (i32.div_u (i32.const 1) (i32.const 0))))'
    )
    with machine(tmp_path, wasm) as made:
        refused = made.update("m", b"", ENVIRONMENT, sequence=2).reject
        assert refused is not None
        assert "Canister trapped: integer division by 0" in refused.message
