"""A model of the Hugging Face hub, `hf://ORG/MODEL[@REVISION]`, read by range.

The revision is resolved once, to a commit, and everything is read at that commit: a branch that
moves in the meantime changes nothing. Large files are compared with the SHA-256 that the hub names
them by. Nothing is kept on disk. Endpoint and token come from where every program of the hub looks
for them (`HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`).
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from datanode.agent.retry import retrying
from datanode.errors import NetworkError, SourceError
from datanode.release import VERSION
from datanode.text import printable, shown
from datanode.units import KIB
from uploader import stamps
from uploader.source import checkpoint_layout
from uploader.source.base import PinnedFile
from uploader.source.file_store import Files, head_copy, is_hidden
from uploader.source.hub_errors import mapped
from uploader.source.ranged import read_range

_SCHEME: Final = "hf://"
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ADDRESS: Final = re.compile(
    rf"(?P<repository>{_PART}(?:/{_PART})?)"
    r"(?:@(?P<revision>refs/(?:pr|convert|heads|tags)/[^/@]+|[^/@]+))?"
    r"(?:/(?P<path>[^@]*))?"
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TIMEOUT_S: Final = 60.0
_MAX_FILES: Final = 100_000
_PART_BYTES: Final = 256 * KIB
"""What a connection that breaks loses at most."""

_sleep = time.sleep  # replaced by tests


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a commit.

    Attributes:
        length_bytes: Its size.
        content: Digest that names its content: SHA-256 of a large file, Git's SHA-1 of another.
        sha256: SHA-256 of a large file.
    """

    length_bytes: int
    content: str
    sha256: bytes | None


def find(address: str) -> tuple[Files, str | None]:
    """Take `hf://ORG/MODEL[@REVISION][/PATH]` apart: the files, and the one that was named.

    Args:
        address: As the operator wrote it.

    Raises:
        SourceError: It is not such an address, or the model cannot be read.
        NetworkError: The hub does not answer.
    """
    found = _ADDRESS.fullmatch(address.removeprefix(_SCHEME).rstrip("/"))
    if found is None:
        raise SourceError(
            f"{shown(address)} does not name a model of the hub",
            hint="Write hf://ORG/MODEL or hf://ORG/MODEL@REVISION.",
        )
    folder, _, name = (found["path"] or "").rpartition("/")
    alone = checkpoint_layout.is_named_alone(name)
    prefix = folder if alone else (found["path"] or "")
    endpoint = os.environ.get("HF_ENDPOINT") or None
    commit, files = retrying(
        partial(_look, address, found["repository"], found["revision"], endpoint), sleep=_sleep
    )
    model = HubModel(
        address,
        found["repository"],
        commit,
        files,
        prefix=f"{prefix}/" if prefix else "",
        endpoint=endpoint,
    )
    return model, name if alone else None


def _look(
    address: str, repository: str, revision: str | None, endpoint: str | None
) -> tuple[str, Mapping[str, HubFile]]:
    """Resolve a revision, and list the files of its commit."""
    with mapped(address):
        hub = HfApi(endpoint=endpoint, library_name="datanode", library_version=VERSION)
        found = hub.model_info(
            repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S
        )
    siblings = found.siblings or []
    if len(siblings) > _MAX_FILES:
        raise SourceError(f"{shown(address)} has more than {_MAX_FILES} files")
    files: dict[str, HubFile] = {}
    for each in siblings:
        sha256 = None if each.lfs is None else _parsed_sha256(each.lfs.sha256)
        content = each.blob_id if sha256 is None else sha256.hex()
        if each.size is None or each.size < 0 or not content:
            raise SourceError(f"the hub tells no size or no digest of {shown(each.rfilename)}")
        files[each.rfilename] = HubFile(length_bytes=each.size, content=content, sha256=sha256)
    if not found.sha:
        raise SourceError(f"the hub tells no commit of {shown(address)}")
    return found.sha, files


def _parsed_sha256(text: str) -> bytes:
    if _SHA256.fullmatch(text) is None:
        raise SourceError(f"the hub names a file by {shown(text)}, which is no SHA-256")
    return bytes.fromhex(text)


class HubModel:
    """The files of a commit whose paths begin with a prefix.

    Args:
        location: The address, as the operator wrote it.
        repository: Name of the model on the hub.
        commit: Where everything is read.
        files: All files of the commit.
        prefix: Empty, or with a slash at its end.
        endpoint: The hub; None: the default one.
    """

    def __init__(
        self,
        location: str,
        repository: str,
        commit: str,
        files: Mapping[str, HubFile],
        *,
        prefix: str = "",
        endpoint: str | None = None,
    ) -> None:
        self._location = location
        self._repository = repository
        self._commit = commit
        self._files = files
        self._prefix = prefix
        self._endpoint = endpoint
        self._headers = build_hf_headers(library_name="datanode", library_version=VERSION)

    @property
    def location(self) -> str:
        """The address, as the operator wrote it."""
        return self._location

    def names(self) -> Iterator[str]:
        """List every file below the prefix, hidden ones left out."""
        for path in self._files:
            name = path.removeprefix(self._prefix)
            if path.startswith(self._prefix) and not is_hidden(name):
                yield name

    def holds(self, name: str) -> bool:
        """Whether the commit has such a file."""
        return self._prefix + name in self._files

    def pin(self, name: str) -> PinnedFile:
        """Note size and digest of a file."""
        found = self._files.get(self._prefix + name)
        if found is None:
            raise SourceError(f"there is no file {shown(name)} in {shown(self._location)}")
        return PinnedFile(
            path=name,
            length_bytes=found.length_bytes,
            stamp=stamps.of_tag(found.content),
            inode=0,
            sha256=found.sha256,
        )

    def read(self, file: PinnedFile, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of a file of the commit."""
        return read_range(self._open, file, offset_bytes, length_bytes, sleep=_sleep)

    def check(self, file: PinnedFile) -> None:
        """Do nothing: a commit never changes."""

    def opened(self, file: PinnedFile, head: bytes) -> AbstractContextManager[Path]:
        """Give a temporary file with the file's first bytes and, as a hole, its length."""
        return head_copy(file, head)

    def close(self) -> None:
        """Do nothing: the connections are those of huggingface_hub, shared by the process."""

    @contextmanager
    def _open(self, file: PinnedFile, start: int, end: int) -> Iterator[Iterator[bytes]]:
        """Open the bytes from `start` to `end`, in parts."""
        url = hf_hub_url(
            self._repository,
            self._prefix + file.path,
            revision=self._commit,
            endpoint=self._endpoint,
        )
        headers = self._headers | {
            "Range": f"bytes={start}-{end - 1}",
            "Accept-Encoding": "identity",
        }
        with (
            mapped(f"{self._location}: {file.path}"),
            get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT_S) as response,
        ):
            hf_raise_for_status(response)
            _check_range(response, file, start, end)
            yield _parts(response, end - start)


def _parts(response: httpx2.Response, length_bytes: int) -> Iterator[bytes]:
    missing = length_bytes
    for part in response.iter_raw(_PART_BYTES):
        yield part[:missing]
        missing -= min(missing, len(part))
        if not missing:
            return
    raise NetworkError("the connection ended early")


def _check_range(response: httpx2.Response, file: PinnedFile, start: int, end: int) -> None:
    """Refuse a server that sends other bytes than were asked for."""
    told = response.headers.get("Content-Range", "")
    if response.status_code != HTTPStatus.PARTIAL_CONTENT or told != (
        f"bytes {start}-{end - 1}/{file.length_bytes}"
    ):
        raise SourceError(
            f"{file.path}: asked for bytes {start}-{end - 1}, the server sends "
            f"{printable(told) or 'the whole file'}"
        )
