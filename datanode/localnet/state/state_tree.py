"""The state tree that certificates show, built for what is asked and nothing else.

Hashing the whole state for every certificate would cost time that grows with the number of answers
kept. Nobody can compare two roots, because no two certificates carry the same time; so of large
collections only the labels that are asked for are built, and whatever else may be there is shown as
pruned. For a label that does not exist, its real neighbours are built side by side, which proves
that it is absent.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from datanode.agent.hash_tree import HashTree, Plan
from datanode.cbor import Cbor

Path: TypeAlias = tuple[bytes, ...]

_EMPTY, _FORK, _LABELED, _LEAF, _PRUNED = range(5)
_UNSHOWN: Final[Cbor] = [_PRUNED, hashlib.sha256(b"not shown").digest()]


@dataclass(frozen=True, slots=True)
class Collection:
    """A part of the state with many labels.

    Attributes:
        find: The subtree under a label, if there is one.
        before: The nearest smaller label.
        after: The nearest larger one.
    """

    find: Callable[[bytes], Plan | None]
    before: Callable[[bytes], bytes | None]
    after: Callable[[bytes], bytes | None]


Branch: TypeAlias = "Plan | bytes | Collection"


def build(state: Mapping[bytes, Branch], paths: Iterable[Path]) -> HashTree:
    """Build the tree of a state, pruned to the paths.

    Args:
        state: The top of the tree: small parts whole, large ones as collections.
        paths: What is asked for.
    """
    asked = list(paths)
    nodes: list[Cbor] = []
    for label in sorted(state):
        below = [path[1:] for path in asked if path and path[0] == label]
        branch = state[label]
        if not below:
            nodes.append([_LABELED, label, _UNSHOWN])
        elif isinstance(branch, Collection):
            nodes.append([_LABELED, label, _sparse(branch, below)])
        else:
            nodes.append([_LABELED, label, _dense(branch)])
    return HashTree.from_cbor(_balance(nodes)).prune(asked)


def _sparse(collection: Collection, paths: Sequence[Path]) -> Cbor:
    shown: dict[bytes, Cbor] = {}
    side_by_side: set[tuple[bytes | None, bytes | None]] = set()
    for label in sorted({path[0] for path in paths if path}):
        found = collection.find(label)
        if found is not None:
            shown[label] = _dense(found)
            continue
        low, high = collection.before(label), collection.after(label)
        side_by_side.add((low, high))
        for neighbour in (low, high):
            if neighbour is not None:
                shown.setdefault(neighbour, _UNSHOWN)
    labels = sorted(shown)
    nodes: list[Cbor] = []
    for low, high in zip([None, *labels], [*labels, None], strict=True):
        if (low, high) not in side_by_side:
            nodes.append(_UNSHOWN)
        if high is not None:
            nodes.append([_LABELED, high, shown[high]])
    return _balance(nodes)


def _dense(plan: Plan | bytes) -> Cbor:
    if isinstance(plan, bytes):
        return [_LEAF, plan]
    return _balance([[_LABELED, label, _dense(plan[label])] for label in sorted(plan)])


def _balance(nodes: list[Cbor]) -> Cbor:
    if not nodes:
        return [_EMPTY]
    if len(nodes) == 1:
        return nodes[0]
    middle = (len(nodes) + 1) // 2
    return [_FORK, _balance(nodes[:middle]), _balance(nodes[middle:])]
