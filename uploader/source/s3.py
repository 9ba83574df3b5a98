"""A bucket of S3, or of what speaks like it: objects, pinned by their ETag.

Each read is a ranged GET with `If-Match`, so that an object that was written over is noticed by the
server. Credentials, region and endpoint come from where every program of AWS looks for them
(`AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, `~/.aws/config`, ...); without credentials, requests are not
signed, which is enough for public buckets.
"""

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from datanode.agent.retry import retrying
from datanode.errors import (
    NetworkError,
    SourceChangedError,
    SourceError,
)
from datanode.text import printable, shown
from datanode.units import KIB
from uploader import stamps
from uploader.source import checkpoint_layout
from uploader.source.base import PinnedFile
from uploader.source.file_store import Files, head_copy, is_hidden
from uploader.source.ranged import read_range
from uploader.source.s3_errors import NOT_FOUND, code_of, is_silent, mapped

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

_SCHEME: Final = "s3://"
_BUCKET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn")
_MAX_LISTED: Final = 100_000
_PART_BYTES: Final = 256 * KIB
"""What a connection that breaks loses at most."""

_sleep = time.sleep  # replaced by tests


def find(address: str, *, request_payer: bool = False) -> tuple[Files, str | None]:
    """Take `s3://BUCKET/KEY` apart: the objects, and the name of one if it was named.

    Args:
        address: As the operator wrote it.
        request_payer: Pay for the requests, where the owner of the bucket does not.

    Raises:
        SourceError: It is not such an address, or credentials are half there.
    """
    bucket, _, key = address.removeprefix(_SCHEME).partition("/")
    if not _BUCKET_NAME.fullmatch(bucket):
        raise SourceError(
            f"{shown(address)} does not name a bucket", hint="Write s3://BUCKET/KEY or /PREFIX."
        )
    folder, _, name = key.rpartition("/")
    alone = checkpoint_layout.is_named_alone(name)
    prefix = folder if alone else key.rstrip("/")
    with mapped(f"bucket {bucket}"):
        files = Bucket(
            _client(),
            address,
            bucket,
            f"{prefix}/" if prefix else "",
            request_payer=request_payer,
        )
        return files, name if alone else None


class _Paying(TypedDict, total=False):
    RequestPayer: Literal["requester"]


class _More(TypedDict, total=False):
    ContinuationToken: str


class Bucket:
    """The objects of a bucket whose keys begin with a prefix.

    Args:
        client: Of boto3; any thread may use it.
        location: The address, as the operator wrote it.
        bucket: Name of the bucket.
        prefix: Empty, or with a slash at its end.
        request_payer: Pay for the requests.
    """

    def __init__(
        self,
        client: "S3Client",
        location: str,
        bucket: str,
        prefix: str,
        *,
        request_payer: bool = False,
    ) -> None:
        self._client = client
        self._location = location
        self._bucket = bucket
        self._prefix = prefix
        self._paying: _Paying = {"RequestPayer": "requester"} if request_payer else {}
        self._etags: dict[str, str] = {}

    @property
    def location(self) -> str:
        """The address, as the operator wrote it."""
        return self._location

    def names(self) -> Iterator[str]:
        """List every object below the prefix, hidden ones and markers of folders left out."""
        listed = 0
        token: str | None = ""
        while token is not None:
            page, token = retrying(partial(self._page, token), sleep=_sleep)
            listed += len(page)
            for key in page:
                name = key.removeprefix(self._prefix)
                if name and not name.endswith("/") and not is_hidden(name):
                    yield name
            if listed > _MAX_LISTED:
                raise SourceError(f"{shown(self._location)} has more than {_MAX_LISTED} objects")

    def _page(self, token: str) -> tuple[list[str], str | None]:
        """List some keys, and say how to ask for those after them."""
        more: _More = {"ContinuationToken": token} if token else {}
        with mapped(self._location):
            found = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix, **more, **self._paying
            )
        keys = [each.get("Key", "") for each in found.get("Contents", ())]
        return keys, found.get("NextContinuationToken") if found.get("IsTruncated") else None

    def holds(self, name: str) -> bool:
        """Whether there is such an object."""
        return self._look(name) is not None

    def pin(self, name: str) -> PinnedFile:
        """Note size and ETag of an object."""
        found = self._look(name)
        if found is None:
            raise SourceError(f"there is no object {shown(name)} in {shown(self._location)}")
        length_bytes, etag = found
        self._etags[name] = etag
        return PinnedFile(path=name, length_bytes=length_bytes, stamp=stamps.of_tag(etag), inode=0)

    def read(self, file: PinnedFile, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of a pinned object."""
        return read_range(self._open, file, offset_bytes, length_bytes, sleep=_sleep)

    def check(self, file: PinnedFile) -> None:
        """Compare an object with its pin."""
        found = self._look(file.path)
        if found is None:
            raise SourceChangedError(f"{file.path} is gone")
        if found != (file.length_bytes, self._etags[file.path]):
            raise SourceChangedError(f"{file.path} was written over since it was opened")

    def opened(self, file: PinnedFile, head: bytes) -> AbstractContextManager[Path]:
        """Give a temporary file with the object's first bytes and, as a hole, its length."""
        return head_copy(file, head)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _look(self, name: str) -> tuple[int, str] | None:
        """Return size and ETag, or None if there is no such object."""
        found = retrying(partial(self._head, name), sleep=_sleep)
        if found is None:
            return None
        length_bytes, etag = found.get("ContentLength", -1), found.get("ETag", "")
        if length_bytes < 0 or not etag:
            raise SourceError(f"the server tells no size or no ETag of {shown(name)}")
        return length_bytes, etag

    def _head(self, name: str) -> "HeadObjectOutputTypeDef | None":
        key = self._key(name)
        with mapped(f"{self._location}: {name}"):
            try:
                return self._client.head_object(Bucket=self._bucket, Key=key, **self._paying)
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return None
                if is_silent(error):  # a GET is refused with a reason
                    self._client.get_object(
                        Bucket=self._bucket, Key=key, Range="bytes=0-0", **self._paying
                    )
                raise

    @contextmanager
    def _open(self, file: PinnedFile, start: int, end: int) -> Iterator[Iterator[bytes]]:
        """Open the bytes from `start` to `end`, in parts, each at most what is asked for."""
        with mapped(f"{self._location}: {file.path}"):
            found = self._client.get_object(
                Bucket=self._bucket,
                Key=self._key(file.path),
                Range=f"bytes={start}-{end - 1}",
                IfMatch=self._etags[file.path],
                **self._paying,
            )
            with closing(found["Body"]):
                _check_range(found, file, start, end)
                yield _parts(found, end - start)


def _parts(found: "GetObjectOutputTypeDef", length_bytes: int) -> Iterator[bytes]:
    body, missing = found["Body"], length_bytes
    while missing:
        part = body.read(min(missing, _PART_BYTES))
        if not part:
            raise NetworkError("the connection ended early")
        missing -= len(part)
        yield part


def _check_range(found: "GetObjectOutputTypeDef", file: PinnedFile, start: int, end: int) -> None:
    """Refuse a server that sends other bytes than were asked for."""
    told = found.get("ContentRange", "")
    if told != f"bytes {start}-{end - 1}/{file.length_bytes}":
        raise SourceError(
            f"{file.path}: asked for bytes {start}-{end - 1}, the server sends "
            f"{printable(told) or 'the whole object'}"
        )


def _client() -> "S3Client":
    """Make a client that signs if there are credentials, and names buckets by path off AWS."""
    session = boto3.session.Session()
    signature = None if session.get_credentials() else UNSIGNED
    config = Config(
        signature_version=signature,
        retries={"mode": "standard", "total_max_attempts": 1},  # ours: `datanode.agent.retry`
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
    )
    client = session.client("s3", config=config)
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if host.endswith(_AWS_HOSTS):
        return client
    client.close()
    return session.client("s3", config=config.merge(Config(s3={"addressing_style": "path"})))
