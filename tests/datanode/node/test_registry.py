"""Nodes are known by name, a network each, in one small file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datanode.errors import NotFoundError, UnsupportedVersionError, UsageError
from datanode.node import registry
from datanode.principal import Principal

A, B = Principal(b"\1"), Principal(b"\2")


def test_a_node_is_known_by_its_name_on_its_network(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    registry.add(folder, "main", A, network="local")
    registry.add(folder, "main", B, network="ic")
    assert registry.nodes(folder, network="local") == {"main": A}
    assert registry.resolve(folder, "main", network="ic") == B
    assert [node.canister for node in registry.all_nodes(folder)] == [B, A]


def test_a_principal_needs_no_name(tmp_path: Path) -> None:
    assert registry.resolve(tmp_path, A.text, network="local") == A


def test_an_unknown_name_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="called main on local"):
        registry.resolve(tmp_path, "main", network="local")
    with pytest.raises(NotFoundError):
        registry.remove(tmp_path, "main", network="local")


def test_adding_again_is_no_news_and_another_canister_is_refused(tmp_path: Path) -> None:
    registry.add(tmp_path, "main", A, network="local")
    registry.add(tmp_path, "main", A, network="local")
    with pytest.raises(UsageError, match="main is"):
        registry.add(tmp_path, "main", B, network="local")
    registry.remove(tmp_path, "main", network="local")
    registry.add(tmp_path, "main", B, network="local")
    assert registry.nodes(tmp_path, network="local") == {"main": B}


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "x" * 65])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        registry.add(tmp_path, name, A, network="local")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"v": 1}', '{"v": 1, "nodes": [{}]}'])
def test_a_damaged_file_is_said_so_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "nodes.json").write_text(text)
    with pytest.raises(UsageError, match="damaged"):
        registry.add(tmp_path, "main", A, network="local")
    assert (tmp_path / "nodes.json").read_text() == text


def test_a_file_of_a_newer_release_is_kept(tmp_path: Path) -> None:
    (tmp_path / "nodes.json").write_text('{"v": 3}')
    with pytest.raises(UnsupportedVersionError):
        registry.all_nodes(tmp_path)


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "nodes.json").mkdir()
    with pytest.raises(UsageError, match=r"nodes\.json"):
        registry.all_nodes(tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 10**5, b'{"v": 1, "nodes": [5]}'])
def test_bytes_that_are_no_text_or_nest_without_end_are_a_damaged_file(
    tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "nodes.json").write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        registry.all_nodes(tmp_path)


def test_nodes_that_are_added_at_once_are_all_remembered(tmp_path: Path) -> None:
    def add(number: int) -> None:
        registry.add(tmp_path, f"n{number}", Principal(bytes([number])), network="local")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert len(registry.all_nodes(tmp_path)) == 24
