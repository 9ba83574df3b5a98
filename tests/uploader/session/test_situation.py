"""uploader.session.situation: what an error says is true at this moment, for every error."""

import inspect
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode import errors
from datanode.agent.signed_message import SignedMessage
from datanode.errors import DataNodeError, IncompleteSealError
from tests.fakes.memory_node import MemoryNode
from tests.uploader.session.stage import Stage, safetensors_bytes, weights
from uploader.session.situation import (
    PlanSituation,
    RepairSituation,
    Situation,
    UploadSituation,
    explained,
)
from uploader.shield import SignalledError


def classes() -> Iterator[type[DataNodeError]]:
    for _, found in inspect.getmembers(errors, inspect.isclass):
        if issubclass(found, DataNodeError):
            yield found


def made(kind: type[DataNodeError], hint: str = "") -> DataNodeError:
    if kind is IncompleteSealError:
        return IncompleteSealError((), 3)
    return kind("it happened", hint=hint)


def leaving(error: BaseException, situation: Situation) -> BaseException:
    with pytest.raises(type(error)) as caught, explained(situation):
        raise error
    return caught.value


ALL = sorted(classes(), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("situation", [UploadSituation(), PlanSituation(), RepairSituation()])
@pytest.mark.parametrize("kind", ALL)
def test_next_is_never_the_default_of_the_class(
    kind: type[DataNodeError], situation: Situation
) -> None:
    error = leaving(made(kind), situation)
    assert isinstance(error, DataNodeError)
    assert error.hint
    assert error.hint != kind.default_hint
    assert "Nothing was sent" not in error.hint


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not IncompleteSealError])
def test_a_hint_of_the_place_where_it_happened_is_kept(kind: type[DataNodeError]) -> None:
    error = leaving(made(kind, "Turn it off and on."), UploadSituation())
    assert isinstance(error, DataNodeError)
    assert error.hint == "Turn it off and on."


@pytest.mark.parametrize("kind", ALL)
def test_safe_counts_what_is_stored_whatever_the_error(
    kind: type[DataNodeError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path)
    source = tmp_path / "m.safetensors"
    source.write_bytes(safetensors_bytes({f"w{i}": weights(i, 1_500) for i in range(6)}))
    send, sent, lock = MemoryNode.send, [], threading.Lock()

    def fails_late(node: MemoryNode, message: SignedMessage) -> object:
        with lock:
            sent.append(message)
            if len(sent) > 3:
                raise made(kind)
            return send(node, message)

    monkeypatch.setattr(MemoryNode, "send", fails_late)
    monkeypatch.setattr("uploader.session.message_delivery.GIVE_UP_S", -1.0)
    with pytest.raises(DataNodeError) as caught:
        stage.upload(source)
    assert caught.value.safe.startswith("4 frames in 3 messages ("), caught.value.safe
    assert "stored and paid" in caught.value.safe


def test_before_anything_is_sent_it_says_so() -> None:
    error = leaving(errors.SourceError("it happened"), UploadSituation())
    assert isinstance(error, DataNodeError)
    assert error.safe == "Nothing was sent."


def test_a_signal_says_it_too() -> None:
    situation = UploadSituation()
    situation.spending.messages_count = situation.spending.frames_count = 2
    situation.unresolved = lambda: 1
    signalled = leaving(SignalledError(15), situation)
    assert isinstance(signalled, SignalledError)
    assert signalled.safe == (
        "2 frames in 2 messages (0 B) are stored and paid; none is sent again. "
        "1 message is unresolved; the next run asks what became of it before it sends anything "
        "else."
    )
