import gzip
from pathlib import Path

import pytest

from datanode.localnet.machine import engine, instrument
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
    assert len(list(tmp_path.glob("*.cwasm"))) == 4
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("suffix", ["cwasm", "json"])
def test_a_damaged_cache_entry_is_made_anew(tmp_path: Path, suffix: str) -> None:
    compiled(COUNTER, tmp_path)
    (path,) = tmp_path.glob(f"*.{suffix}")
    path.write_bytes(b"junk")
    compiled(COUNTER, tmp_path)
    assert path.read_bytes() != b"junk"


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert compiled(COUNTER, tmp_path / "file").facts.operators


def test_a_module_that_does_not_validate_is_refused_in_the_engines_words(tmp_path: Path) -> None:
    broken = COUNTER.replace(b"\x20\x00", b"\x20\x7f") + b"\x0a\x01\x00"
    with pytest.raises(WasmError, match="validate"):
        compiled(broken, tmp_path)
    assert not list(tmp_path.iterdir())
