"""uploader.fleet_placement: by layer, balanced, sticky, never beyond a member's room."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import NodeFullError
from datanode.model import FileSpec, TensorSpec
from datanode.units import GIB
from tests.bench.llama_shapes import Shapes, SyntheticSource
from uploader.chunker import Layout
from uploader.fleet_placement import HEAP_BYTES, divide, members_for_heaps, place

ROOMY = 500 * GIB


def layout(*tensors: tuple[str, int], config_bytes: int = 500) -> Layout:
    """A file of BF16 tensors (rows of 4,096) and a configuration."""
    specs, offset = [], 1_000
    for name, rows in tensors:
        length = rows * 4_096 * 2
        specs.append(
            TensorSpec(
                name=name,
                dtype="BF16",
                shape=(rows, 4_096),
                file_index=1,
                offset_bytes=offset,
                length_bytes=length,
            )
        )
        offset += length
    files = [
        FileSpec(path="config.json", length_bytes=config_bytes),
        FileSpec(path="model.safetensors", length_bytes=offset),
    ]
    return Layout(files, specs)


def llama_8b() -> Layout:
    """Llama 3 8B: 32 blocks of 218 M weights, embeddings and head of 525 M."""
    sizes = {
        "self_attn.q_proj": 4_096,
        "self_attn.k_proj": 1_024,
        "self_attn.v_proj": 1_024,
        "self_attn.o_proj": 4_096,
        "mlp.gate_proj": 14_336,
        "mlp.up_proj": 14_336,
        "mlp.down_proj": 14_336,
        "input_layernorm": 1,
    }
    blocks = [
        (f"model.layers.{index}.{name}.weight", rows)
        for index in range(32)
        for name, rows in sizes.items()
    ]
    return layout(
        ("model.embed_tokens.weight", 128_256),
        *blocks,
        ("model.norm.weight", 1),
        ("lm_head.weight", 128_256),
    )


def sizes_of(laid: Layout) -> list[int]:
    return [laid.spec(index).length_bytes * 2 // 3 for index in range(laid.chunk_count)]


def owners_by_tensor(laid: Layout, members: object) -> dict[str, set[int]]:
    return {
        tensor.name: {members[chunk] for chunk in range(first, first + count)}  # type: ignore[index]
        for tensor, first, count in laid.tensor_chunks()
    }


@pytest.mark.parametrize(
    ("layers", "width", "inner", "members"), [(32, 4_096, 14_336, 5), (80, 8_192, 28_672, 41)]
)
def test_documents_tell_how_many_canisters_run_llama_3(
    layers: int, width: int, inner: int, members: int
) -> None:
    shapes = Shapes(
        layers=layers, hidden=width, keys=1_024, inner=inner, words=128_256, shards=layers // 8
    )
    source = SyntheticSource(shapes)
    assert members_for_heaps(Layout(source.files(), source.tensors())) == members
    table = (Path(__file__).parents[2] / "docs" / "large-models.md").read_text()
    assert f"| 1 | {members} |" in table


def test_llama_8b_over_five_is_balanced_and_fits_heaps() -> None:
    laid = llama_8b()
    placed = place(laid, sizes_of(laid), [ROOMY] * 5)
    heaps = [share.heap_bytes for share in placed.shares]
    assert max(heaps) <= 1.10 * sum(heaps) / 5
    assert max(heaps) <= HEAP_BYTES
    assert all(share.fits_heap for share in placed.shares)
    assert members_for_heaps(laid) == 5
    owners = owners_by_tensor(laid, placed.members)
    assert owners["model.embed_tokens.weight"] == owners["model.layers.0.mlp.up_proj.weight"] == {0}
    assert owners["lm_head.weight"] == owners["model.norm.weight"] == {4}
    blocks = [owners[f"model.layers.{index}.mlp.up_proj.weight"] for index in range(32)]
    order = [next(iter(each)) for each in blocks]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2, 3, 4}


def test_a_block_is_never_divided() -> None:
    laid = llama_8b()
    owners = owners_by_tensor(laid, place(laid, sizes_of(laid), [ROOMY] * 7).members)
    for index in range(32):
        of_block = [each for name, each in owners.items() if f".layers.{index}." in name]
        assert len(set.union(*of_block)) == 1


def test_everything_else_lies_on_the_coordinator() -> None:
    laid = layout(*((f"blk.{index}.w", 4_096) for index in range(4)))
    placed = place(laid, sizes_of(laid), [ROOMY] * 4)
    first, count = laid.file_chunks(0)
    assert set(placed.members[first : first + count]) == {0}


def test_one_member_holds_all() -> None:
    laid = llama_8b()
    assert place(laid, sizes_of(laid), [ROOMY]).runs() == ((0, laid.chunk_count),)


def test_held_chunks_stay() -> None:
    laid = llama_8b()
    held = dict.fromkeys(range(10, 200), 3)
    placed = place(laid, sizes_of(laid), [ROOMY] * 5, held=held)
    assert all(placed.members[chunk] == 3 for chunk in held)
    sizes = sizes_of(laid)
    assert sum(share.frame_bytes for share in placed.shares) == sum(
        size for chunk, size in enumerate(sizes) if chunk not in held
    )


def test_too_little_room_names_how_many_would_do() -> None:
    laid = llama_8b()
    with pytest.raises(NodeFullError, match="members of the fleet have") as caught:
        place(laid, sizes_of(laid), [1 * GIB] * 5)
    assert caught.value.hint == "1 empty members would do."


def test_a_small_member_gets_what_fits() -> None:
    laid = llama_8b()
    rooms = [ROOMY, 400_000_000, ROOMY]
    placed = place(laid, sizes_of(laid), rooms)
    assert placed.shares[1].frame_bytes <= 400_000_000


@given(
    loads=st.lists(st.integers(0, 40), min_size=1, max_size=9),
    rooms=st.lists(st.integers(0, 120), min_size=1, max_size=4),
    data=st.data(),
)
def test_division_is_the_best_of_all(
    loads: list[int], rooms: list[int], data: st.DataObject
) -> None:
    needs = data.draw(
        st.lists(st.integers(0, 40), min_size=len(loads), max_size=len(loads)), label="needs"
    )
    base = data.draw(
        st.lists(st.integers(0, 30), min_size=len(rooms), max_size=len(rooms)), label="base"
    )

    def top(owners: tuple[int, ...]) -> int | None:
        load, used = list(base), [0] * len(rooms)
        for unit, owner in enumerate(owners):
            load[owner] += loads[unit]
            used[owner] += needs[unit]
        return None if any(u > r for u, r in zip(used, rooms, strict=True)) else max(load)

    rising = itertools.combinations_with_replacement(range(len(rooms)), len(loads))
    tops = [found for found in map(top, rising) if found is not None]
    owners = divide(loads, needs, rooms, base)
    if owners is None:
        assert not tops
        return
    assert owners == sorted(owners)
    assert owners == divide(loads, needs, rooms, base)
    assert top(tuple(owners)) == min(tops)
