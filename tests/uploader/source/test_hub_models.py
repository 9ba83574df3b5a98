"""uploader.source.hub: a model of the hub, read at one commit from a stand-in over real HTTP."""

import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from datanode.errors import (
    DataNodeError,
    MissingShardError,
    NetworkError,
    SourceChangedError,
    SourceError,
    TruncatedSourceError,
    UsageError,
)
from tests.fakes.hub_server import COMMIT, REPOSITORY, Model, hub_server
from tests.uploader.source.checkpoints import safetensors, sharded
from uploader.source import hub, open_source

MODEL = safetensors({"a": 700_000, "b": 9})
ADDRESS = f"hf://{REPOSITORY}"
TOKEN = "hf_a-secret-that-nobody-sees"  # noqa: S105 - of no hub


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Model]:
    """A hub named by the environment, read without waits between attempts."""
    made = Model(files={"model.safetensors": MODEL, "config.json": b"{}", ".gitattributes": b"x"})
    monkeypatch.setattr(hub, "_sleep", lambda _: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with hub_server(made) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield made
    huggingface_hub.close_session()


def refused(kind: type[DataNodeError], address: str = ADDRESS) -> DataNodeError:
    with pytest.raises(kind) as caught:
        open_source(address)
    text = f"{caught.value.what} {caught.value.safe} {caught.value.hint}"
    assert TOKEN not in text
    assert "\x1b" not in text
    return caught.value


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        f"{ADDRESS}/",
        f"{ADDRESS}@main",
        f"{ADDRESS}@refs/pr/7",
        f"{ADDRESS}@{COMMIT}",
        f"{ADDRESS}@v1/model.safetensors",
        f"{ADDRESS}/model.safetensors",
    ],
)
def test_a_model_is_read_by_range_at_its_commit(model: Model, address: str) -> None:
    source = open_source(address)
    assert source.location == address
    number = [file.path for file in source.files()].index("model.safetensors")
    assert [tensor.name for tensor in source.tensors()] == ["a", "b"]
    model.asked.clear()
    for start, end in [(0, 8), (0, len(MODEL)), (300_000, 600_001), (len(MODEL), len(MODEL))]:
        assert source.read(number, start, end - start) == MODEL[start:end]
    assert [asked for _, asked in model.asked] == [
        "bytes=0-7",
        f"bytes=0-{len(MODEL) - 1}",
        "bytes=300000-600000",
    ]
    with pytest.raises(TruncatedSourceError, match="ends 2 bytes early"):
        source.read(number, len(MODEL) - 8, 10)
    source.check_unchanged()
    source.close()


def test_a_model_is_taken_whole_but_for_hidden_files_and_other_formats(model: Model) -> None:
    model.files |= {"sub/tokenizer.json": b"{}", "pytorch_model.bin": b"weights", ".a/b.json": b""}
    source = open_source(ADDRESS)
    paths = ["config.json", "model.safetensors", "sub/tokenizer.json"]
    assert [file.path for file in source.files()] == paths
    assert [each.path for each in source.left_out] == ["pytorch_model.bin"]


def test_a_folder_of_a_model_and_its_shards(model: Model, tmp_path: Path) -> None:
    index = sharded(tmp_path / "disk")
    for path in index.parent.iterdir():
        model.files[f"large/{path.name}"] = path.read_bytes()
    for address in [f"{ADDRESS}@main/large", f"{ADDRESS}/large/{index.name}"]:
        source = open_source(address)
        assert [tensor.name for tensor in source.tensors()] == ["a", "b", "c"]
    del model.files["large/model-00002-of-00002.safetensors"]
    refused(MissingShardError, f"{ADDRESS}/large/{index.name}")


def test_a_branch_that_moves_changes_only_the_stamps_of_changed_files(model: Model) -> None:
    before = {file.path: file.stamp for file in open_source(ADDRESS).pinned()}
    model.files["config.json"] = b"{ }"
    after = {file.path: file.stamp for file in open_source(ADDRESS).pinned()}
    assert {path for path in before if before[path] != after[path]} == {"config.json"}


def test_the_token_goes_to_the_hub_and_not_to_its_storage(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.token = TOKEN
    assert "hf auth login" in refused(SourceError).hint
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    model.tokens.clear()
    source = open_source(ADDRESS)
    assert source.read(1, 0, len(MODEL)) == MODEL
    assert set(model.tokens) == {("hub", f"Bearer {TOKEN}"), ("storage", "")}


@pytest.mark.parametrize("words", [["busy"], ["limit", "none"], ["cut", "cut", "busy"]])
def test_a_hub_that_falters_is_asked_again(model: Model, words: list[str]) -> None:
    source = open_source(ADDRESS)
    model.script = list(words)
    assert source.read(1, 100, 600_000) == MODEL[100:600_100]
    assert not model.script


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (["none"] * 9, NetworkError, "does not answer"),
        (["busy"] * 9, NetworkError, "does not answer"),
        (["denied"], SourceError, "cannot be read"),
        (["gone"], SourceChangedError, "is gone"),
        (["whole"], SourceError, "the server sends the whole file"),
        (["other"], SourceError, "asked for bytes 100-299, the server sends bytes 101-300"),
    ],
)
def test_what_else_a_hub_can_do(
    model: Model, words: list[str], kind: type[DataNodeError], says: str
) -> None:
    source = open_source(ADDRESS)
    model.script = list(words)
    with pytest.raises(kind, match=says) as caught:
        source.read(1, 100, 200)
    assert "\x1b" not in caught.value.what


def test_what_is_no_model(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not there" in refused(SourceError, "hf://org/other").what
    assert "no such revision" in refused(SourceError, f"{ADDRESS}@lost").what
    for wrong in ["hf://", "hf://@main", "hf://org/model@", "hf://or g/model", "hf://a/../b@c@d"]:
        assert "hf://ORG/MODEL" in refused(SourceError, wrong).hint
    model.gated = True
    assert "gated" in refused(SourceError).what
    model.gated = False
    model.digests["model.safetensors"] = "no\x1b[2J"
    assert "no SHA-256" in refused(SourceError).what
    model.sizes = False
    assert "no size" in refused(SourceError).what
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(SourceError).hint


def test_without_the_extra_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "uploader.source.hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="huggingface_hub, which is not installed") as caught:
        open_source(ADDRESS)
    assert "datanode[hub]" in caught.value.hint
