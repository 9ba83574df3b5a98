"""SIGTERM before any line of the session: it ends where it is safe, and nothing is paid twice."""

import dataclasses
import gc
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import pytest

from tests.uploader.session.stage import Stage
from tests.uploader.session.test_upload import checkpoint, fetched, frames_paid
from uploader.cli.signals import run_command, stoppable
from uploader.session.upload import UploadContext, UploadOptions, UploadSummary, upload
from uploader.shield import SignalledError
from uploader.source.base import Source

STRIKES: Final = int(os.environ.get("DATANODE_SIGNALS", "12"))
ROOMS: Final = (
    "/uploader/session/",
    "/uploader/state/",
    "/sqlalchemy/engine/",
    "/sqlalchemy/pool/",
)
"""Where lines are counted: ours, and the library that must not lose its transaction."""


@pytest.fixture(autouse=True)
def harmless_signals() -> Iterator[None]:
    """Let a signal that comes after the run do nothing, instead of ending the tests."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Trace(Protocol):
    """Trace function that Python calls for each line."""

    def __call__(self, frame: FrameType, event: str, arg: object, /) -> "Trace | None": ...


class Lines:
    """Counts the lines that the session's thread runs, and sends SIGTERM before some of them."""

    def __init__(self, *strikes: int) -> None:
        self.count = 0
        self.struck = ""
        self._strikes = strikes

    def enter(self, frame: FrameType, _event: str, _arg: object) -> "Trace | None":
        return self._line if any(room in frame.f_code.co_filename for room in ROOMS) else None

    def _line(self, frame: FrameType, event: str, _arg: object) -> "Trace":
        if event == "line":
            self.count += 1
            if self.count in self._strikes:
                self.struck += f" {frame.f_code.co_filename}:{frame.f_lineno}"
                os.kill(os.getpid(), signal.SIGTERM)
        return self._line


def stoppable_upload(stopping: Callable[[], bool]) -> Callable[..., UploadSummary]:
    def run_stoppable(
        source: Source, model: str, context: UploadContext, options: UploadOptions | None
    ) -> UploadSummary:
        return upload(source, model, dataclasses.replace(context, stopping=stopping), options)

    return run_stoppable


def run(stage: Stage, source: Path, lines: Lines) -> int:
    """Upload as the command does, counting lines; returns the signal that ended it, or 0."""

    def work() -> int:
        sys.settrace(lines.enter)
        try:
            with stoppable(lambda _: None) as stopping, pytest.MonkeyPatch.context() as patch:
                patch.setattr(f"{Stage.__module__}.upload", stoppable_upload(stopping))
                stage.upload(source)
        finally:
            sys.settrace(None)
        return 0

    try:
        return run_command(work)
    except SignalledError as ended:
        return ended.number
    finally:
        for thread in threading.enumerate():
            if thread.name == "command":
                thread.join()  # what a second signal leaves behind ends with its process in life


@pytest.mark.parametrize(
    "distance",
    [
        pytest.param(0, id="once"),
        pytest.param(1, id="twice"),
        pytest.param(12, id="in the clearing up"),
    ],
)
def test_a_signal_at_any_line_ends_as_a_signal_and_costs_nothing_twice(
    distance: int, tmp_path: Path
) -> None:
    source = checkpoint(tmp_path / "model")
    whole = Stage(tmp_path / "whole")
    whole.upload(source, "first")
    lines = Lines()
    assert run(whole, source, lines) == 0
    manifest = whole.node().model("m").versions[0].manifest
    strikes = random.Random(6).sample(range(1, lines.count), STRIKES // (1 + 2 * bool(distance)))
    ends: list[int] = []
    for number, strike in enumerate(strikes):
        stage = Stage(tmp_path / str(number))
        lines = Lines(strike, strike + distance)
        ends.append(run(stage, source, lines))
        gc.collect()  # a process that ends lets go of its database, too
        assert stage.upload(source).manifest == manifest, lines.struck
        assert fetched(stage) == fetched(whole), lines.struck
        assert set(frames_paid(stage).values()) == {1}, lines.struck
    assert set(ends) <= {0, signal.SIGTERM}
    assert ends.count(signal.SIGTERM) > len(ends) // 2
