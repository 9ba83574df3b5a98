"""Small files are whole or not there."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datanode.errors import DiskFullError, UsageError
from datanode.files import disk_errors, make_private, replace_file


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskFullError) as caught:
        replace_file(path, b"new")
    assert caught.value.safe == "Nothing was replaced."
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fsync(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_a_matter_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        replace_file(tmp_path / "nowhere" / "file", b"new")
    with pytest.raises(UsageError, match="Is a directory"), disk_errors(tmp_path):
        tmp_path.read_bytes()


def test_system_without_posix_locks_is_told_in_plain_words() -> None:
    code = "import sys; sys.modules['fcntl'] = None; import datanode.files"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: datanode needs the file locks")


def test_private_files_are_made_narrowed_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    make_private(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"kept")
    path.chmod(0o644)
    make_private(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b"kept"
    with pytest.raises(OSError, match="No such file"):
        make_private(tmp_path / "nowhere" / "secret")
