"""Progress output in a terminal and in a pipe."""

import fcntl
import io
import os
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from datanode.progress import Tally
from tests.cli.stage import User, checkpoint
from uploader.cli import main
from uploader.cli.pace import Pace
from uploader.cli.progress_view import LineView, counted, figures, live

HALF = Tally(total_bytes=2**35, done_bytes=2**34, sent_bytes=2**34, cycles=10**12)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(user: User, *args: object, out: Path | None = None) -> str:
    """Run a command that succeeds in a terminal of 80 columns; returns all that it ever shows."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    with open(slave, "wb") as terminal, (out or Path(os.devnull)).open("wb") as file:  # noqa: PTH123
        process = subprocess.Popen(
            user.command(*args),
            env=environment,
            stdin=terminal,
            stdout=terminal if out is None else file,
            stderr=terminal,
        )
    shown = b""
    with open(master, "rb", buffering=0) as screen:  # noqa: PTH123
        while True:
            try:
                data = screen.read(65_536)
            except OSError:  # nobody holds its other end any more
                break
            if not data:
                break
            shown += data
    text = CONTROL.sub("", shown.decode())
    assert process.wait(60) == 0, text
    return text


def test_figures_name_what_was_sent_only_where_something_is_sent() -> None:
    rate = 2**34 / 100.0
    assert figures(HALF, rate) == (
        "16.00 GiB of 32.00 GiB  163.84 MiB/s  1m40s to go  sent 16.00 GiB  1.0000 TC"
    )
    assert figures(HALF, rate, brief=True) == (
        "16.00 GiB of 32.00 GiB  163.84 MiB/s  1m40s to go  1.0000 TC"
    )
    read = Tally(total_bytes=2**35, done_bytes=2**34)
    assert figures(read, rate) == "16.00 GiB of 32.00 GiB  163.84 MiB/s  1m40s to go"


def test_nothing_is_promised_before_there_is_a_rate() -> None:
    assert figures(Tally(total_bytes=2**30, done_bytes=2), None) == "2 B of 1.00 GiB"
    assert counted(1, 1_000, "chunks", None) == "1 of 1,000 chunks"
    assert counted(500, 1_000, "chunks", 50.0) == "500 of 1,000 chunks  10s to go"


def test_a_stalled_run_promises_no_end() -> None:
    assert figures(Tally(total_bytes=2**30, done_bytes=2), 0.0) == "2 B of 1.00 GiB  0 B/s"


def test_rate_is_unknown_until_it_was_measured_for_two_seconds() -> None:
    pace = Pace()
    assert pace.rate(0.0) is None
    pace.note(0.0, 0)
    pace.note(1.9, 190)
    assert pace.rate(1.9) is None
    assert pace.rate(2.0) == 95.0


def test_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    for second in range(100):
        pace.note(float(second), 1_000 * second)
    for second in range(100, 130):
        pace.note(float(second), 100_000 + 10 * (second - 100))
    assert pace.rate(129.0) == 10.0


def test_rate_of_a_line_that_takes_a_minute_a_message_is_known() -> None:
    pace = Pace()
    for message in range(20):
        pace.note(80.0 * message, 2_000_000 * message)
    assert pace.rate(80.0 * 19) == 25_000.0


def test_rate_falls_while_nothing_arrives() -> None:
    pace = Pace()
    for second in range(11):
        pace.note(float(second), 100 * second)
    assert pace.rate(10.0) == 100.0
    assert pace.rate(100.0) == 10.0


def test_bytes_that_the_node_held_are_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("uploader.cli.progress_view.time.monotonic", lambda: now)
    said: list[str] = []
    lines = LineView(said.append, period_s=0.0)
    total, held = 2**30, 2**29
    for step in range(5):
        now = float(step)
        lines.tally(Tally(total_bytes=total, done_bytes=held + step, known_bytes=held))
    assert said[-1].startswith("512.00 MiB of 1.00 GiB  1 B/s  ")


def test_dumb_terminal_is_told_lines(user: User) -> None:
    source = checkpoint(user.home / "dumb.safetensors", 8, tensors=4, size=1_000_000)
    user.patch.setattr("uploader.cli.output._PIPE_PERIOD_S", 0.0)

    class Dumb(io.StringIO):
        def isatty(self) -> bool:
            return True

    user.patch.setenv("TERM", "dumb")
    user.patch.setattr("sys.stderr", stream := Dumb())
    assert main(["upload", str(source), "--as", "dumb"]) == 0
    shown = stream.getvalue().splitlines()
    assert any(" of " in line for line in shown), shown
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_figures_are_whole_in_a_terminal(width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    with live(lambda _text: None, console) as progress:
        progress.stage("model-00001-of-00004.safetensors")
        progress.tally(HALF)
    text = CONTROL.sub("", file.getvalue())
    assert "1.0000 TC" in text
    assert "16.00 GiB of 32.00 GiB" in text
    assert max(map(cell_len, re.split(r"[\r\n]", text))) <= width


def test_programs_and_pipes_are_told_counts() -> None:
    said: list[str] = []
    emitted: list[dict[str, object]] = []
    LineView(said.append, period_s=0.0).count(3, 7, "chunks")
    LineView(said.append, period_s=0.0, emit=lambda fields: emitted.append(dict(fields))).count(
        3, 7, "chunks"
    )
    assert said == ["3 of 7 chunks"]
    (fields,) = emitted
    assert fields.pop("elapsed_s")
    assert fields == {"what": "chunks", "done_count": 3, "total_count": 7}


def test_a_pipe_is_told_after_a_moment_and_then_once_a_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("uploader.cli.progress_view.time.monotonic", lambda: now)
    said: list[str] = []
    lines = LineView(said.append, period_s=60.0)
    for now in (101.9, 102.0, 110.0, 161.9, 162.0, 221.0):
        lines.count(int(now), 1_000, "chunks")
    assert [line.split()[0] for line in said] == ["102", "162"]


def test_a_terminal_of_eighty_columns_shows_whole_lines(user: User) -> None:
    source = checkpoint(user.home / "progress.safetensors", 5, tensors=4, size=1_000_000)
    for command in (
        ["plan", source, "--exact"],
        ["upload", source, "--as", "progress"],
        ["audit", "progress"],
        ["fetch", "progress", "back"],
        ["models"],
    ):
        *lines, _end = re.split(r"[\r\n]+", in_terminal(user, *command))
        assert lines
        sentences = [line for line in lines if cell_len(line) > 80]
        assert all(line.startswith(("progress version 1", "encoding ")) for line in sentences), (
            sentences
        )


def test_results_go_to_a_file_although_a_bar_is_in_the_terminal(user: User) -> None:
    source = checkpoint(user.home / "results.safetensors", 6)
    user.ok("upload", source, "--as", "results")
    out = user.home / "out.txt"
    shown = in_terminal(user, "fetch", "results", "t.bin", "--tensor", "layer.0", out=out)
    assert "written to t.bin" in out.read_text()
    assert "written to t.bin" not in shown
