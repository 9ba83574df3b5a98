"""datanode.record_file: a record comes back, or its file is refused and kept."""

from collections.abc import Callable
from pathlib import Path

import pytest

from datanode import record_file
from datanode.errors import StateDamagedError, UnsupportedVersionError, UsageError
from datanode.record_file import RecordFields

DAMAGED = StateDamagedError("the file is damaged")
FIELDS = {"count": 3, "ok": True, "name": "a", "none": None, "names": ["a", "b"], "rows": [{}]}


def read(path: Path, parse: Callable[[RecordFields], object] = lambda _: True) -> object:
    return record_file.read(path, parse, version=2, damaged=DAMAGED)


def test_fields_come_back(tmp_path: Path) -> None:
    path = tmp_path / "record"
    record_file.write(path, FIELDS, version=2)

    def parse(fields: RecordFields) -> tuple[object, ...]:
        texts = (fields.text("name"), fields.optional_text("none"), fields.texts("names"))
        rows = ["absent" in each for each in fields.records("rows")]
        return (fields.number("count"), fields.flag("ok"), *texts, rows)

    assert read(path, parse) == (3, True, "a", None, ["a", "b"], [False])


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read(tmp_path / "absent") is None
    (tmp_path / "file").touch()
    assert read(tmp_path / "file" / "below") is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 10**5, b"{}", b'{"v": "1"}', b'{"v": true}']
)
def test_damaged_file_is_refused_and_kept(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "record"
    path.write_bytes(data)
    with pytest.raises(StateDamagedError, match="is damaged"):
        read(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "parse",
    [
        lambda fields: fields.number("ok"),
        lambda fields: fields.number("name"),
        lambda fields: fields.flag("count"),
        lambda fields: fields.text("none"),
        lambda fields: fields.optional_text("absent"),
        lambda fields: fields.optional_text("count"),
        lambda fields: fields.texts("name"),
        lambda fields: fields.texts("rows"),
        lambda fields: fields.records("names"),
    ],
)
def test_field_of_another_type_is_damage(
    tmp_path: Path, parse: Callable[[RecordFields], object]
) -> None:
    path = tmp_path / "record"
    record_file.write(path, FIELDS, version=1)
    with pytest.raises(StateDamagedError):
        read(path, parse)


def test_newer_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record"
    record_file.write(path, {}, version=3)
    with pytest.raises(UnsupportedVersionError):
        read(path)


def test_longer_record_than_allowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record"
    record_file.write(path, FIELDS, version=1)
    assert read(path)
    monkeypatch.setattr(record_file, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(StateDamagedError):
        read(path)


def test_unreadable_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=tmp_path.name):
        read(tmp_path)
