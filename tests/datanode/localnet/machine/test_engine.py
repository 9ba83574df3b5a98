import functools
import gzip
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datanode.localnet.machine import engine, instrument, module_cache
from datanode.localnet.machine.engine import compiled
from datanode.localnet.machine.wasm_module import WasmError
from tests.datanode.localnet.wasm_canisters import COUNTER


def test_a_compiled_module_comes_from_the_cache_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compiled(COUNTER, tmp_path)

    def refuse(_given: bytes) -> None:
        raise AssertionError("compiled twice")

    monkeypatch.setattr(engine, "_compile", refuse)
    assert compiled(COUNTER, tmp_path).facts == first.facts


def test_the_cache_is_keyed_by_bytes_settings_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(COUNTER, tmp_path)
    compiled(gzip.compress(COUNTER), tmp_path)
    monkeypatch.setattr(instrument, "VERSION", 99)
    compiled(COUNTER, tmp_path)
    monkeypatch.setattr(engine, "SETTINGS", "others")
    compiled(COUNTER, tmp_path)
    assert len(list(tmp_path.glob("*.module"))) == 4
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("at", [0, 5, 20, 60, -1])
def test_an_entry_with_a_damaged_byte_is_made_anew(tmp_path: Path, at: int) -> None:
    compiled(COUNTER, tmp_path)
    (path,) = tmp_path.glob("*.module")
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[at] ^= 0x40
    path.write_bytes(damaged)
    compiled(COUNTER, tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("size", [0, 10, 39, 40, 1000])
def test_an_entry_that_is_cut_short_is_made_anew(tmp_path: Path, size: int) -> None:
    compiled(COUNTER, tmp_path)
    (path,) = tmp_path.glob("*.module")
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    compiled(COUNTER, tmp_path)
    assert path.read_bytes() == whole


def test_code_that_the_engine_refuses_is_made_anew(tmp_path: Path) -> None:
    compiled(COUNTER, tmp_path)
    (path,) = tmp_path.glob("*.module")
    whole = path.read_bytes()
    module_cache.keep(tmp_path, path.stem, b"{}", b"no code of this engine")
    compiled(COUNTER, tmp_path)
    assert path.read_bytes() == whole


def test_the_entries_used_longest_ago_give_way(tmp_path: Path) -> None:
    for number in range(4):
        module_cache.keep(tmp_path, str(number), b"", bytes(1_000), most_bytes=9_000)
        age_ns = (number + 1) * 10**9
        os.utime(tmp_path / f"{number}.module", ns=(age_ns, age_ns))
    assert module_cache.load(tmp_path, "0") == (b"", bytes(1_000))
    module_cache.keep(tmp_path, "4", b"", bytes(1_000), most_bytes=3_200)
    assert {path.name for path in tmp_path.iterdir()} == {"0.module", "3.module", "4.module"}


def test_what_a_killed_process_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    for name in ("old.part", "new.part"):
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / "old.part", (1, 1))
    module_cache.keep(tmp_path, "key", b"notes", b"code")
    assert {path.name for path in tmp_path.iterdir()} == {"new.part", "key.module"}


def test_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        found = pool.starmap(_operators, [(COUNTER, tmp_path)] * 12)
    assert set(found) == {compiled(COUNTER, tmp_path).facts.operators}
    assert [path.suffix for path in tmp_path.iterdir()] == [".module"]


def test_threads_that_ask_first_together_get_the_same_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow() -> object:
        time.sleep(0.02)
        return object()

    monkeypatch.setattr(engine, "_engine", functools.cache(slow))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: engine.engine(), range(8)))
    assert len(set(map(id, found))) == 1


def _operators(given: bytes, folder: Path) -> int:
    return compiled(given, folder).facts.operators


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert compiled(COUNTER, tmp_path / "file").facts.operators


def test_a_module_that_does_not_validate_is_refused_in_the_engines_words(tmp_path: Path) -> None:
    broken = COUNTER.replace(b"\x20\x00", b"\x20\x7f") + b"\x0a\x01\x00"
    with pytest.raises(WasmError, match="validate"):
        compiled(broken, tmp_path)
    assert not list(tmp_path.iterdir())
