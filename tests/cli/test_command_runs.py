"""uploader.cli.signals: the main thread waits for signals, the command works on another thread."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from datanode.errors import StoppedByUserError, UsageError
from uploader.cli import signals
from uploader.cli.signals import on_main_thread, run_command, stoppable
from uploader.shield import SignalledError


@pytest.fixture(autouse=True)
def harmless_signals() -> Iterator[None]:
    """Let a signal that comes after the run do nothing, instead of ending the tests."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets work that was left behind end with its test."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "command":
            thread.join(30)


def strike(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def ended_by(work: Callable[[], int]) -> SignalledError:
    with pytest.raises(SignalledError) as caught:
        run_command(work)
    return caught.value


def await_wish(is_wished: Callable[[], bool]) -> None:
    while not is_wished():
        time.sleep(0.001)


def test_a_command_gives_its_exit_code_or_its_error() -> None:
    assert run_command(lambda: 7) == 7

    def fail() -> int:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        run_command(fail)


def test_work_that_cannot_stop_by_itself_is_left_at_once(release: threading.Event) -> None:
    def work() -> int:
        strike()
        release.wait(60)
        return 0

    ended = ended_by(work)
    assert (ended.number, ended.exit_code, ended.safe) == (signal.SIGTERM, 143, "")


def test_work_that_can_stop_by_itself_ends_where_it_wants(release: threading.Event) -> None:
    done: list[str] = []
    said: list[str] = []

    def work() -> int:
        with stoppable(said.append) as is_wished:
            assert not is_wished()
            strike(signal.SIGINT)
            await_wish(is_wished)
            done.append("a section that ends")
            raise StoppedByUserError("stopped", safe="all of it")

    ended = ended_by(work)
    assert (ended.exit_code, ended.safe) == (130, "all of it")
    assert done == ["a section that ends"]
    assert len(said) == 1


def test_work_that_ends_in_spite_of_the_wish_has_ended_well() -> None:
    def work() -> int:
        with stoppable(print) as is_wished:
            strike()
            await_wish(is_wished)
        return 0

    assert run_command(work) == 0


def test_a_second_signal_leaves_the_work_at_once(release: threading.Event) -> None:
    def work() -> int:
        with stoppable(print) as is_wished:
            strike(signal.SIGINT)
            await_wish(is_wished)
            strike(signal.SIGTERM)
            release.wait(60)
        return 0

    assert ended_by(work).number == signal.SIGTERM


def test_a_wish_that_is_not_heard_is_waited_for_no_longer(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "GRACE_S", 0.1)

    def work() -> int:
        with stoppable(print):
            strike()
            release.wait(60)
        return 0

    assert ended_by(work).number == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_ignored_stays_ignored(number: int) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:

        def work() -> int:
            strike(number)
            assert signal.getsignal(number) is signal.SIG_IGN
            return 3

        assert run_command(work) == 3
    finally:
        signal.signal(number, before)


def test_handlers_are_those_of_before_when_the_command_has_ended() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run_command(lambda: 0)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_function_that_handles_signals_runs_on_the_main_thread() -> None:
    def fail() -> None:
        raise UsageError("no")

    def work() -> int:
        assert threading.current_thread() is not threading.main_thread()
        assert on_main_thread(threading.current_thread) is threading.main_thread()
        with pytest.raises(UsageError):
            on_main_thread(fail)
        return 0

    assert run_command(work) == 0
    assert on_main_thread(threading.current_thread) is threading.main_thread()


def test_a_thread_of_another_program_runs_a_command_without_signals() -> None:
    found: list[object] = []

    def work() -> int:
        with stoppable(print) as is_wished:
            found.append((threading.current_thread(), is_wished()))
        return 0

    thread = threading.Thread(target=lambda: run_command(work))
    thread.start()
    thread.join()
    assert found == [(thread, False)]
