"""A node that goes back in time is caught by who has seen it before."""

from pathlib import Path

import pytest

from datanode.errors import RollbackError, StateDamagedError, UnsupportedVersionError
from datanode.reader import Reader, RollbackMemory
from tests.fakes.checkpoints import sealed
from tests.fakes.memory_node import MemoryNode


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def seen(tmp_path: Path) -> RollbackMemory:
    return RollbackMemory(tmp_path / "seen")


def reader_of(node: MemoryNode, seen: RollbackMemory) -> Reader:
    return Reader(node, root_key=node.root_key, clock_ns=node.world.clock, seen=seen)


def the_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "seen").glob("*.json")
    return path


def test_the_same_and_newer_versions_are_accepted(node: MemoryNode, seen: RollbackMemory) -> None:
    reader = reader_of(node, seen)
    sealed(node, "llama", {"a": b"one"})
    assert reader.open_version("llama").version == 1
    assert reader.open_version("llama").version == 1
    sealed(node, "llama", {"a": b"two"})
    assert reader.open_version("llama", 1).version == 1
    assert reader.open_version("llama").version == 2


def test_a_restored_snapshot_is_a_rollback_even_with_a_fresh_certificate(
    node: MemoryNode, seen: RollbackMemory
) -> None:
    sealed(node, "llama", {"a": b"one"})
    snapshot = node.world.snapshot()
    sealed(node, "llama", {"a": b"two"})
    assert reader_of(node, seen).open_version("llama").version == 2
    node.world.restore(snapshot)
    for _ in range(2):
        with pytest.raises(RollbackError, match=r"shows version 1 .* shown 2 before"):
            reader_of(node, seen).open_version("llama")


def test_another_manifest_under_a_known_number_is_a_rollback(
    node: MemoryNode, seen: RollbackMemory
) -> None:
    sealed(node, "other", {"a": b"zero"})
    snapshot = node.world.snapshot()
    sealed(node, "llama", {"a": b"one"})
    reader_of(node, seen).open_version("llama")
    node.world.restore(snapshot)
    sealed(node, "llama", {"a": b"not one"})
    with pytest.raises(RollbackError, match="another manifest"):
        reader_of(node, seen).open_version("llama")


def test_the_digests_of_a_version_first_seen_as_a_number_are_learnt_later(
    node: MemoryNode, seen: RollbackMemory, tmp_path: Path
) -> None:
    sealed(node, "llama", {"a": b"one"})
    sealed(node, "llama", {"a": b"two"})
    reader_of(node, seen).open_version("llama", 1)
    assert '"digests": ""' in the_file(tmp_path).read_text()
    version = reader_of(node, seen).open_version("llama")
    assert version.manifest.hex() in the_file(tmp_path).read_text()


def test_models_and_networks_are_remembered_apart(node: MemoryNode, seen: RollbackMemory) -> None:
    sealed(node, "llama", {"a": b"one"})
    sealed(node, "llama", {"a": b"two"})
    reader_of(node, seen).open_version("llama")
    other = MemoryNode()
    other.world.certifier = type(other.world.certifier)(other.world.clock, secret=99)
    sealed(other, "llama", {"a": b"one"})
    sealed(node, "phi", {"a": b"one"})
    assert reader_of(other, seen).open_version("llama").version == 1
    assert reader_of(node, seen).open_version("phi").version == 1


def test_what_was_explained_can_be_forgotten(
    node: MemoryNode, seen: RollbackMemory, tmp_path: Path
) -> None:
    sealed(node, "llama", {"a": b"one"})
    snapshot = node.world.snapshot()
    sealed(node, "llama", {"a": b"two"})
    reader_of(node, seen).open_version("llama")
    node.world.restore(snapshot)
    with pytest.raises(RollbackError) as caught:
        reader_of(node, seen).open_version("llama")
    assert str(the_file(tmp_path)) in caught.value.hint
    the_file(tmp_path).unlink()
    assert reader_of(node, seen).open_version("llama").version == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 10**5, '{"v": 1}', '{"v": 1, "latest": "x"}']
)
def test_a_damaged_memory_is_an_error_and_not_a_blank_one(
    node: MemoryNode, seen: RollbackMemory, tmp_path: Path, text: str
) -> None:
    sealed(node, "llama", {"a": b"one"})
    reader_of(node, seen).open_version("llama")
    the_file(tmp_path).write_text(text)
    with pytest.raises(StateDamagedError):
        reader_of(node, seen).open_version("llama")


def test_a_newer_memory_is_not_overwritten(
    node: MemoryNode, seen: RollbackMemory, tmp_path: Path
) -> None:
    sealed(node, "llama", {"a": b"one"})
    reader_of(node, seen).open_version("llama")
    the_file(tmp_path).write_text('{"v": 2}')
    with pytest.raises(UnsupportedVersionError):
        reader_of(node, seen).open_version("llama")
    assert the_file(tmp_path).read_text() == '{"v": 2}'
