"""`plan` and `upload` of a model of the hub; `fetch` of some of its files, at a limited rate."""

from pathlib import Path

import pytest

from datanode.agent.rate_limit import LEAST_BYTES_S
from tests.cli.stage import User, checkpoint
from tests.fakes.hub_server import REPOSITORY, Model, hub_server


@pytest.fixture
def model(user: User) -> Model:
    weights = checkpoint(user.home / "m.safetensors", 9)
    found = Model(files={"model.safetensors": weights.read_bytes(), "config.json": b"{}"})
    weights.unlink()
    return found


def test_a_model_of_the_hub_is_uploaded_without_a_copy_on_disk(user: User, model: Model) -> None:
    address = f"hf://{REPOSITORY}@main"
    model.token = "t"  # noqa: S105 - of no hub
    with hub_server(model) as url:
        # In a process of its own, as a user sets the endpoint and the token.
        for command in (["plan", address], ["upload", address, "--as", "from-hub"]):
            home = str(user.home / "hub")
            done = user.process(*command, HF_ENDPOINT=url, HF_HOME=home, HF_TOKEN=model.token)
            assert done.code == 0, done.err
    assert not list(user.home.rglob("*.safetensors"))
    user.ok("fetch", "from-hub", "back")
    for path, data in model.files.items():
        assert Path("back", path).read_bytes() == data


def test_a_file_that_is_not_what_the_hub_names_is_not_sealed(user: User, model: Model) -> None:
    model.digests["model.safetensors"] = "0" * 64
    with hub_server(model) as url:
        command = ("upload", f"hf://{REPOSITORY}", "--as", "altered")
        done = user.process(*command, HF_ENDPOINT=url, HF_HOME=str(user.home / "hub"))
    assert done.code == 31
    assert done.says("model.safetensors is not what", "--restart")
    user.fails(10, "show", "altered")


def test_globs_choose_the_files_that_are_fetched(user: User) -> None:
    folder = user.home / "m"
    folder.mkdir()
    checkpoint(folder / "model.safetensors", 5)
    for name in ("config.json", "tokenizer.json", "README.md"):
        (folder / name).write_text(name)
    user.ok("upload", folder, "--as", "globs")
    got = user.ok("fetch", "globs", "some", "--include", "*.json", "--exclude", "tok*")
    assert (got["files"], got["raw_bytes"]) == (1, len("config.json"))
    assert [path.name for path in Path("some").iterdir()] == ["config.json"]
    assert user.fails(10, "fetch", "globs", "none", "--include", "*.gguf").says("no file of globs")
    assert not Path("none").exists()
    assert user.fails(2, "fetch", "globs", "t", "--tensor", "x", "--include", "*").says("--tensor")


def test_a_limited_upload_and_fetch_are_whole(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 6)
    user.ok("upload", source, "--as", "slow", "--limit-rate", "100MiB")
    user.ok("fetch", "slow", "back", "--limit-rate", "100MiB/s")
    assert Path("back/m.safetensors").read_bytes() == source.read_bytes()
    assert user.ok("audit", "slow", "--limit-rate", "100MiB")
    too_slow = user.fails(2, "fetch", "slow", "back", "--limit-rate", str(LEAST_BYTES_S - 1))
    assert too_slow.says("too low")
    assert user.fails(2, "upload", source, "--as", "slow", "--limit-rate", "fast").says("'fast'")
