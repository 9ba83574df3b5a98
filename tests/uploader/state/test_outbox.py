"""uploader.state.outbox: the identical bytes again, or nothing."""

import dataclasses
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.digest import frame_digest
from datanode.errors import DiskFullError, UsageError
from tests.uploader.state.facts import digest, message, record
from uploader.state.outbox import Outbox, OutboxMessage

ROOT = Path(__file__).parents[3]
MESSAGE = message(1)
DIGEST = frame_digest(MESSAGE.body)
RECORDS = (record(1), record(2))


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox" / "key")


def put_many(outbox: Outbox, count: int) -> None:
    for number in range(count):
        outbox.put(message(number), 1, [record(number)])


def test_what_is_put_is_loaded_until_it_is_dropped(outbox: Outbox) -> None:
    assert outbox.load(MESSAGE.request_id, DIGEST) is None
    outbox.put(MESSAGE, 2**64 - 1, RECORDS)
    outbox.put(MESSAGE, 2**64 - 1, RECORDS)
    assert outbox.load(MESSAGE.request_id, DIGEST) == MESSAGE.body
    outbox.drop(MESSAGE.request_id)
    outbox.drop(MESSAGE.request_id)
    assert outbox.load(MESSAGE.request_id, DIGEST) is None


def test_nobody_else_may_read_the_outbox(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put(MESSAGE, 2**64 - 1, RECORDS)
    assert (tmp_path / "outbox" / "key").stat().st_mode & 0o077 == 0


@given(st.data())
def test_a_torn_file_is_as_good_as_lost(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "torn"
    outbox = Outbox(folder)
    outbox.put(MESSAGE, 2**64 - 1, RECORDS)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    file.write_bytes(content)
    assert outbox.load(MESSAGE.request_id, DIGEST) is None
    for envelope in outbox.envelopes():
        assert at >= len(content) - len(MESSAGE.body) or at == len(content)
        assert envelope == OutboxMessage(
            message=dataclasses.replace(MESSAGE, body=b""), lease_id=2**64 - 1, records=RECORDS
        )


def test_envelopes_name_their_frames_without_a_database(outbox: Outbox, tmp_path: Path) -> None:
    assert list(outbox.envelopes()) == []
    outbox.put(MESSAGE, 2**64 - 1, RECORDS)
    outbox.put(message(2), 7, [])
    outbox.put(message(3), 7, RECORDS[:1])
    folder = tmp_path / "outbox" / "key"
    (folder / message(3).request_id.hex()).rename(folder / digest("other").hex())
    (folder / "notes.txt").write_text("mine")
    found = {each.message.request_id: each for each in outbox.envelopes()}
    assert found == {
        MESSAGE.request_id: OutboxMessage(message=MESSAGE, lease_id=2**64 - 1, records=RECORDS)
    }


def test_sweeping_keeps_open_messages_and_nothing_else(outbox: Outbox, tmp_path: Path) -> None:
    assert outbox.sweep(set()) == 0
    for number in range(4):
        outbox.put(message(number), 1, [record(number)])
    (tmp_path / "outbox" / "key" / "half.tmp").write_bytes(b"half")
    assert outbox.sweep({message(2).request_id, digest("lost")}) == 4
    assert outbox.load(message(2).request_id, frame_digest(message(2).body))
    assert len(list((tmp_path / "outbox" / "key").iterdir())) == 1


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import resource, sys, pathlib\n"
        "from tests.uploader.state.facts import message, record\n"
        "from uploader.state.outbox import Outbox\n"
        "from datanode.errors import DiskFullError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
        "try:\n"
        "    Outbox(pathlib.Path(sys.argv[1])).put(message(1), 1, [record(1)])\n"
        "except DiskFullError:\n"
        "    sys.exit(14)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "outbox")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 14
    assert list((tmp_path / "outbox").iterdir()) == []


def test_a_real_small_file_system_fills_up_in_plain_words(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    try:
        outbox = Outbox(tmp_path / "outbox")
        with pytest.raises(DiskFullError, match="full"):
            put_many(outbox, 1_000)
        assert not list((tmp_path / "outbox").glob("*.tmp"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_made_is_a_matter_of_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be written"):
        Outbox(tmp_path / "file" / "outbox").put(MESSAGE, 1, RECORDS)


def test_files_are_limited_by_the_window_not_by_descriptors(outbox: Outbox) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        put_many(outbox, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
