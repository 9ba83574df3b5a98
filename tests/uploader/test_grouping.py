"""uploader.grouping: small neighbours share a chunk, and changes stay local."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from datanode.model import ElementType, FileSpec, TensorSpec
from uploader.chunker import Layout
from uploader.grouping import GROUP_BYTES, MAX_GROUP_BYTES, SMALL_BYTES, groups

KINDS = st.tuples(
    st.sampled_from([0, 1, 64, 1_000, SMALL_BYTES - 1, SMALL_BYTES, 3 * SMALL_BYTES]),
    st.sampled_from([0, 0, 0, 0, 3]),
)


def row(sizes: list[tuple[str, int]], gaps: list[int] | None = None) -> list[TensorSpec]:
    """Tensors of bytes that follow each other, each after a gap."""
    tensors, end = [], 0
    for (name, size), gap in zip(sizes, gaps or [0] * len(sizes), strict=True):
        end += gap
        tensors.append(
            TensorSpec(
                name=name,
                dtype="U8",
                shape=(size,),
                file_index=0,
                offset_bytes=end,
                length_bytes=size,
            )
        )
        end += size
    return tensors


def named(count: int, size: int) -> list[tuple[str, int]]:
    return [(f"layers.{number}.scale", size) for number in range(count)]


@given(st.lists(KINDS, max_size=60))
@settings(max_examples=200)
def test_groups_are_the_tensors_in_order(kinds: list[tuple[int, int]]) -> None:
    tensors = row(
        [(f"t{number:03}", size) for number, (size, _) in enumerate(kinds)],
        [gap for _, gap in kinds],
    )
    found = list(groups(tensors))
    assert [tensor for group in found for tensor in group] == tensors
    for group in found:
        full = [tensor for tensor in group if tensor.length_bytes]
        assert sum(tensor.length_bytes for tensor in full) <= MAX_GROUP_BYTES or len(full) == 1
        if len(full) > 1:
            assert all(tensor.length_bytes < SMALL_BYTES for tensor in full)
            for one, next_one in pairwise(full):
                assert one.offset_bytes + one.length_bytes == next_one.offset_bytes


@given(st.integers(0, 3_999))
@settings(max_examples=20, deadline=None)
def test_a_tensor_more_changes_no_group_but_its_own(place: int) -> None:
    before = named(4_000, 1_000)
    after = [*before[:place], ("a.new.one", 1_000), *before[place:]]
    old = {tuple(tensor.name for tensor in group) for group in groups(row(before))}
    new = {tuple(tensor.name for tensor in group) for group in groups(row(after))}
    changed_bytes = sum(1_000 * len(names) for names in new - old)
    assert changed_bytes <= 2 * MAX_GROUP_BYTES
    assert len(old) > 8


def test_a_long_run_has_groups_of_the_stated_average() -> None:
    found = list(groups(row(named(100_000, 64))))
    assert 100_000 * 64 / GROUP_BYTES / 2 < len(found) < 100_000 * 64 / GROUP_BYTES * 2


def test_a_small_tensor_between_large_ones_keeps_its_rows() -> None:
    tensors = row([("a", 2 * SMALL_BYTES), ("norm", 512), ("b", 2 * SMALL_BYTES)])
    assert [len(group) for group in groups(tensors)] == [1, 1, 1]


def test_one_element_type_is_kept_and_several_are_bytes() -> None:
    def elements(*dtypes: str) -> list[ElementType]:
        tensors = [
            TensorSpec(
                name=f"t{number}",
                dtype=dtype,
                shape=(4, 4),
                file_index=0,
                offset_bytes=16 * number * 2,
                length_bytes=32,
            )
            for number, dtype in enumerate(dtypes)
        ]
        layout = Layout([FileSpec(path="f", length_bytes=32 * len(dtypes))], tensors)
        chunks = list(layout.chunks(0))
        assert all(chunk.row_elements == 0 for chunk in chunks)
        return [chunk.element for chunk in chunks]

    assert elements("F16", "F16", "F16") == [ElementType.F16]
    assert elements("F16", "BF16") == [ElementType.BYTES]
    assert elements("I16", "U16") == [ElementType.BYTES]
