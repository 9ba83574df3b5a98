"""Damaged databases, full disks, folders that cannot be written: nothing lost, nothing resent."""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.stage import User, checkpoint
from tests.fakes.ledger_judge import paid


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(4_096, len(content), 512):
        content[at] ^= 0xFF
    path.write_bytes(content)


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE holiday (photo BLOB)")
    connection.close()


DAMAGES: dict[str, tuple[Callable[[Path], object], int]] = {
    "truncated": (_truncate, 15),
    "flipped": (_flip, 15),
    "garbage": (lambda path: path.write_bytes(os.urandom(20_000)), 15),
    "of something else": (_foreign, 15),
    "newer": (_newer, 19),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_database_costs_reading_and_no_cycles(user: User, case: str) -> None:
    damage, code = DAMAGES[case]
    model = f"state-{case.replace(' ', '-')}"
    source = checkpoint(
        user.home / "m.safetensors", 700 + list(DAMAGES).index(case), tensors=3, size=1_500_000
    )
    user.fails(25, "upload", source, "--as", model, "--max-cycles", 7_000_000_000)
    for each in user.state.glob("*.db-*"):
        each.unlink()
    damage(user.database)
    before = paid(user.net.ledger())
    damaged = user.database.read_bytes()
    for command in (["upload", source, "--as", model], ["status"], ["cost"]):
        done = user.fails(code, *command)
        assert done.says(user.database.name), done.err
    assert user.run("doctor").code == 1
    if damage is not _foreign:  # SQLite notes its journal mode there
        assert user.database.read_bytes() == damaged, "it was left alone"
    assert user.run("models").code == 0, "reading needs no database"
    user.database.rename(user.state / "aside")
    assert user.ok("upload", source, "--as", model)["version"] == 1
    after = paid(user.net.ledger())
    assert after.twice_count == before.twice_count
    assert user.ok("audit", model)["verdict"] == "ok"


def test_resuming_from_an_empty_state_resends_nothing(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 710, tensors=6, size=1_500_000)
    user.fails(25, "upload", source, "--as", "moved", "--max-cycles", 16_000_000_000)
    before = paid(user.net.ledger())
    user.state.rename(user.home / "other machine")
    done = user.ok("upload", source, "--as", "moved")
    after = paid(user.net.ledger())
    assert done["known_bytes"] > 1_500_000
    assert after.twice_count == before.twice_count


@pytest.mark.parametrize("which", ["state", "config", "destination", "report"])
def test_a_file_where_a_folder_should_be_is_told(user: User, which: str) -> None:
    source = checkpoint(user.home / "m.safetensors", 720)
    user.ok("upload", source, "--as", "files")
    (user.home / "file").write_bytes(b"mine")
    match which:
        case "state":
            command = ["upload", source, "--as", "x", "--state", user.home / "file/state.db"]
        case "config":
            user.patch.setenv("XDG_CONFIG_HOME", str(user.home / "file"))
            command = ["node", "create", "x"]
        case "destination":
            command = ["fetch", "files", user.home / "file"]
        case _:
            command = ["audit", "files", "--report", user.home / "file" / "r.json"]
    done = user.fails(27 if which == "destination" else 2, *command)
    assert done.says("file"), done.err
    assert (user.home / "file").read_bytes() == b"mine"


def test_a_state_folder_that_is_a_file_is_told(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 721)
    user.ok("upload", source, "--as", "statefile")
    user.state.rename(user.home / "aside")
    user.state.write_bytes(b"")
    for command in (
        ["upload", source, "--as", "statefile"],
        ["status"],
        ["audit", "statefile"],
        ["fetch", "statefile", "out"],
        ["show", "statefile"],
    ):
        done = user.fails(2, *command)
        assert done.says("datanode"), (command, done.err)
    user.state.unlink()
    assert user.ok("upload", source, "--as", "statefile")["version"] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _fill(place: Path, leave: int) -> Path:
    room = os.statvfs(place)
    filler = place / "filler"
    filler.write_bytes(b"\0" * max(0, room.f_bavail * room.f_frsize - leave))
    return filler


@pytest.mark.parametrize("leave", [0, 40_000, 600_000])
def test_a_full_disk_under_the_state_loses_nothing(
    user: User, small_disk: Path, leave: int
) -> None:
    model = f"full{leave}"
    source = checkpoint(user.home / "m.safetensors", 730 + leave, tensors=4, size=1_200_000)
    user.patch.setenv("XDG_STATE_HOME", str(small_disk))
    before = paid(user.net.ledger())
    filler = _fill(small_disk, leave)
    done = user.fails(14, "upload", source, "--as", model)
    assert done.says("full", "free some space"), done.err
    filler.unlink()
    user.patch.setenv("XDG_STATE_HOME", str(user.home / "roomy"))
    (user.home / "roomy").mkdir()
    for each in small_disk.iterdir():
        subprocess.run(["cp", "-r", str(each), str(user.home / "roomy")], check=True)
    assert user.ok("upload", source, "--as", model)["version"] == 1
    assert paid(user.net.ledger()).twice_count == before.twice_count


def test_a_full_disk_under_the_destination_is_told(user: User, small_disk: Path) -> None:
    source = checkpoint(user.home / "m.safetensors", 740, tensors=2, size=1_500_000)
    user.ok("upload", source, "--as", "big")
    out = small_disk / "out"
    done = user.fails(14, "fetch", "big", out)
    assert done.says("space", "free some space"), done.err
    assert not (out / source.name).exists()
    filler = small_disk / "filler"
    subprocess.run(["rm", "-rf", str(out)], check=True)
    _fill(small_disk, 100)
    done = user.fails(14, "audit", "big", "--report", small_disk / "r.json")
    assert [each.name for each in small_disk.iterdir()] == ["filler"]
    done = user.fails(14, "fetch", "big", small_disk / "t", "--tensor", "layer.0")
    filler.unlink()
    user.ok("audit", "big", "--report", small_disk / "r.json")
    assert user.run("audit", "--verify", small_disk / "r.json").code == 0
    user.ok("fetch", "big", user.home / "out")
    assert (user.home / "out" / source.name).read_bytes() == source.read_bytes()


def test_a_full_disk_under_the_settings_is_told(user: User, small_disk: Path) -> None:
    user.patch.setenv("XDG_CONFIG_HOME", str(small_disk))
    filler = _fill(small_disk, 0)
    done = user.fails(14, "node", "create", "x")
    assert done.says("space"), done.err
    filler.unlink()
    user.ok("node", "create", "x")


def test_files_of_a_limited_size_are_a_full_disk(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 750, tensors=2, size=1_500_000)
    user.ok("upload", source, "--as", "limited")
    done = user.process("fetch", "limited", "out", limits="ulimit -f 1000")
    assert (done.code, "space" in done.err) == (14, True), done.err
    again = checkpoint(user.home / "n.safetensors", 751, tensors=2, size=1_500_000)
    done = user.process("upload", again, "--as", "limited2", limits="ulimit -f 1000")
    assert done.code == 14, done.err
    assert user.ok("upload", again, "--as", "limited2")["version"] == 1
