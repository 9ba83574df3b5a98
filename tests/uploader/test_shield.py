"""A section is whole or, if it does not end, is broken all the same."""

import signal
import threading
import time
from collections.abc import Callable

import pytest

from uploader.cli.stopping import signals_caught
from uploader.shield import SHIELD, SignalledError


def _ended_by(work: Callable[[], None]) -> int:
    with pytest.raises(SignalledError) as caught, signals_caught():
        work()
    return caught.value.exit_code


def test_a_signal_waits_for_the_end_of_the_outermost_section() -> None:
    done = []

    def work() -> None:
        with SHIELD.section():
            with SHIELD.section():
                signal.raise_signal(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("after")

    assert _ended_by(work) == 143
    assert done == ["inner", "outer"]


def test_a_signal_outside_of_sections_strikes_where_it_comes() -> None:
    def work() -> None:
        with SHIELD.section():
            pass
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the signal is lost")

    assert _ended_by(work) == 130


def test_a_second_signal_breaks_a_section_and_the_next_section_is_whole_again() -> None:
    done = []

    def twice() -> None:
        with SHIELD.section():
            signal.raise_signal(signal.SIGINT)
            done.append("first")
            signal.raise_signal(signal.SIGINT)
            done.append("second")

    def once() -> None:
        with SHIELD.section():
            signal.raise_signal(signal.SIGINT)
            done.append("again")

    assert _ended_by(twice) == _ended_by(once) == 130
    assert done == ["first", "again"]


def test_a_section_that_does_not_end_is_broken() -> None:
    def work() -> None:
        with SHIELD.section():
            signal.raise_signal(signal.SIGTERM)
            time.sleep(60)
            pytest.fail("one signal is not enough to end a wait for a database")

    assert _ended_by(work) == 143


def test_what_complains_of_a_broken_section_does_not_hide_the_signal() -> None:
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise AssertionError("a library has lost its transaction")

    assert _ended_by(work) == 143


def test_other_threads_are_not_told_of_signals_and_shield_nothing() -> None:
    seen = []

    def work() -> None:
        with signals_caught(), SHIELD.section():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
