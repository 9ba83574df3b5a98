"""Hash trees: how a subnet commits to its state, and how a canister commits to its data.

A tree is a CBOR array, numbered by its first element; its digest is SHA-256 over a domain
separator (a length byte and a name) and the parts (interface specification, "Certificate")::

    [0]                  empty      "ic-hashtree-empty"
    [1, left, right]     fork       "ic-hashtree-fork" || digest(left) || digest(right)
    [2, label, child]    labeled    "ic-hashtree-labeled" || label || digest(child)
    [3, value]           leaf       "ic-hashtree-leaf" || value
    [4, digest]          pruned     the digest itself

Labels grow strictly from left to right and a leaf never stands in a fork: a tree that breaks this
is refused when it is read, because only in an ordered tree do two neighbours prove that nothing
lies between them. So a lookup has three outcomes: the value, `ABSENT` (the tree proves that there
is none) and `UNKNOWN` (it was pruned away; nothing is proved).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, Self, TypeAlias

from datanode.cbor import Cbor, Encodable, decode, encode
from datanode.digest import DIGEST_BYTES
from datanode.errors import FormatError

MAX_DEPTH: Final = 128
"""Deepest tree that is read; source: interface specification."""

Path: TypeAlias = Sequence[bytes]
Plan: TypeAlias = Mapping[bytes, "Plan | bytes"]
"""A tree to build: labels to subtrees or values."""


class LookupMiss(Enum):
    """Why a lookup found nothing."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


ABSENT: Final = LookupMiss.ABSENT
UNKNOWN: Final = LookupMiss.UNKNOWN


class _Kind(IntEnum):
    EMPTY = 0
    FORK = 1
    LABELED = 2
    LEAF = 3
    PRUNED = 4


def _domain(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


_DOMAINS: Final[dict[_Kind, bytes]] = {
    kind: _domain(f"ic-hashtree-{kind.name.lower()}") for kind in _Kind if kind != _Kind.PRUNED
}


@dataclass(frozen=True, slots=True)
class _Node:
    """A node with its digest; `low` and `high` are the outermost labels known below a fork."""

    kind: _Kind
    digest: bytes
    parts: "tuple[_Node, ...]" = ()
    data: bytes = b""
    low: bytes | None = field(default=None, compare=False)
    high: bytes | None = field(default=None, compare=False)


def _hash(kind: _Kind, *parts: bytes) -> bytes:
    return hashlib.sha256(b"".join((_DOMAINS[kind], *parts))).digest()


_EMPTY: Final = _Node(_Kind.EMPTY, _hash(_Kind.EMPTY))


def _leaf(value: bytes) -> _Node:
    return _Node(_Kind.LEAF, _hash(_Kind.LEAF, value), data=value)


def _labeled(label: bytes, child: _Node) -> _Node:
    digest = _hash(_Kind.LABELED, label, child.digest)
    return _Node(_Kind.LABELED, digest, (child,), label, label, label)


def _pruned(digest: bytes) -> _Node:
    return _Node(_Kind.PRUNED, digest)


def _fork(left: _Node, right: _Node) -> _Node:
    if _Kind.LEAF in (left.kind, right.kind):
        raise FormatError("hash tree: a leaf inside a fork")
    if left.high is not None and right.low is not None and left.high >= right.low:
        raise FormatError("hash tree: labels are not in order")
    low = right.low if left.low is None else left.low
    high = left.high if right.high is None else right.high
    digest = _hash(_Kind.FORK, left.digest, right.digest)
    return _Node(_Kind.FORK, digest, (left, right), low=low, high=high)


class HashTree:
    """An immutable hash tree; parts of it may be pruned."""

    __slots__ = ("_root",)

    def __init__(self, root: _Node) -> None:
        self._root = root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashTree) and self._root == other._root

    def __hash__(self) -> int:
        return hash(self._root.digest)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a tree from CBOR; `FormatError` if it is none, too deep or not ordered."""
        return cls.from_cbor(decode(data, max_depth=MAX_DEPTH + 1))

    @classmethod
    def from_cbor(cls, value: Cbor) -> Self:
        """Read a tree from decoded CBOR, as it stands in a certificate."""
        return cls(_parse(value, MAX_DEPTH))

    @classmethod
    def from_dict(cls, plan: Plan) -> Self:
        """Build a tree: labels are sorted, forks are balanced.

        Raises:
            FormatError: The result would be deeper than 128.
        """
        return cls(_build(plan, MAX_DEPTH))

    def digest(self) -> bytes:
        """The root hash, 32 bytes; pruning does not change it."""
        return self._root.digest

    def cbor(self) -> bytes:
        """Write the tree as CBOR with the self-describing tag."""
        return encode(self.to_cbor(), tagged=True)

    def to_cbor(self) -> Encodable:
        """The tree as nested lists, to stand inside a certificate."""
        return _lists(self._root)

    def lookup(self, path: Path) -> bytes | LookupMiss:
        """Find the value at a path: the value, `ABSENT` or `UNKNOWN`.

        Raises:
            FormatError: There is a subtree where a value is expected.
        """
        node = self._descend(path)
        if isinstance(node, LookupMiss):
            return node
        if node.kind is _Kind.LEAF:
            return node.data
        if node.kind is _Kind.EMPTY:
            return ABSENT
        if node.kind is _Kind.PRUNED:
            return UNKNOWN
        raise FormatError("hash tree: a subtree where a value should be")

    def subtree(self, path: Path) -> "HashTree | LookupMiss":
        """Find what hangs at a path: a tree (a leaf too), `ABSENT` or `UNKNOWN`."""
        node = self._descend(path)
        if isinstance(node, LookupMiss):
            return node
        return UNKNOWN if node.kind is _Kind.PRUNED else HashTree(node)

    def list_labels(self, path: Path = ()) -> list[bytes]:
        """The labels that are visible directly under a path, in order; pruned ones are not."""
        node = self._descend(path)
        labels: list[bytes] = []
        if isinstance(node, _Node):
            _collect(node, labels)
        return labels

    def prune(self, paths: Iterable[Path]) -> "HashTree":
        """Keep what proves the given paths and replace the rest by digests.

        A path to a subtree keeps all of it. Of a label that does not exist its neighbours are
        kept, with their content pruned, so that its absence stays proved.
        """
        return HashTree(_prune(self._root, [tuple(path) for path in paths]))

    def _descend(self, path: Path) -> "_Node | LookupMiss":
        node = self._root
        for label in path:
            found = _find(node, label)
            if isinstance(found, LookupMiss):
                return found
            node = found
        return node


def _parse(value: Cbor, depth: int) -> _Node:
    if depth < 0:
        raise FormatError(f"hash tree: deeper than {MAX_DEPTH}")
    match value:
        case [bool(), *_]:
            pass  # true equals 1 to Python, and not to a canonical encoding
        case [1, left, right]:
            return _fork(_parse(left, depth - 1), _parse(right, depth - 1))
        case [2, bytes(label), child]:
            return _labeled(label, _parse(child, depth - 1))
        case [3, bytes(data)]:
            return _leaf(data)
        case [4, bytes(digest)] if len(digest) == DIGEST_BYTES:
            return _pruned(digest)
        case [0]:
            return _EMPTY
    raise FormatError("hash tree: not a node")


def _build(plan: Plan | bytes, depth: int) -> _Node:
    if depth < 0:
        raise FormatError(f"hash tree: deeper than {MAX_DEPTH}")
    if isinstance(plan, bytes):
        return _leaf(plan)
    if not plan:
        return _EMPTY
    # A balanced fork of n labels is ceil(log2 n) deep.
    inner = depth - 1 - (len(plan) - 1).bit_length()
    return _balance([_labeled(label, _build(plan[label], inner)) for label in sorted(plan)])


def _balance(nodes: list[_Node]) -> _Node:
    if len(nodes) == 1:
        return nodes[0]
    middle = (len(nodes) + 1) // 2
    return _fork(_balance(nodes[:middle]), _balance(nodes[middle:]))


def _lists(node: _Node) -> Encodable:
    kind = int(node.kind)
    if node.kind is _Kind.PRUNED:
        return [kind, node.digest]
    if node.kind is _Kind.LEAF:
        return [kind, node.data]
    if node.kind is _Kind.LABELED:
        return [kind, node.data, _lists(node.parts[0])]
    return [kind, *map(_lists, node.parts)]


def _sides(node: _Node, label: bytes) -> "tuple[_Node, ...]":
    """Which halves of a fork can hold a label; both, when it falls between them."""
    left, right = node.parts
    if right.low is not None and label >= right.low:
        return (right,)
    if left.high is not None and label <= left.high:
        return (left,)
    return (left, right)


def _find(node: _Node, label: bytes) -> "_Node | LookupMiss":
    if node.kind is _Kind.LABELED:
        return node.parts[0] if node.data == label else ABSENT
    if node.kind is _Kind.FORK:
        missing = ABSENT
        for side in _sides(node, label):
            found = _find(side, label)
            if isinstance(found, _Node):
                return found
            if found is UNKNOWN:
                missing = UNKNOWN
        return missing
    return UNKNOWN if node.kind is _Kind.PRUNED else ABSENT


def _collect(node: _Node, labels: list[bytes]) -> None:
    if node.kind is _Kind.LABELED:
        labels.append(node.data)
    elif node.kind is _Kind.FORK:
        for part in node.parts:
            _collect(part, labels)


def _prune(node: _Node, paths: list[tuple[bytes, ...]]) -> _Node:
    if () in paths or node.kind in (_Kind.EMPTY, _Kind.PRUNED):
        return node
    if not paths or node.kind is _Kind.LEAF:
        return _pruned(node.digest)
    if node.kind is _Kind.LABELED:
        inner = [path[1:] for path in paths if path[0] == node.data]
        return _labeled(node.data, _prune(node.parts[0], inner))
    left, right = node.parts
    wanted: dict[int, list[tuple[bytes, ...]]] = {id(left): [], id(right): []}
    for path in paths:
        for side in _sides(node, path[0]):
            wanted[id(side)].append(path)
    kept = [
        _prune(side, wanted[id(side)]) if wanted[id(side)] else _pruned(side.digest)
        for side in node.parts
    ]
    return _fork(*kept)
