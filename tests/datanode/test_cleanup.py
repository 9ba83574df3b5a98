"""datanode.cleanup: the first error is the one that is raised."""

import logging
from dataclasses import dataclass, field

import pytest

from datanode.cleanup import SafeClose, always_after, rollback_on_error


class FirstError(Exception):
    pass


class SecondError(Exception):
    pass


@dataclass
class Steps:
    fails: type[BaseException] | None = None
    taken: int = 0

    def __call__(self) -> None:
        self.taken += 1
        if self.fails is not None:
            raise self.fails("second")


@dataclass
class Thing(SafeClose):
    step: Steps = field(default_factory=Steps)

    def close(self) -> None:
        self.step()


def test_what_succeeds_is_finished_and_closed_and_not_undone() -> None:
    undo, finish, thing = Steps(), Steps(), Thing()
    with rollback_on_error(undo), always_after(finish), thing as entered:
        assert entered is thing
        assert finish.taken == 0
    assert (undo.taken, finish.taken, thing.step.taken) == (0, 1, 1)


@pytest.mark.parametrize("kind", [FirstError, KeyboardInterrupt, SystemExit])
def test_what_fails_is_undone_finished_and_closed_once(kind: type[BaseException]) -> None:
    undo, finish, thing = Steps(), Steps(), Thing()
    with pytest.raises(kind), rollback_on_error(undo), always_after(finish), thing:
        raise kind
    assert (undo.taken, finish.taken, thing.step.taken) == (1, 1, 1)


@pytest.mark.parametrize("clears_up", [rollback_on_error, always_after, Thing])
def test_an_error_of_clearing_up_is_logged_and_noted_and_replaces_nothing(
    clears_up: type[Thing], caplog: pytest.LogCaptureFixture
) -> None:
    step = Steps(SecondError)
    with pytest.raises(FirstError, match="first") as raised, clears_up(step):
        raise FirstError("first")
    assert step.taken == 1
    assert raised.value.__notes__ == ["Clearing up failed too: SecondError: second"]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is SecondError


@pytest.mark.parametrize("clears_up", [always_after, Thing])
def test_an_error_of_finishing_what_succeeded_is_raised(clears_up: type[Thing]) -> None:
    step = Steps(SecondError)
    with pytest.raises(SecondError), clears_up(step):
        pass
    assert step.taken == 1


def test_an_interruption_of_clearing_up_is_raised() -> None:
    with pytest.raises(KeyboardInterrupt), rollback_on_error(Steps(KeyboardInterrupt)):
        raise FirstError
