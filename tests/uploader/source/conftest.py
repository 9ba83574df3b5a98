"""A bucket within reach of this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.bucket_server import Shelf, bucket_server
from uploader.source import s3


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shelf]:
    """Bucket named by the environment, read without waits between attempts."""
    made = Shelf()
    monkeypatch.setattr(s3, "_sleep", lambda _: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    with bucket_server(made) as url:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-sees",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield made
