"""The port `Files`, kept by a folder and by a bucket alike."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.errors import SourceChangedError, SourceError, TruncatedSourceError
from tests.fakes.bucket_server import BUCKET, Shelf
from tests.uploader.source.checkpoints import write
from uploader.source.file_store import Files
from uploader.source.folder import Folder
from uploader.source.s3 import find

CONTENT = bytes(range(256)) * 3


class Place(ABC):
    """Somewhere to put files, and the port onto them."""

    files: Files

    @abstractmethod
    def put(self, name: str, content: bytes) -> None: ...

    @abstractmethod
    def remove(self, name: str) -> None: ...


class Disk(Place):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.files = Folder("here", folder, confined=True)
        self._now_ns = 10**18

    def put(self, name: str, content: bytes) -> None:
        write(self._folder, {name: content})
        self._now_ns += 1
        os.utime(self._folder / name, ns=(self._now_ns, self._now_ns))

    def remove(self, name: str) -> None:
        (self._folder / name).unlink()


class Objects(Place):
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.files, _ = find(f"s3://{BUCKET}/folder")

    def put(self, name: str, content: bytes) -> None:
        self._shelf.objects[f"folder/{name}"] = content

    def remove(self, name: str) -> None:
        del self._shelf.objects[f"folder/{name}"]


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, shelf: Shelf, tmp_path: Path) -> Iterator[Place]:
    made = Disk(tmp_path / "folder") if request.param == "disk" else Objects(shelf)
    yield made
    made.files.close()


def test_names_are_those_below_the_root_without_the_hidden(place: Place) -> None:
    for name in ["b", "a", "deep/er/c", ".hidden", ".git/config", "deep/.d"]:
        place.put(name, b"x")
    assert sorted(place.files.names()) == ["a", "b", "deep/er/c"]
    assert place.files.holds("deep/er/c")
    assert not place.files.holds("deep/er/d")


def test_a_pinned_file_is_read_by_range(place: Place) -> None:
    place.put("file", CONTENT)
    file = place.files.pin("file")
    assert (file.path, file.length_bytes) == ("file", len(CONTENT))
    for start in (0, 1, 255, 700, len(CONTENT)):
        for end in (start, start + 1, 767, len(CONTENT)):
            if start <= end <= len(CONTENT):
                assert place.files.read(file, start, end - start) == CONTENT[start:end]
    with pytest.raises(TruncatedSourceError, match="ends 10 bytes early"):
        place.files.read(file, 760, 18)
    place.files.check(file)
    assert place.files.pin("file") == file


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", CONTENT[::-1]])
def test_a_file_that_changed_is_not_read(place: Place, content: bytes) -> None:
    place.put("file", CONTENT)
    file = place.files.pin("file")
    place.put("file", content)
    with pytest.raises(SourceChangedError):
        place.files.read(file, 0, 10)
    with pytest.raises(SourceChangedError):
        place.files.check(file)
    assert place.files.pin("file").stamp != file.stamp


def test_a_file_that_is_gone_is_not_read(place: Place) -> None:
    place.put("file", CONTENT)
    file = place.files.pin("file")
    place.remove("file")
    with pytest.raises(SourceChangedError, match="gone"):
        place.files.read(file, 0, 10)
    with pytest.raises(SourceChangedError, match="gone"):
        place.files.check(file)
    with pytest.raises(SourceError, match="there is no"):
        place.files.pin("file")


def test_a_library_sees_the_head_of_a_file_at_its_length(place: Place) -> None:
    place.put("file", CONTENT)
    with place.files.opened(place.files.pin("file"), CONTENT[:100]) as path:
        assert path.stat().st_size == len(CONTENT)
        assert path.read_bytes()[:100] == CONTENT[:100]
