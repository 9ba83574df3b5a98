"""Standard streams that are closed, full or narrow: never exit code 0 for a lost result."""

import os
import subprocess

import pytest

from tests.cli.stage import User, checkpoint

CLOSED = 141
COMMANDS = (["models", "--json"], ["node", "list"], ["localnet", "ledger"], ["--help"])


def run(user: User, redirections: str, *args: object, **more: str) -> tuple[int, str]:
    """Run a command in bash with redirections; returns its code and what came out of stderr."""
    # What is buffered when the interpreter ends is the case to test, as on users' machines.
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **more}
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirections}', "bash", *user.command(*args)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_result_whose_reader_is_gone_ends_in_silence_and_not_well(
    user: User, command: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        user.command(*command), stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (CLOSED, "")


def test_reader_that_leaves_in_the_middle_is_noticed(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 610, tensors=4_000, size=100)
    user.ok("upload", source, "--as", "many")
    code, err = run(
        user, "| head -1 >/dev/null; exit ${PIPESTATUS[0]}", "show", "many", "--tensors"
    )
    assert (code, err) == (CLOSED, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_both_streams_closed_by_their_reader(user: User, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(user.command(*command), stdout=writing, stderr=writing)
    os.close(writing)
    assert process.wait(60) == CLOSED


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("redirections", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_stdout_that_was_never_open(user: User, command: list[str], redirections: str) -> None:
    code, err = run(user, redirections, *command)
    assert code == CLOSED
    if "2>" not in redirections:
        assert "standard output is closed" in err


def test_closed_stderr_does_not_stop_an_upload_and_is_not_success(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 611, tensors=8, size=1_000_000)
    reading, writing = os.pipe()
    os.close(reading)
    args = ["upload", source, "--as", "quiet", "--network", user.net.url, "--node", user.canister]
    process = subprocess.Popen(user.command(*args), stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    out, _ = process.communicate(timeout=60)
    # It says which root key it trusts, and nobody hears it.
    assert process.returncode == CLOSED
    assert b"version 1" in out
    assert user.ok("show", "quiet")["version"] == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_full_device_is_a_full_disk(user: User, command: list[str]) -> None:
    code, err = run(user, ">/dev/full", *command)
    assert code == 14
    assert "the disk is full" in err


def test_narrow_encoding_escapes_what_it_cannot_show(user: User) -> None:
    narrow = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    folder = user.home / "m\u00e4\u4e2d\U0001f525"
    checkpoint(folder / "model.safetensors", 612)
    done = subprocess.run(
        user.command("upload", folder, "--as", "narrow"),
        env={**os.environ, **narrow},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.isascii()
    shown = subprocess.run(
        user.command("status"), env={**os.environ, **narrow}, capture_output=True, check=True
    )
    assert b"m\\xe4\\u4e2d\\U0001f525" in shown.stdout.replace(b"\n", b"")
    failed = subprocess.run(
        user.command("plan", f"{folder.name}x"),
        env={**os.environ, **narrow},
        cwd=user.home,
        capture_output=True,
        check=False,
    )
    assert failed.returncode == 13
    assert b"\\u4e2d" in failed.stderr


def test_codes_of_pictures_in_a_name_are_shown_as_they_are(user: User) -> None:
    done = user.fails(10, "audit", "run/fire", "--node", ":fire:7b:smile:")
    assert ":fire:7b:smile:" in done.err
    (user.home / "run:fire:7b").mkdir()
    source = checkpoint(user.home / "run:fire:7b" / "model.safetensors", 613)
    user.ok("upload", source.parent, "--as", "pictures")
    assert "run:fire:7b" in user.run("status").out.replace("\n", "")
