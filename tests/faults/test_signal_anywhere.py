"""SIGTERM between any two lines of the sending thread: the end of a signal, nothing paid twice."""

import gc
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import pytest

from tests.uploader.session.stage import Stage
from tests.uploader.session.test_upload import checkpoint, fetched, frames_paid
from uploader.cli.stopping import signals_caught
from uploader.shield import SignalledError

STRIKES: Final = int(os.environ.get("DATANODE_SIGNALS", "30"))
ROOMS: Final = (
    "/uploader/session/",
    "/uploader/state/",
    "/sqlalchemy/engine/",
    "/sqlalchemy/pool/",
)
"""Where lines are counted: ours, and the library that must not lose its transaction."""


class Trace(Protocol):
    """What Python calls for a line."""

    def __call__(self, frame: FrameType, event: str, arg: object, /) -> "Trace | None": ...


class Lines:
    """Counts the lines that the main thread runs, and sends SIGTERM before some of them."""

    def __init__(self, *strikes: int) -> None:
        self.count = 0
        self.struck = ""
        self._strikes = strikes

    def _enter(self, frame: FrameType, _event: str, _arg: object) -> "Trace | None":
        return self._line if any(room in frame.f_code.co_filename for room in ROOMS) else None

    def _line(self, frame: FrameType, event: str, _arg: object) -> "Trace":
        if event == "line":
            self.count += 1
            if self.count in self._strikes:
                self.struck += f" {frame.f_code.co_filename}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGTERM)
        return self._line

    @contextmanager
    def counted(self) -> Iterator[None]:
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)


# A second signal breaks a transaction, whose connection is then closed by the end of the process.
BROKEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize(
    "distance",
    [
        pytest.param(0, id="once"),
        pytest.param(1, id="twice", marks=BROKEN),
        pytest.param(12, id="in the clearing up", marks=BROKEN),
    ],
)
def test_a_signal_at_any_line_ends_as_a_signal_and_costs_nothing_twice(
    distance: int, tmp_path: Path
) -> None:
    source = checkpoint(tmp_path / "model")
    whole = Stage(tmp_path / "whole")
    whole.upload(source, "first")
    lines = Lines()
    with lines.counted():
        undisturbed = whole.upload(source)
    strikes = random.Random(6).sample(range(1, lines.count), STRIKES // (1 + 2 * bool(distance)))
    for number, strike in enumerate(strikes):
        stage = Stage(tmp_path / str(number))
        lines = Lines(strike, strike + distance)
        assert _ended_by(stage, source, lines) == signal.SIGTERM
        gc.collect()  # a process that ends lets go of its database, too
        assert stage.upload(source).manifest == undisturbed.manifest, lines.struck
        assert fetched(stage) == fetched(whole), lines.struck
        assert set(frames_paid(stage).values()) == {1}, lines.struck


def _ended_by(stage: Stage, source: Path, lines: Lines) -> int:
    with pytest.raises(SignalledError) as caught, signals_caught(), lines.counted():
        stage.upload(source)
    return caught.value.number
