"""`datanode status` and `datanode cost`: true after delete, collect, upload again, elsewhere."""

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from datanode.errors import LeaseLostError, NetworkError, NotFoundError
from datanode.principal import Principal
from tests.cli.stage import User, checkpoint
from tests.fakes.memory_node import MemoryNode
from tests.fakes.memory_world import CONTROLLER
from tests.uploader.session.stage import Stage, safetensors_bytes, weights
from uploader.cli.upload_standing import NodeAnswers, Standing, standing_of, standings_elsewhere
from uploader.state.database import open_database
from uploader.state.records import UploadInfo
from uploader.state.store import StateStore


def uploads(user: User, *flags: object) -> list[dict[str, Any]]:
    done = user.run("status", "--json", *flags)
    assert done.code == 0, done.err
    return [found for found in done.results if found.get("kind") == "upload"]


def states(user: User) -> list[tuple[str, object, object]]:
    return [(each["model"], each["state"], each["held_bytes"]) for each in uploads(user)]


def spent(user: User) -> list[tuple[object, int]]:
    done = user.run("cost", "--json")
    assert done.code == 0, done.err
    found = [each for each in done.results if each["type"] == "item"]
    assert done.summary["cycles"] == sum(each["cycles"] for each in found)
    return [(each["version"], each["messages"]) for each in found]


def test_they_are_true_after_delete_collect_and_upload_again(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 960)
    size = source.stat().st_size
    user.ok("upload", source, "--as", "told")
    assert ("told", "sealed as 1", size) in states(user)
    first = spent(user)[0]
    user.ok("delete", "told", "--yes")
    user.ok("gc")
    assert ("told", "was sealed as 1, now deleted", 0) in states(user)
    assert spent(user)[0] == first
    user.ok("upload", source, "--as", "told")
    found = [each for each in states(user) if each[0] == "told"]
    assert found == [
        ("told", "sealed as 2", size),
        ("told", "was sealed as 1, now deleted", 0),
    ]
    assert spent(user)[1] == first
    assert spent(user)[0][0] == 2


def test_another_machine_is_told_what_the_node_holds(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 961)
    user.ok("upload", source, "--as", "elsewhere")
    shutil.move(user.state, user.home / "machine")
    (found,) = [each for each in uploads(user) if each["model"] == "elsewhere"]
    assert (found["state"], found["held_bytes"]) == ("sealed as 1 with another state", None)
    done = user.run("cost")
    assert done.says("nothing was uploaded from here to this network")


def test_they_work_without_a_network(mortal: User) -> None:
    source = checkpoint(mortal.home / "m.safetensors", 962)
    mortal.ok("upload", source, "--as", "offline")
    before = spent(mortal)
    mortal.net.stop()
    assert spent(mortal) == before
    (found,) = uploads(mortal)
    assert found["state"] == "sealed as 1, not checked"
    assert found["held_bytes"] is None


def test_a_database_server_that_says_nothing_is_given_up_on(user: User) -> None:
    user.ok("models")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2"
        for command in ("status", "cost"):
            done = user.fails(30, command, "--state", url)
            assert done.says("database server", "does not answer"), done.err
            assert not done.says("secret")


class TestStandings:
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Stage:
        stage = Stage(tmp_path)
        (tmp_path / "m.safetensors").write_bytes(safetensors_bytes({"w": weights(1, 64)}))
        return stage

    def standings(self, stage: Stage) -> list[Standing]:
        facts = NodeAnswers(me=CONTROLLER, open_node=lambda _: stage.node(), note=print)
        infos = self.infos(stage)
        found = [standing_of(info, facts) for info in infos]
        return found + standings_elsewhere(stage.node().principal, infos, facts)

    def infos(self, stage: Stage) -> list[UploadInfo]:
        with open_database(f"sqlite:///{stage.folder / 'state' / 'state.db'}") as database:
            return StateStore(database, me=CONTROLLER).uploads()

    def interrupt(self, stage: Stage) -> None:
        with pytest.MonkeyPatch.context() as patch:

            def fail(*_: object, **__: object) -> None:
                raise NetworkError("gone")

            patch.setattr(MemoryNode, "seal_model", fail)
            with pytest.raises(NetworkError):
                stage.upload(stage.folder / "m.safetensors")

    def test_an_unfinished_upload_tells_whether_its_lease_lives(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.interrupt(stage)
        (found,) = self.standings(stage)
        assert found.text == "unfinished"
        assert found.held_bytes == (stage.folder / "m.safetensors").stat().st_size
        for error in (LeaseLostError("ended"), NotFoundError("no such lease")):

            def lost(*_: object, error: Exception = error, **__: object) -> None:
                raise error

            monkeypatch.setattr(MemoryNode, "lease_frames", lost)
            (found,) = self.standings(stage)
            assert (found.text, found.held_bytes) == ("unfinished, its lease has ended", None)

    def test_what_is_not_known_is_not_said(self, stage: Stage) -> None:
        stage.upload(stage.folder / "m.safetensors")
        notes: list[str] = []

        def down(_: Principal) -> MemoryNode:
            raise NetworkError("the network is down")

        facts = NodeAnswers(me=CONTROLLER, open_node=down, note=notes.append)
        found = [standing_of(info, facts) for info in self.infos(stage)]
        assert {each.text for each in found} == {"sealed as 1, not checked"}
        assert len(notes) == 1
        assert "the network is down" in notes[0]
        assert standings_elsewhere(stage.node().principal, [], facts) == []

    def test_another_identity_is_not_asked_for(self, stage: Stage) -> None:
        stage.upload(stage.folder / "m.safetensors")
        facts = NodeAnswers(
            me=Principal(b"\x22" * 29), open_node=lambda _: stage.node(), note=print
        )
        (info,) = self.infos(stage)
        assert standing_of(info, facts).text == "sealed as 1, not checked"
