"""Every command once, in the order of a life, for people and for programs."""

import json
import textwrap
from pathlib import Path

import pytest

import datanode
import uploader
from datanode import errors
from tests.cli.stage import Done, User, checkpoint
from tests.fakes.ledger_judge import messages

STDERR = {"status", "error"}
STDOUT = {"item", "summary"}


def _programs_can_read(done: Done) -> None:
    """Each line is an object of its stream; one summary ends what succeeded."""
    kinds = [json.loads(line)["type"] for line in done.out.splitlines()]
    assert set(kinds) <= STDOUT, kinds
    assert kinds.count("summary") == (done.code == 0), done.out
    assert not kinds or "summary" not in kinds[:-1]
    told = [json.loads(line)["type"] for line in done.err.splitlines()]
    assert set(told) <= STDERR, done.err
    assert (told[-1:] == ["error"]) == (done.code not in {0, 1})


def _life(user: User, model: str = "life") -> list[list[object]]:
    source = checkpoint(user.home / "life" / "model.safetensors", 1, tensors=2)
    (source.parent / "config.json").write_text("{}")
    reader = "w7x7r-cok77-xa"
    return [
        ["localnet", "status"],
        ["localnet", "time"],
        ["identity", "new", f"{model}.pem"],
        ["identity", "show"],
        ["node", "create", "spare", "--cycles", "2TC"],
        ["node", "list"],
        ["node", "status", "main"],
        ["node", "settings", "main"],
        ["node", "top-up", "main", "--cycles", "1TC"],
        ["node", "upgrade", "spare"],
        ["node", "add", "alias", user.canister],
        ["node", "remove", "alias"],
        ["upload", source.parent, "--as", f"{model}.original", "--node", "main"],
        ["copy", f"{model}.original", "--from", "main", "--to", "spare"],
        ["node", "clone", "main", "spare", "--replace", "--yes"],
        ["node", "remove", "spare"],
        ["plan", source.parent],
        ["plan", source.parent, "--exact"],
        ["plan", source.parent, "--node", "main"],
        ["upload", source.parent, "--as", model],
        ["upload", source.parent, "--as", model],
        ["batch", _list_of(user, source, f"{model}.batch")],
        ["status"],
        ["models"],
        ["show", model],
        ["show", model, "--tensors", "--version", "1"],
        ["fetch", model, "back"],
        ["fetch", model, "back"],
        ["fetch", model, "t.bin", "--tensor", "layer.0"],
        ["audit", model, "--report", "r.json"],
        ["audit", model, "--sample", "2"],
        ["audit", model, "--rolling", "1/2"],
        ["audit", model, "--scrub"],
        ["audit", "--verify", "r.json"],
        ["grant", reader, "reader", "--model", model, "--days", "1"],
        ["grant", reader, "uploader", "--quota", "1000"],
        ["revoke", reader, "uploader"],
        ["revoke", reader, "reader", "--model", model],
        ["publish", model],
        ["grants", model],
        ["unpublish", model],
        ["transfer", model, reader, "--yes"],
        ["cost"],
        ["doctor"],
        ["localnet", "ledger"],
        ["delete", model, "--version", "1", "--yes"],
        ["gc"],
        ["gc", "--force"],
    ]


def _list_of(user: User, source: Path, model: str) -> Path:
    path = user.home / f"{model}.jsonl"
    path.write_text(json.dumps({"source": str(source), "model": model}))
    return path


def test_every_command_speaks_to_programs(user: User) -> None:
    for command in _life(user):
        done = user.run(*command, "--json")
        assert done.code == 0, (command, done.err)
        _programs_can_read(done)


def test_every_command_speaks_to_people(user: User) -> None:
    for command in _life(user, "another-life"):
        done = user.run(*command)
        assert done.code == 0, (command, done.err)
        assert done.out.strip(), command
        assert not done.out.lstrip().startswith("{")


def test_the_lives_above_use_every_command(user: User) -> None:
    from uploader.cli.commands import app

    names = {command.name for command in app.registered_commands}
    used = {str(command[0]) for command in _life(user)}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names |= {f"{group.name} {each.name}" for each in group.typer_instance.registered_commands}
    used |= {" ".join(map(str, command[:2])) for command in _life(user)}
    elsewhere = {
        *("localnet start", "localnet stop", "localnet reset"),
        *("localnet deploy", "localnet call", "localnet example", "identity import"),
        *("node promote", "load", "generate", "sign"),  # see test_generate, test_signatures
    }
    assert names - elsewhere <= used


def test_failures_speak_to_programs(user: User) -> None:
    for command in (
        ["show", "nothing"],
        ["fetch", "nothing", "out"],
        ["audit", "nothing"],
        ["delete", "nothing", "--yes"],
        ["upload", "nothing", "--as", "x"],
        ["plan", "nothing"],
        ["nonsense"],
        ["models", "--node", "nothing"],
        ["node", "create", "main"],
        ["node", "remove", "nothing"],
        ["localnet", "ledger", "--state-dir", "nothing"],
        ["localnet", "reset", "--state-dir", "nothing"],
    ):
        done = user.run(*command, "--json")
        assert done.code not in {0, 1}, (command, done)
        _programs_can_read(done)


def test_a_network_of_ones_own_speaks_to_programs(user: User) -> None:
    place = ["--state-dir", "own", "--json"]
    idle = user.run("localnet", "status", *place)
    assert (idle.code, idle.summary) == (50, {"type": "summary", "running": False})
    for command, code in (
        (["stop"], 0),
        (["start", "--detach", "--port", "0"], 0),
        (["start", "--detach", "--port", "0"], 50),
        (["status"], 0),
        (["ledger"], 0),
        (["stop"], 0),
        (["ledger"], 0),
        (["reset", "--yes"], 0),
        (["ledger"], 50),
    ):
        done = user.run("localnet", *command, *place)
        assert done.code == code, (command, done.err)
        _programs_can_read(done)
    assert not (user.home / "own").exists()


def test_a_plan_knows_what_the_node_holds(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 2, tensors=4)
    new = user.ok("plan", source, "--node", "main")
    assert (new["exact"], new["held_bytes"]) == (True, 0)
    user.ok("upload", source, "--as", "planned")
    before = len(messages(user.net.ledger()))
    held = user.ok("plan", source, "--node", "main")
    assert held["held_bytes"] == held["raw_bytes"] == source.stat().st_size
    assert (held["frame_bytes"], held["messages"], held["total_cycles"]) == (0, 0, 0)
    assert len(messages(user.net.ledger())) == before, "a plan is free"
    unknown = user.ok("plan", source, "--node", "main", "--identity", "anonymous")
    assert unknown["held_bytes"] == 0, "who may not read is told nothing"


def test_an_exact_plan_comes_true(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 3, tensors=4)
    planned = user.ok("plan", source, "--node", "main")
    done = user.ok("upload", source, "--as", "came-true")
    assert done["sent_bytes"] >= planned["frame_bytes"]
    assert done["sent_bytes"] < planned["frame_bytes"] + 20_000, "the manifest comes on top"


def test_the_library_does_what_the_command_does(user: User) -> None:
    source = checkpoint(user.home / "my-model" / "model.safetensors", 4)
    assert uploader.upload.__doc__ is not None
    example = uploader.upload.__doc__.split("Example:")[1]
    lines = [line.strip() for line in example.splitlines() if line.strip().startswith(">>> ")]
    code = "\n".join(line[4:].split("  # doctest")[0] for line in lines)
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - our own documentation
    summary = names["summary"]
    assert isinstance(summary, uploader.UploadSummary)
    assert (summary.model, summary.version, summary.unchanged) == ("my-model", 1, False)
    assert uploader.upload(source.parent, "my-model").unchanged
    assert not textwrap.dedent(code).startswith(" ")
    got = datanode.fetch("my-model", "back", node="main", identity=user.pem)
    assert got.files_count == 1
    assert Path("back/model.safetensors").read_bytes() == source.read_bytes()
    report = datanode.audit("my-model", node="main", identity=user.pem)
    assert report.error() is None


def test_the_library_raises_what_the_command_says(user: User) -> None:
    with pytest.raises(errors.SourceError):
        uploader.upload("nowhere", "m")
    with pytest.raises(errors.UsageError):
        uploader.upload(checkpoint(user.home / "m.safetensors", 5), "a name")
