"""Messages in flight outlive the database: what the outbox names is asked about, never resent."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.node.port import Refused, Settled
from tests.fakes.memory_node import KilledError, MemoryNode
from tests.uploader.session.stage import Stage
from tests.uploader.session.test_upload import checkpoint, fetched, frames_paid, on_disk
from uploader.session.message_sender import Sender
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def killed(*_: object, **__: object) -> NoReturn:
    raise KilledError


def kill_with_messages_on_their_way(stage: Stage, source: Path, model: str = "m") -> None:
    """Send every message, and die before anything is known of them: they will run late."""

    def late(node: MemoryNode, message: SignedMessage) -> NoReturn:
        node.world.late[message.request_id] = lambda: node.world.execute(message)
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryNode, "send", late)
        with pytest.raises(KilledError):
            stage.upload(source, model)
    assert stage.world.late


def databases(stage: Stage) -> list[Path]:
    return list((stage.folder / "state").glob("state.db*"))


def delete(stage: Stage) -> None:
    for path in databases(stage):
        path.unlink()


def finish(stage: Stage, source: Path, model: str = "m") -> None:
    """Upload to the end; messages that are late still run before the seal."""
    seal = MemoryNode.seal_model

    def sealed(node: MemoryNode, *args: Any, **named: Any) -> int:
        for run in list(node.world.late.values()):
            run()
        return seal(node, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryNode, "seal_model", sealed)
        stage.upload(source, model)
    assert set(frames_paid(stage).values()) == {1}
    assert fetched(stage, model) == on_disk(source)
    assert not list((stage.folder / "state" / "outbox").iterdir())


def test_a_deleted_database_pays_nothing_twice(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    kill_with_messages_on_their_way(stage, source)
    delete(stage)
    finish(stage, source)


def test_an_older_copy_of_the_database_pays_nothing_twice(stage: Stage) -> None:
    stage.upload(checkpoint(stage.folder / "first", seeds=(5,)), "first")
    shutil.copytree(stage.folder / "state", stage.folder / "backup")
    source = checkpoint(stage.folder / "source")
    kill_with_messages_on_their_way(stage, source)
    delete(stage)
    for path in (stage.folder / "backup").glob("state.db*"):
        shutil.copy(path, stage.folder / "state")
    finish(stage, source)


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (Outbox, "put"),
        (StateStore, "record_intent"),
        (MemoryNode, "send"),
        (StateStore, "settle"),
        (Outbox, "drop"),
    ],
)
@pytest.mark.parametrize("lose", [delete, lambda _: None], ids=["deleted", "kept"])
def test_a_kill_at_any_step_of_a_message_pays_nothing_twice(
    stage: Stage, owner: type, step: str, lose: Callable[[Stage], None]
) -> None:
    source = checkpoint(stage.folder / "source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, killed)
        with pytest.raises(KilledError):
            stage.upload(source)
    lose(stage)
    finish(stage, source)


def test_evidence_is_kept_until_it_was_asked_about(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = checkpoint(stage.folder / "source")
    kill_with_messages_on_their_way(stage, source)
    delete(stage)
    evidence = {path.name for path in (stage.folder / "state" / "outbox").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(MemoryNode, "recover", killed)
        patch.setattr(MemoryNode, "send", killed)
        with pytest.raises(KilledError):
            stage.upload(source)
    assert {path.name for path in (stage.folder / "state" / "outbox").iterdir()} == evidence
    delete(stage)
    finish(stage, source)


def test_a_torn_body_is_asked_about_and_not_sent(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    kill_with_messages_on_their_way(stage, source)
    delete(stage)
    for path in (stage.folder / "state" / "outbox").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    finish(stage, source)


def test_chunks_that_wait_to_the_end_for_messages_under_another_lease_are_pinned_and_recorded(
    stage: Stage,
) -> None:
    source = checkpoint(stage.folder / "source")
    kill_with_messages_on_their_way(stage, source, "first")
    finishing = threading.Event()
    recover, finish_sending = MemoryNode.recover, Sender.finish

    def late(node: MemoryNode, request_id: bytes, expiry_ns: int) -> Settled | Refused | Unsettled:
        finishing.wait()
        return recover(node, request_id, expiry_ns)

    def finished(sender: Sender) -> None:
        finishing.set()
        finish_sending(sender)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryNode, "recover", late)
        patch.setattr(Sender, "finish", finished)
        assert stage.upload(source, "second").version == 1
    assert fetched(stage, "second") == on_disk(source)
    assert set(frames_paid(stage).values()) == {1}
