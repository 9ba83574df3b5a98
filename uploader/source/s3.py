"""A bucket of S3, or of what speaks like it: objects, pinned by their ETag.

Each read is a ranged GET with `If-Match`, so that an object that was written over is noticed by the
server. Credentials, region and endpoint come from where every program of AWS looks for them
(`AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, `~/.aws/config`, ...); without credentials, requests are not
signed, which is enough for public buckets.
"""

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from datanode.errors import (
    DataNodeError,
    NetworkError,
    SourceChangedError,
    SourceError,
    TruncatedSourceError,
)
from datanode.text import printable
from datanode.units import KIB
from uploader.source import hub
from uploader.source.base import PinnedFile, shown
from uploader.source.files import Files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_SCHEME: Final = "s3://"
_BUCKET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn")
_MAX_LISTED: Final = 100_000
_PART_BYTES: Final = 256 * KIB
"""What a connection that breaks loses at most."""
_ATTEMPTS: Final = 5
"""Requests in a row that may bring nothing; each of them is tried as often by the library."""
_PAUSE_S: Final = 0.1
_NOT_FOUND: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_CHANGED: Final = frozenset({"412", "PreconditionFailed"})
_DENIED: Final = frozenset({"403", "AccessDenied", "Forbidden", "AllAccessDisabled"})
_SERVER_FAULT: Final = 500
_ON_THE_WAY: Final = (
    NoConnectionError,
    HTTPClientError,
    IncompleteReadError,
    FlexibleChecksumError,
)
"""No connection, no answer, half an answer, a damaged one: what another attempt may mend."""


def find(address: str) -> tuple[Files, str | None]:
    """Take `s3://BUCKET/KEY` apart: the objects, and the name of one if it was named.

    Raises:
        SourceError: It is not such an address, or credentials are half there.
    """
    bucket, _, key = address.removeprefix(_SCHEME).partition("/")
    if not _BUCKET_NAME.fullmatch(bucket):
        raise SourceError(
            f"{shown(address)} does not name a bucket", hint="Write s3://BUCKET/KEY or /PREFIX."
        )
    folder, _, name = key.rpartition("/")
    alone = hub.is_named_alone(name)
    prefix = folder if alone else key.rstrip("/")
    with _mapped(f"bucket {bucket}"):
        return Bucket(_client(), address, bucket, f"{prefix}/" if prefix else ""), (
            name if alone else None
        )


class Bucket:
    """The objects of a bucket whose keys begin with a prefix.

    Args:
        client: Of boto3; any thread may use it.
        location: The address, as the operator wrote it.
        bucket: Name of the bucket.
        prefix: Empty, or with a slash at its end.
    """

    def __init__(self, client: "S3Client", location: str, bucket: str, prefix: str) -> None:
        self._client = client
        self._location = location
        self._bucket = bucket
        self._prefix = prefix
        self._etags: dict[str, str] = {}

    @property
    def location(self) -> str:
        """The address, as the operator wrote it."""
        return self._location

    def names(self) -> Iterator[str]:
        """List every object below the prefix, hidden ones and markers of folders left out."""
        listed = 0
        with _mapped(self._location):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for found in page.get("Contents", ()):
                    listed += 1
                    name = found.get("Key", "").removeprefix(self._prefix)
                    if name and not name.endswith("/") and not _is_hidden(name):
                        yield name
                if listed > _MAX_LISTED:
                    raise SourceError(
                        f"{shown(self._location)} has more than {_MAX_LISTED} objects"
                    )

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
        return PinnedFile(path=name, length_bytes=length_bytes, stamp=_stamp(etag), inode=0)

    def read(self, file: PinnedFile, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of a pinned object."""
        end = offset_bytes + length_bytes
        if end > file.length_bytes:
            raise TruncatedSourceError(
                f"{file.path} ends {end - file.length_bytes} bytes early, at {file.length_bytes}"
            )
        data = bytearray()
        failed = 0
        while len(data) < length_bytes:
            before = len(data)
            try:
                with self._open(file, offset_bytes + before, end) as parts:
                    for part in parts:
                        data += part
            except NetworkError:
                failed = 0 if len(data) > before else failed + 1
                if failed == _ATTEMPTS:
                    raise
                time.sleep(_PAUSE_S * 2**failed)
        return bytes(data)

    def check(self, file: PinnedFile) -> None:
        """Compare an object with its pin."""
        found = self._look(file.path)
        if found is None:
            raise SourceChangedError(f"{file.path} is gone")
        if found != (file.length_bytes, self._etags[file.path]):
            raise SourceChangedError(f"{file.path} was written over since it was opened")

    @contextmanager
    def opened(self, file: PinnedFile, head: bytes) -> Iterator[Path]:
        """Give a temporary file with the object's first bytes and, as a hole, its length."""
        with tempfile.TemporaryDirectory(prefix="datanode-") as folder:
            path = Path(folder) / "head"
            with path.open("wb") as copy:
                copy.write(head)
                copy.truncate(file.length_bytes)
            yield path

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _look(self, name: str) -> tuple[int, str] | None:
        """Return size and ETag, or None if there is no such object."""
        with _mapped(f"{self._location}: {name}"):
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=self._key(name))
            except ClientError as error:
                if _code(error) in _NOT_FOUND:
                    return None
                raise
        length_bytes, etag = found.get("ContentLength", -1), found.get("ETag", "")
        if length_bytes < 0 or not etag:
            raise SourceError(f"the server tells no size or no ETag of {shown(name)}")
        return length_bytes, etag

    @contextmanager
    def _open(self, file: PinnedFile, start: int, end: int) -> Iterator[Iterator[bytes]]:
        """Open the bytes from `start` to `end`, in parts, each at most what is asked for."""
        with _mapped(f"{self._location}: {file.path}"):
            found = self._client.get_object(
                Bucket=self._bucket,
                Key=self._key(file.path),
                Range=f"bytes={start}-{end - 1}",
                IfMatch=self._etags[file.path],
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
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
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


def _stamp(etag: str) -> int:
    """Make of an ETag the number that the state compares across runs; 63 bits."""
    return int.from_bytes(hashlib.sha256(etag.encode()).digest()[:8]) >> 1


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Turn what boto3 raises into the error tree, with the cause kept."""
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, shown(what)) from error
    except _ON_THE_WAY as error:
        raise NetworkError(
            f"{shown(what)} does not answer: {printable(str(error))}",
            safe="What was sent is stored and paid; the next run goes on there.",
        ) from error
    except BotoCoreError as error:
        raise SourceError(f"{shown(what)} cannot be read: {printable(str(error))}") from error


def _of_answer(error: ClientError, what: str) -> DataNodeError:
    code = _code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _NOT_FOUND:
        return SourceChangedError(f"{what} is gone")
    if code in _CHANGED:
        return SourceChangedError(f"{what} was written over since it was opened")
    if code in _DENIED:
        return SourceError(
            f"{what} may not be read with these credentials",
            hint="Check AWS_PROFILE or AWS_ACCESS_KEY_ID; listing needs s3:ListBucket.",
        )
    said = printable(str(error.response.get("Error", {}).get("Message", "")) or code)
    if status >= _SERVER_FAULT or code == "SlowDown":
        return NetworkError(f"{what} does not answer: {said}")
    return SourceError(f"{what} cannot be read: {said}")
