"""A model from a bucket of a real S3 server into the storage canister, and back byte for byte."""

import io
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import numpy as np
import pytest
from boto3.s3.transfer import TransferConfig

from tests.cli.conftest import canister, owner_pem, user
from tests.cli.stage import User, noise
from tests.conformance.swift_server import KEY, SECRET, keeps_attributes, swift
from tests.fakes.ledger_judge import messages, paid
from tests.uploader.session.stage import safetensors_bytes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["canister", "owner_pem", "user"]

pytestmark = pytest.mark.conformance
BUCKET = "models"
PARTS = TransferConfig(multipart_threshold=8 * 2**20, multipart_chunksize=5 * 2**20)
"""What is larger travels in parts, and has an ETag that is not the MD5 of its bytes."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("swift")
    if not keeps_attributes(folder):
        pytest.skip("Swift needs a file system with user attributes for its objects")
    with swift(folder) as address:
        yield address


@pytest.fixture
def s3(user: User, url: str) -> Iterator["S3Client"]:
    """A client of the bucket, which the user's environment names."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        user.patch.setenv(name, value)
    client = boto3.client("s3")
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


def put(s3: "S3Client", folder: str, seed: int) -> dict[str, bytes]:
    """Put a hub folder into the bucket; return its files."""
    tensors = {f"layer.{n}": noise(seed + n, 1_500_000) for n in range(8)}
    files = {
        "model.safetensors": safetensors_bytes({**tensors, "norm": np.ones(4, np.float16)}),
        "config.json": b"{}",
        "tokenizer/vocab.txt": b"a b c",
    }
    for name, data in files.items():
        s3.upload_fileobj(io.BytesIO(data), BUCKET, f"{folder}/{name}", Config=PARTS)
    return files


def fetched(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_an_upload_from_a_bucket_survives_a_kill_and_comes_back(s3: "S3Client", user: User) -> None:
    files = put(s3, "kept", 700)
    address = f"s3://{BUCKET}/kept"
    assert user.ok("plan", address)["raw_bytes"] == sum(map(len, files.values()))
    before, seen = paid(user.net.ledger()), len(user.net.ledger())
    process = user.start("upload", address, "--as", "from-a-bucket")
    while not any(entry.method == "put_frames" for entry in user.net.ledger(after=seen)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert user.ok("upload", address, "--as", "from-a-bucket")["version"] == 1
    assert user.ok("upload", address, "--as", "from-a-bucket")["unchanged"] is True
    assert paid(user.net.ledger()).twice_count == before.twice_count
    user.ok("fetch", "from-a-bucket", "back")
    assert fetched(user.home / "back") == files


def test_what_a_node_lost_is_repaired_from_the_bucket(s3: "S3Client", user: User) -> None:
    put(s3, "mended", 800)
    user.ok("upload", f"s3://{BUCKET}/mended", "--as", "mended")
    user.flip("mended", chunk=2)
    assert user.run("audit", "mended").code == 40
    assert user.run("audit", "mended", "--repair", f"s3://{BUCKET}/mended").code == 0
    user.ok("audit", "mended")


def test_a_model_that_was_written_over_is_planned_anew_on_request(
    s3: "S3Client", user: User
) -> None:
    first = put(s3, "new", 900)
    address = f"s3://{BUCKET}/new"
    user.ok("upload", address, "--as", "new", "--max-cycles", "1TC")
    second = put(s3, "new", 901)
    assert {name: len(data) for name, data in first.items()} == {
        name: len(data) for name, data in second.items()
    }
    assert user.ok("upload", address, "--as", "new")["version"] == 2
    user.ok("fetch", "new", "back")
    assert fetched(user.home / "back") == second


def test_wrong_credentials_are_a_clear_error_and_nothing_is_sent(
    s3: "S3Client", user: User
) -> None:
    put(s3, "closed", 1_000)
    seen = len(user.net.ledger())
    user.patch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    done = user.fails(13, "upload", f"s3://{BUCKET}/closed", "--as", "closed")
    assert "not-the-secret" not in done.err
    assert not messages(user.net.ledger(after=seen))
