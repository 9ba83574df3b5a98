"""datanode.reader.destination: what may be fetched to a disk, and what is left alone there."""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from datanode.digest import FrameDigest
from datanode.errors import DestinationError, DiskFullError, UsageError
from datanode.node.port import FrameAbsence
from datanode.reader import Reader, VerifiedVersion, fetch_model, fetch_tensor
from tests.fakes.checkpoints import CHUNK_BYTES, sealed, some_bytes
from tests.fakes.memory_node import MemoryNode

LONG = "n" * 250 + ".json"
FILES = {"config.json": b"{}", LONG: b"[]", "sub/model.bin": some_bytes(9 * CHUNK_BYTES)}
TENSOR = "config.json.weight"


class Counting(MemoryNode):
    """Counts what it is asked for."""

    asked_count = 0

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        self.asked_count += 1
        return super().get_frames(model, manifest, chunks)


@pytest.fixture
def node() -> Counting:
    node = Counting()
    sealed(node, "llama", FILES)
    return node


@pytest.fixture
def version(node: Counting) -> VerifiedVersion:
    return Reader(node, root_key=node.root_key, clock_ns=node.world.clock).open_version("llama")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_longest_names_are_fetched_and_continued(
    version: VerifiedVersion, tmp_path: Path
) -> None:
    fetch_model(version, tmp_path)
    assert contents(tmp_path) == FILES
    assert fetch_model(version, tmp_path).skipped_count == 3
    fetch_tensor(version, TENSOR, tmp_path / ("\u00e4" * 127))
    assert (tmp_path / ("\u00e4" * 127)).read_bytes() == b"{}"


def hard_link(place: Path) -> None:
    place.with_name("other").write_bytes(b"precious")
    place.hardlink_to(place.with_name("other"))


def link(place: Path) -> None:
    place.with_name("other").write_bytes(b"{}")
    place.symlink_to("other")


def dangling(place: Path) -> None:
    place.symlink_to("nowhere")


def listen(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))


THINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    "hard link": (hard_link, "2 names"),
    "link to the same content": (link, "a link"),
    "link that leads nowhere": (dangling, "a link"),
    "folder": (Path.mkdir, "a folder"),
    "pipe": (os.mkfifo, "a named pipe"),
    "socket": (listen, "a socket"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in: the path of a socket is short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", ["config.json", "config.json~datanode"])
def test_something_else_in_a_place_is_named_and_left_alone(
    node: Counting, version: VerifiedVersion, here: Path, thing: str, name: str
) -> None:
    make, says = THINGS[thing]
    make(Path(name))
    before = {path.name: path.lstat() for path in here.iterdir()}
    for fetch in (
        lambda: fetch_model(version, here),
        lambda: fetch_tensor(version, TENSOR, here / "config.json"),
    ):
        with pytest.raises(DestinationError, match=says) as caught:
            fetch()
        assert "left alone" in caught.value.safe
        assert caught.value.hint
    if name == "config.json":
        assert node.asked_count == 0
    for path, found in before.items():
        now = (here / path).lstat()
        for fact in ("st_ino", "st_mode", "st_size", "st_nlink"):
            assert getattr(now, fact) == getattr(found, fact)


def test_a_device_is_not_written_to(version: VerifiedVersion) -> None:
    with pytest.raises(DestinationError, match="a character device"):
        fetch_tensor(version, TENSOR, Path("/dev/null"))


def test_a_file_where_a_folder_is_needed_is_left_alone(
    node: Counting, version: VerifiedVersion, tmp_path: Path
) -> None:
    (tmp_path / "sub").write_bytes(b"mine")
    with pytest.raises(DestinationError, match="a file where a folder is needed"):
        fetch_model(version, tmp_path)
    assert contents(tmp_path) == {"sub": b"mine"}
    assert node.asked_count == 0


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system refuses files of more than 30,000 bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_takes_no_more_is_told_and_the_fetch_is_continued(
    version: VerifiedVersion, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.MonkeyPatch.context():
        request.getfixturevalue("small_files")
        with pytest.raises(DiskFullError, match="no space left"):
            fetch_model(version, tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (tmp_path / "config.json").read_bytes() == b"{}"
    summary = fetch_model(version, tmp_path)
    assert contents(tmp_path) == FILES
    assert summary.fetched_bytes < len(FILES["sub/model.bin"])


def test_a_folder_that_may_not_be_written_is_told(
    version: VerifiedVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match="Read-only file system"):
        fetch_model(version, tmp_path)
    monkeypatch.undo()
    assert contents(tmp_path) == {}
