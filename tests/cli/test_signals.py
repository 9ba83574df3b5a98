"""Ctrl-C, SIGTERM, pipes that close, nobody to ask: soon over, and the way on is told."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from datanode.errors import LocalNetworkError
from datanode.localnet.api import ask
from datanode.localnet.process import status
from tests.cli.stage import PYTHON, User, checkpoint
from tests.fakes.ledger_judge import paid
from tests.quickness import allowed_s

SAFE_S = 2.5
"""Two seconds to be safe to quit, and a loaded machine."""


def _under_way(user: User, process: "subprocess.Popen[str]", method: str = "put_frames") -> None:
    seen = len(user.net.ledger())
    while not any(entry.method == method for entry in user.net.ledger(after=seen)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def _catches_signals(process: "subprocess.Popen[str]") -> bool:
    """Whether it has come so far that signals are its own: Python catches no SIGTERM by itself."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (caught,) = (line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def _ends(process: "subprocess.Popen[str]", number: int) -> tuple[str, str, float]:
    started = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return out, err, time.monotonic() - started


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_upload_is_soon_over_and_tells_the_way_on(
    user: User, number: int, code: int
) -> None:
    model = f"stopped{code}"
    source = checkpoint(
        user.home / "a folder" / "model.safetensors", 600 + code, tensors=20, size=1_500_000
    )
    before = paid(user.net.ledger())
    command = ["upload", source, "--as", model]
    process = user.start(*command)
    _under_way(user, process)
    out, err, took_s = _ends(process, number)
    assert (process.returncode, out) == (code, "")
    assert took_s < allowed_s(SAFE_S)
    way_on = f"datanode {shlex.join(map(str, command))}"
    assert way_on in err.replace("\n", ""), err
    assert "safe:" in err
    assert user.ok(*command)["version"] == 1
    after = paid(user.net.ledger())
    assert after.twice_count == before.twice_count


def test_a_second_interrupt_is_immediate(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 602, tensors=20, size=1_500_000)
    process = user.start("upload", source, "--as", "twice", "--json")
    _under_way(user, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    _, err, took_s = _ends(process, signal.SIGINT)
    assert process.returncode in {130, -signal.SIGINT}, "a shell says 130 of both"
    assert took_s < allowed_s(SAFE_S)
    assert '"type": ' in err.splitlines()[-1]


def test_what_a_library_logs_does_not_reach_the_terminal(user: User) -> None:
    code = (
        "import logging; from uploader.cli import main; main(['--version']);"
        " logging.getLogger('sqlalchemy.pool').error('reset failed', exc_info=ValueError('x'))"
    )
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("datanode ")
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_other_commands_stop_too(user: User, number: int, code: int) -> None:
    source = checkpoint(user.home / "m.safetensors", 603, tensors=20, size=1_500_000)
    user.ok("upload", source, "--as", "long")
    for command in (["fetch", "long", "back"], ["audit", "long"], ["plan", source, "--exact"]):
        process = user.start(*command)
        while not _catches_signals(process):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        time.sleep(0.2)  # anywhere in its work
        _, err, took_s = _ends(process, number)
        assert process.returncode in {code, 0}, err
        assert took_s < allowed_s(SAFE_S)
        if process.returncode == code:
            assert f"datanode {command[0]}" in err
    back = user.home / "back" / source.name
    assert not back.exists() or back.read_bytes() == source.read_bytes()
    assert user.ok("fetch", "long", "back")["raw_bytes"] == source.stat().st_size
    assert back.read_bytes() == source.read_bytes()


def test_a_fetch_from_a_network_that_fell_silent_stops_too(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 604, tensors=40, size=1_500_000)
    user.ok("upload", source, "--as", "silent")
    process = user.start("fetch", "silent", "into")
    aside = user.home / "into" / f"{source.name}~datanode"
    while not aside.exists() or not aside.stat().st_size:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.kill(user.net.pid, signal.SIGSTOP)
    try:
        time.sleep(0.3)
        _, _, took_s = _ends(process, signal.SIGINT)
    finally:
        os.kill(user.net.pid, signal.SIGCONT)
    assert process.returncode == 130
    assert took_s < allowed_s(SAFE_S)


def _answers(url: str) -> bool:
    try:
        return isinstance(ask(url, "/_/canisters"), list)
    except LocalNetworkError:
        return False


def test_a_network_in_the_foreground_stops_cleanly(user: User) -> None:
    process = user.start("localnet", "start", "--state-dir", "own", "--port", "0", "--json")
    state = user.home / "own"
    while not (running := status(state)) or not _answers(running.url):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    _, err, took_s = _ends(process, signal.SIGINT)
    assert process.returncode in {0, 130}, err
    assert took_s < allowed_s(10)


@pytest.mark.parametrize("command", [["delete", "asked"], ["localnet", "reset"]])
def test_nothing_is_deleted_when_nobody_can_be_asked(user: User, command: list[str]) -> None:
    source = checkpoint(user.home / "m.safetensors", 604)
    user.ok("upload", source, "--as", "asked")
    for more in ([], ["--json"]):
        done = user.process(*command, *more)
        assert done.code == 2, done.err
        assert "--yes" in done.err
        assert "othing was changed" in done.err
    assert user.ok("show", "asked")["version"] >= 1


def test_no_is_an_answer(user: User) -> None:
    import pty

    source = checkpoint(user.home / "m.safetensors", 605)
    user.ok("upload", source, "--as", "kept")
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        user.command("delete", "kept"),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(main, b"n\n")
    _, err = process.communicate(timeout=120)
    os.close(main)
    os.close(terminal)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert user.ok("show", "kept")["version"] == 1
    assert user.ok("delete", "kept", "--yes")["model"] == "kept"
    user.fails(10, "show", "kept")


def test_a_background_job_that_ignores_ctrl_c_is_left_alone(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 606, tensors=20, size=1_500_000)
    process = user.start("upload", source, "--as", "behind", "--json", limits="trap '' INT")
    _under_way(user, process)
    out, err, _ = _ends(process, signal.SIGINT)
    assert process.returncode == 0, err
    assert '"version": 1' in out


def test_nothing_is_written_after_the_last_words(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 607, tensors=20, size=1_500_000)
    process = user.start("upload", source, "--as", "words", "--json")
    _under_way(user, process)
    os.kill(user.net.pid, signal.SIGSTOP)
    try:
        _, err, took_s = _ends(process, signal.SIGTERM)
    finally:
        os.kill(user.net.pid, signal.SIGCONT)
    assert process.returncode == 143
    assert took_s < allowed_s(SAFE_S)
    assert '"type": "error"' in err.splitlines()[-1]
