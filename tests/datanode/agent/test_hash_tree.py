"""datanode.agent.hash_tree: the specification's example, and what lookups and pruning promise."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode import cbor
from datanode.agent.hash_tree import ABSENT, MAX_DEPTH, UNKNOWN, HashTree, LookupMiss, Plan
from datanode.errors import FormatError
from tests.quickness import allowed_s

SPECIFICATION_DIGEST = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"
WHOLE = bytes.fromhex(
    "8301830183024161830183018302417882034568656c6c6f810083024179820345776f726c64"
    "83024162820344676f6f648301830241638100830241648203476d6f726e696e67"
)
PRUNED = bytes.fromhex(
    "83018301830241618301820458201b4feff9bef8131788b0c9dc6dbad6e81e524249c879e9f1"
    "0f71ce3749f5a63883024179820345776f726c6483024162820458207b32ac0c6ba8ce35ac"
    "82c255fc7906f7fc130dab2a090f80fe12f9c2cae83ba6830182045820ec8324b8a1f1ac16"
    "bd2e806edba78006479c9877fed4eb464a25485465af601d830241648203476d6f726e696e67"
)
LABELS = st.binary(min_size=1, max_size=3)
PLANS = st.dictionaries(
    LABELS,
    st.recursive(
        st.binary(max_size=8),
        lambda inner: st.dictionaries(LABELS, inner, min_size=1, max_size=5),
        max_leaves=12,
    ),
    min_size=1,
    max_size=8,
)


def leaves(plan: Plan, prefix: tuple[bytes, ...] = ()) -> dict[tuple[bytes, ...], bytes]:
    found: dict[tuple[bytes, ...], bytes] = {}
    for label, child in plan.items():
        if isinstance(child, bytes):
            found[(*prefix, label)] = child
        else:
            found |= leaves(child, (*prefix, label))
    return found


def test_the_specifications_tree_has_its_digest_whole_and_pruned() -> None:
    assert HashTree.parse(WHOLE).digest().hex() == SPECIFICATION_DIGEST
    assert HashTree.parse(PRUNED).digest().hex() == SPECIFICATION_DIGEST


def test_the_specifications_lookups_hold_in_the_pruned_tree() -> None:
    tree = HashTree.parse(PRUNED)
    assert tree.lookup([b"a", b"y"]) == b"world"
    assert tree.lookup([b"d"]) == b"morning"
    assert tree.lookup([b"a", b"a"]) is UNKNOWN
    assert tree.lookup([b"a", b"z"]) is ABSENT
    assert tree.lookup([b"aa"]) is ABSENT
    assert tree.lookup([b"b"]) is UNKNOWN
    assert tree.lookup([b"bb"]) is UNKNOWN
    assert tree.lookup([b"e"]) is ABSENT
    assert tree.subtree([b"b"]) is UNKNOWN


def test_an_empty_subtree_proves_absence() -> None:
    tree = HashTree.parse(WHOLE)
    assert tree.lookup([b"c"]) is ABSENT
    assert tree.lookup([b"c", b"x"]) is ABSENT
    assert tree.lookup([b"d", b"x"]) is ABSENT
    assert tree.list_labels() == [b"a", b"b", b"c", b"d"]
    assert tree.list_labels([b"a"]) == [b"x", b"y"]
    assert tree.list_labels([b"nothing"]) == []


def test_a_subtree_is_not_a_value() -> None:
    with pytest.raises(FormatError, match="a subtree"):
        HashTree.parse(WHOLE).lookup([b"a"])


def test_a_subtree_can_be_taken_out() -> None:
    below = HashTree.parse(WHOLE).subtree([b"a"])
    assert isinstance(below, HashTree)
    assert below.lookup([b"y"]) == b"world"


@given(PLANS)
def test_built_trees_hold_their_plan_and_survive_cbor(plan: Plan) -> None:
    tree = HashTree.from_dict(plan)
    again = HashTree.parse(tree.cbor())
    assert again == tree
    assert hash(again) == hash(tree)
    for path, value in leaves(plan).items():
        assert again.lookup(path) == value
    assert tree.list_labels() == sorted(plan)


@given(PLANS, st.lists(st.lists(LABELS, max_size=3), max_size=4), st.data())
def test_pruning_keeps_digest_and_answers_and_nothing_else(
    plan: Plan, others: list[list[bytes]], data: st.DataObject
) -> None:
    tree = HashTree.from_dict(plan)
    values = leaves(plan)
    kept = data.draw(st.lists(st.sampled_from(sorted(values)), max_size=3)) if values else []
    pruned = HashTree.parse(tree.prune([*kept, *others]).cbor())
    assert pruned.digest() == tree.digest()
    for path in kept:
        assert pruned.lookup(path) == values[path]
    for other in others:
        expected = tree.subtree(other)
        found = pruned.subtree(other)
        # What lies under a leaf is pruned with the leaf's content: not proved, and not told.
        assert found == expected or (expected is ABSENT and found is UNKNOWN)
    for path, value in values.items():
        found_value = pruned.lookup(path)
        wanted = any(path[: len(other)] == tuple(other) for other in [*kept, *others])
        assert (found_value == value) if wanted else (found_value in (UNKNOWN, value))
        if not wanted and path not in kept:
            assert isinstance(found_value, LookupMiss)


def test_absence_stays_proved_and_neighbours_stay_private() -> None:
    tree = HashTree.from_dict({bytes([n]): b"secret %d" % n for n in range(0, 20, 2)})
    pruned = tree.prune([[b"\x05"]])
    assert pruned.lookup([b"\x05"]) is ABSENT
    assert pruned.list_labels() == [b"\x04", b"\x06"]
    assert b"secret" not in pruned.cbor()
    assert pruned.lookup([b"\x0b"]) is UNKNOWN


def test_a_large_tree_is_pruned_in_logarithmic_time() -> None:
    tree = HashTree.from_dict({n.to_bytes(4): b"x" for n in range(50_000)})
    started = time.perf_counter()
    for n in range(100):
        assert tree.prune([[n.to_bytes(4)]]).lookup([n.to_bytes(4)]) == b"x"
    assert time.perf_counter() - started < allowed_s(1)


def node(*parts: object) -> bytes:
    return cbor.encode(list(parts))  # type: ignore[arg-type]


LEAF = [3, b""]


@pytest.mark.parametrize(
    "data",
    [
        node(5),
        node(0, 0),
        node(1, [0]),
        node(2, "a", [0]),
        node(2, b"a"),
        node(3),
        node(3, "text"),
        node(4, bytes(31)),
        node(1, LEAF, [0]),
        node(1, [2, b"b", LEAF], [2, b"a", LEAF]),
        node(1, [2, b"a", LEAF], [2, b"a", LEAF]),
        node(1, [1, [2, b"a", LEAF], [4, bytes(32)]], [2, b"a", LEAF]),
        cbor.encode({}),
        b"\xff",
    ],
)
def test_what_is_not_an_ordered_tree_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        HashTree.parse(data)


def test_trees_may_be_128_deep_and_not_deeper() -> None:
    deepest: cbor.Encodable = [3, b"x"]
    for _ in range(MAX_DEPTH):
        deepest = [2, b"a", deepest]
    tree = HashTree.parse(cbor.encode(deepest))
    assert tree.lookup([b"a"] * MAX_DEPTH) == b"x"
    with pytest.raises(FormatError, match="deep"):
        HashTree.parse(cbor.encode([2, b"a", deepest]))
    plan: Plan = {b"a": b"x"}
    for _ in range(MAX_DEPTH):
        plan = {b"a": plan}
    with pytest.raises(FormatError, match="deep"):
        HashTree.from_dict(plan)


@given(st.binary(max_size=100), st.integers(0, 400))
def test_mutated_trees_give_a_tree_or_a_format_error(noise: bytes, at: int) -> None:
    data = WHOLE[: at % len(WHOLE)] + noise + WHOLE[at % len(WHOLE) :]
    with contextlib.suppress(FormatError):
        HashTree.parse(data)


def test_true_and_false_are_not_the_numbers_of_a_node() -> None:
    for tree in (b"\x83\xf5\x81\x00\x81\x00", b"\x81\xf4"):
        with pytest.raises(FormatError, match="not a node"):
            HashTree.parse(tree)
