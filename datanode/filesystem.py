"""An fsspec file system: `datanode://MODEL@VERSION/PATH`, read-only, ranged and verified.

`fsspec` finds it by its entry point::

    import fsspec

    with fsspec.open("datanode://minilm@1/model.safetensors", node="main") as file:
        header = file.read(8)

VERSION is a number, or `latest`, which is also what `MODEL/PATH` means. A model whose name has a
slash needs the `@`. Storage options are those of `datanode.connect`, and `jobs`; what is not given
comes from `DATANODE_*` variables, then `datanode.toml`.
"""

import errno
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import Final, TypeAlias

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from datanode import surface
from datanode.command_context import ContextArguments
from datanode.errors import NotFoundError
from datanode.manifest import FileEntry
from datanode.reader import VerifiedVersion, pieces_of, range_of_file
from datanode.reader.version import JOBS

Info: TypeAlias = dict[str, str | int | None]

_ADDRESS: Final = re.compile(r"(?P<model>[^@]+)@(?P<version>[0-9]{1,9}|latest)(?:/(?P<path>.*))?")
_CHUNKS_KEPT: Final = 4
"""Chunks at the edges of earlier reads, some 2 MB each: the next read often starts in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A path of this file system.

    Attributes:
        model: Name of the model; empty: the root.
        version: Number of the version; None: the latest.
        path: File or folder in it; empty: the version itself.
        prefix: The path as it was given, up to the version.
    """

    model: str
    version: int | None
    path: str
    prefix: str


def parse_address(path: str) -> Address:
    """Take `MODEL@VERSION/PATH` or `MODEL/PATH` apart."""
    path = path.strip("/")
    if found := _ADDRESS.fullmatch(path):
        number = found["version"]
        return Address(
            model=found["model"],
            version=None if number == "latest" else int(number),
            path=found["path"] or "",
            prefix=f"{found['model']}@{number}",
        )
    model, _, rest = path.partition("/")
    return Address(model=model, version=None, path=rest, prefix=model)


@dataclass(slots=True)
class _OpenVersion:
    """A version, its files, and the chunks at the edges of earlier reads; thread-safe."""

    version: VerifiedVersion
    jobs: int
    files: dict[str, FileEntry] = field(init=False)
    _chunks: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.files = {entry.path: entry for entry in self.version.head.files}

    def read(self, entry: FileEntry, start: int, end: int) -> bytes:
        """Read bytes of a file, verified."""
        wanted = range_of_file(self.version, entry).part(start, end - start)
        pieces = list(pieces_of(self.version, wanted))
        with self._lock:
            kept = {each.chunk: self._chunks.get(each.chunk) for each in pieces}
        missing = [chunk for chunk, raw in kept.items() if raw is None]
        fetched = dict(zip(missing, self.version.chunks(missing, jobs=self.jobs), strict=True))
        parts = []
        for piece in pieces:
            raw = kept[piece.chunk] or fetched[piece.chunk]
            parts.append(raw[piece.start_bytes : piece.start_bytes + piece.length_bytes])
            if piece in (pieces[0], pieces[-1]):
                self._keep(piece.chunk, raw)
        return b"".join(parts)

    def _keep(self, chunk: int, raw: bytes) -> None:
        with self._lock:
            self._chunks[chunk] = raw
            self._chunks.move_to_end(chunk)
            while len(self._chunks) > _CHUNKS_KEPT:
                self._chunks.popitem(last=False)


class DataNodeFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The models of one node as folders; see `datanode/filesystem.py`.

    Args:
        node: As in `datanode.connect`.
        network: As in `datanode.connect`.
        identity: As in `datanode.connect`.
        root_key: As in `datanode.connect`.
        limit_rate: Most bytes a second.
        jobs: Queries in flight.
        storage_options: Options of fsspec.
    """

    protocol = "datanode"
    root_marker = ""

    def __init__(
        self,
        *,
        node: str | None = None,
        network: str | None = None,
        identity: str | PathLike[str] | None = None,
        root_key: bytes | str | None = None,
        limit_rate: int | None = None,
        jobs: int = JOBS,
        **storage_options: object,
    ) -> None:
        super().__init__(**storage_options)
        self._where = ContextArguments(
            node=node, network=network, identity=identity, root_key=root_key, limit_rate=limit_rate
        )
        self._jobs = jobs
        self._connection: surface.Connection | None = None
        self._versions: dict[tuple[str, int | None], _OpenVersion] = {}
        self._open_lock = threading.RLock()

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        with self._open_lock:
            self._versions.clear()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget which versions were the latest."""
        with self._open_lock:
            self._versions.clear()
        super().invalidate_cache(path)

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Info] | list[str]:  # noqa: FBT001, FBT002 - fsspec's
        """List models, or the files and folders of a version."""
        address = parse_address(self._strip_protocol(path))
        found = self._models() if not address.model else self._entries(address)
        return found if detail else [str(each["name"]) for each in found]

    def info(self, path: str, **_: object) -> Info:
        """Describe a file, with its certified SHA-256, or a folder."""
        address = parse_address(self._strip_protocol(path))
        if not address.model:
            return _folder("")
        version = self._version(address, path)
        name = f"{address.prefix}/{address.path}".rstrip("/")
        if address.path in version.files:
            return _file(name, version.files[address.path])
        if not address.path or any(each.startswith(f"{address.path}/") for each in version.files):
            return _folder(name)
        raise FileNotFoundError(errno.ENOENT, "no such file in the model", path)

    def checksum(self, path: str) -> str:
        """Return the certified SHA-256 of a file, hexadecimal."""
        return str(self.info(path)["sha256"])

    def ukey(self, path: str) -> str:
        """Return what changes with the content."""
        return self.checksum(path)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: object
    ) -> bytes:
        """Read a file, or a range of it; only chunks that hold it are fetched."""
        version, entry = self._file(path)
        first, after, _step = slice(start, end).indices(entry.length_bytes)
        return version.read(entry, first, max(first, after))

    def mkdir(self, path: str, *_: object, **__: object) -> None:
        """Refuse: a sealed version never changes."""
        raise _read_only(path)

    def makedirs(self, path: str, *_: object, **__: object) -> None:
        """Refuse: a sealed version never changes."""
        raise _read_only(path)

    def rm(self, path: str, *_: object, **__: object) -> None:
        """Refuse: a sealed version never changes."""
        raise _read_only(path)

    def cp_file(self, path1: str, path2: str, **_: object) -> None:  # noqa: ARG002 - fsspec's
        """Refuse: a sealed version never changes."""
        raise _read_only(path2)

    def _open(self, path: str, mode: str = "rb", **options: object) -> "DataNodeFile":
        if mode != "rb":
            raise _read_only(path)
        version, entry = self._file(path)
        return DataNodeFile(self, path, version, entry, **options)

    def _models(self) -> list[Info]:
        with self._open_lock:
            models = self._connected().node.models()
        return [_folder(f"{model.name}@{model.latest}") for model in models]

    def _entries(self, address: Address) -> list[Info]:
        version = self._version(address, address.prefix)
        if address.path in version.files:
            return [_file(f"{address.prefix}/{address.path}", version.files[address.path])]
        inside = f"{address.path}/" if address.path else ""
        found: dict[str, Info] = {}
        for path, entry in version.files.items():
            if path.startswith(inside):
                first, slash, _rest = path.removeprefix(inside).partition("/")
                name = f"{address.prefix}/{inside}{first}"
                found[name] = _folder(name) if slash else _file(name, entry)
        if not found and address.path:
            raise FileNotFoundError(errno.ENOENT, "no such file in the model", address.path)
        return list(found.values())

    def _file(self, path: str) -> tuple[_OpenVersion, FileEntry]:
        address = parse_address(self._strip_protocol(path))
        version = self._version(address, path)
        if address.path not in version.files:
            if self.info(path)["type"] == "directory":
                raise IsADirectoryError(errno.EISDIR, "a folder of the model", path)
            raise FileNotFoundError(errno.ENOENT, "no such file in the model", path)
        return version, version.files[address.path]

    def _version(self, address: Address, path: str) -> _OpenVersion:
        key = (address.model, address.version)
        with self._open_lock, _missing_files(path):
            if key not in self._versions:
                opened = self._connected().open_version(address.model, address.version)
                self._versions[key] = _OpenVersion(opened, self._jobs)
            return self._versions[key]

    def _connected(self) -> surface.Connection:
        if self._connection is None:
            self._connection = surface.connect(self._where)
        return self._connection


class DataNodeFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file of a version, read by range.

    Args:
        system: Its file system.
        path: As it was opened.
        version: Holds the file.
        entry: The file.
        options: Block size and cache of fsspec.
    """

    def __init__(
        self,
        system: DataNodeFileSystem,
        path: str,
        version: _OpenVersion,
        entry: FileEntry,
        **options: object,
    ) -> None:
        self._version = version
        self._entry = entry
        options.pop("size", None)
        super().__init__(system, path, "rb", size=entry.length_bytes, **options)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._version.read(self._entry, start, min(end, self._entry.length_bytes))


def _file(name: str, entry: FileEntry) -> Info:
    return {
        "name": name,
        "size": entry.length_bytes,
        "type": "file",
        "sha256": entry.sha256.hex(),
    }


def _folder(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory"}


def _read_only(path: str | Sequence[str]) -> OSError:
    return OSError(errno.EROFS, "a sealed version never changes", str(path))


@contextmanager
def _missing_files(path: str) -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, error.what, path) from error
