"""uploader.source.s3: what a bucket, its network or its server can do to a source."""

import json
from pathlib import Path

import pytest

from datanode.errors import (
    DataNodeError,
    MissingShardError,
    NetworkError,
    SourceChangedError,
    SourceError,
    TruncatedSourceError,
)
from tests.fakes.bucket_server import BUCKET, Shelf
from tests.uploader.source.checkpoints import safetensors, sharded
from uploader.source import open_source

MODEL = safetensors({"a": 700_000, "b": 9})


@pytest.fixture(autouse=True)
def model(shelf: Shelf) -> None:
    """The bucket holds one model."""
    shelf.objects = {"m/model.safetensors": MODEL, "m/config.json": b"{}"}


def address(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


def refused(kind: type[DataNodeError], key: str) -> DataNodeError:
    with pytest.raises(kind) as caught:
        open_source(address(key))
    text = f"{caught.value.what} {caught.value.safe} {caught.value.hint}"
    assert "a-secret" not in text
    assert "\x1b" not in text
    return caught.value


@pytest.mark.parametrize("key", ["m/model.safetensors", "m", "m/"])
def test_a_model_is_read_by_range(shelf: Shelf, key: str) -> None:
    source = open_source(address(key))
    number = [file.path for file in source.files()].index("model.safetensors")
    assert source.location == address(key)
    assert [tensor.name for tensor in source.tensors()] == ["a", "b"]
    for start, end in [(0, 8), (0, len(MODEL)), (300_000, 600_001), (len(MODEL), len(MODEL))]:
        assert source.read(number, start, end - start) == MODEL[start:end]
    with pytest.raises(TruncatedSourceError, match="ends 2 bytes early"):
        source.read(number, len(MODEL) - 8, 10)
    source.check_unchanged()
    source.close()


def test_a_folder_is_what_belongs_to_a_checkpoint(shelf: Shelf) -> None:
    shelf.objects |= {
        "m/": b"",
        "m/sub/": b"",
        "m/sub/tokenizer.json": b"{}",
        "m/.git/config.json": b"",
        "m/.hidden.json": b"",
        "m/pytorch_model.bin": b"weights",
        "mm/other.safetensors": MODEL,
    }
    source = open_source(address("m"))
    paths = ["config.json", "model.safetensors", "sub/tokenizer.json"]
    assert [file.path for file in source.files()] == paths
    assert [each.path for each in source.left_out] == ["pytorch_model.bin"]
    source.close()


def test_shards_are_found_through_their_index(shelf: Shelf, tmp_path: Path) -> None:
    index = sharded(tmp_path / "disk")
    for path in index.parent.iterdir():
        shelf.objects[f"m/{path.name}"] = path.read_bytes()
    source = open_source(address(f"m/{index.name}"))
    assert [tensor.name for tensor in source.tensors()] == ["a", "b", "c"]
    source.close()
    del shelf.objects["m/model-00002-of-00002.safetensors"]
    assert "00002-of-00002" in refused(MissingShardError, f"m/{index.name}").what


def test_what_is_not_there_or_not_a_checkpoint_is_refused(shelf: Shelf) -> None:
    shelf.objects["m/bad.safetensors"] = b"\xff" * 20
    shelf.objects["x/config.json"] = b"{}"
    shelf.objects["n/a name with blanks.json"] = b"{}"
    shelf.objects["n/model.safetensors"] = MODEL
    assert "no object" in refused(SourceError, "m/absent.safetensors").what
    assert "no .safetensors" in refused(SourceError, "x").what
    assert "no .safetensors" in refused(SourceError, "nothing/here").what
    assert "bad.safetensors" in refused(SourceError, "m/bad.safetensors").what
    assert "characters outside" in refused(SourceError, "n").what


@pytest.mark.parametrize("text", ["s3://", "s3:///key", "s3://a", "s3://a b/c", "s3://-no-/x"])
def test_an_address_without_a_bucket_is_refused(shelf: Shelf, text: str) -> None:
    with pytest.raises(SourceError, match="does not name a bucket"):
        open_source(text)
    assert not shelf.asked


@pytest.mark.parametrize("word", ["busy", "cut", "none"])
@pytest.mark.parametrize("times", [1, 4])
def test_what_breaks_on_the_way_is_asked_for_again(shelf: Shelf, word: str, times: int) -> None:
    source = open_source(address("m/model.safetensors"))
    shelf.script = [word] * times
    assert source.read(0, 5, 700_000) == MODEL[5:700_005]
    assert not shelf.script
    source.close()


@pytest.mark.parametrize("word", ["busy", "none"])
def test_a_server_that_never_answers_is_given_up(shelf: Shelf, word: str) -> None:
    source = open_source(address("m/model.safetensors"))
    shelf.script = [word] * 1_000
    with pytest.raises(NetworkError):
        source.read(0, 0, 100)
    source.close()


@pytest.mark.parametrize("word", ["whole", "other"])
def test_other_bytes_than_were_asked_for_are_refused(shelf: Shelf, word: str) -> None:
    source = open_source(address("m/model.safetensors"))
    shelf.script = [word]
    with pytest.raises(SourceError, match="asked for bytes 5-104, the server sends"):
        source.read(0, 5, 100)
    source.close()


def test_an_object_that_is_written_over_is_noticed(shelf: Shelf) -> None:
    source = open_source(address("m/model.safetensors"))
    (before,) = source.pinned()
    shelf.script = ["swap"]
    with pytest.raises(SourceChangedError, match="written over"):
        source.read(0, 0, 100)
    with pytest.raises(SourceChangedError, match="written over"):
        source.check_unchanged()
    source.close()
    shelf.objects["m/model.safetensors"] = safetensors({"a": 700_000, "c": 9})
    source = open_source(address("m/model.safetensors"))
    (after,) = source.pinned()
    assert after.length_bytes == before.length_bytes
    assert after.stamp != before.stamp
    del shelf.objects["m/model.safetensors"]
    with pytest.raises(SourceChangedError, match="gone"):
        source.read(0, 0, 100)
    with pytest.raises(SourceChangedError, match="gone"):
        source.check_unchanged()
    source.close()


REASONS = {
    "denied": ("AccessDenied: no ", "AWS_PROFILE"),
    "kms": ("not authorized to perform: kms:Decrypt", "allow this identity kms:Decrypt"),
    "payer": ("Requester Pays bucket", "--request-payer"),
    "expired": ("ExpiredToken: The provided token has expired.", "Log in again"),
}


@pytest.mark.parametrize("word", REASONS)
def test_the_reason_of_the_server_and_the_next_step_are_told(shelf: Shelf, word: str) -> None:
    source = open_source(address("m/model.safetensors"))
    said, next_step = REASONS[word]
    shelf.script = [word]
    with pytest.raises(SourceError) as caught:
        source.read(0, 0, 100)
    assert said in caught.value.what
    assert next_step in caught.value.hint
    assert "Nothing was sent" not in f"{caught.value.safe} {caught.value.hint}"
    source.close()
    # An answer to HEAD has no reason: a GET of one byte is refused with one.
    shelf.heads = word
    shelf.script = [word]
    error = refused(SourceError, "m/model.safetensors")
    assert said in error.what
    assert next_step in error.hint


def test_a_list_that_is_denied_says_so(shelf: Shelf) -> None:
    shelf.lists = "denied"
    error = refused(SourceError, "m")
    assert "AccessDenied" in error.what
    assert "AWS_PROFILE" in error.hint


def test_whoever_pays_for_requests_says_so_in_each(shelf: Shelf) -> None:
    shelf.payer = True
    assert "--request-payer" in refused(SourceError, "m").hint
    source = open_source(address("m"), request_payer=True)
    number = [file.path for file in source.files()].index("model.safetensors")
    assert source.read(number, 0, 8) == MODEL[:8]
    source.check_unchanged()
    source.close()


def test_a_server_that_talks_nonsense_is_refused(shelf: Shelf) -> None:
    shelf.lists = "junk"
    refused(NetworkError, "m")
    shelf.lists = "endless"
    assert "more than" in refused(SourceError, "m").what
    shelf.etags = False
    assert "no ETag" in refused(SourceError, "m/model.safetensors").what


def test_a_server_that_is_not_there_is_a_fault_of_the_network(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert "does not answer" in refused(NetworkError, "m/model.safetensors").what


def test_a_public_bucket_needs_no_credentials(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_source(address("m")).close()
    assert all(shelf.signed)
    shelf.signed.clear()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    open_source(address("m")).close()
    assert shelf.signed
    assert not any(shelf.signed)


def test_half_of_the_credentials_are_a_clear_error(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "credentials" in refused(SourceError, "m").what.lower()


def test_a_header_of_the_library_is_the_one_that_was_read(shelf: Shelf) -> None:
    """A length that only the whole object has: the second opinion sees it."""
    head = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    shelf.objects["m/long.safetensors"] = len(head).to_bytes(8, "little") + head + b"12345"
    assert "long.safetensors" in refused(SourceError, "m/long.safetensors").what
