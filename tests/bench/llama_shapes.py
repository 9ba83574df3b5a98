"""Checkpoints with the tensor names and sizes of Llama 3, made while they are read.

Weights are BF16, or F16 that came from it, drawn once and read at another place for each block of a
file, so that no two chunks are equal. Nothing lies on disk, nothing is downloaded.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from datanode.model import FileSpec, TensorSpec
from uploader import stamps
from uploader.source.base import LeftOut, PinnedFile

_POOL_BYTES: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_STRIDE_BYTES: Final = 15_486  # even, and no divisor of the pool
_WIDTH_BYTES: Final = 2
_SHARD: Final = "model-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Dimensions of a model of the Llama family."""

    layers: int
    hidden: int
    keys: int
    inner: int
    words: int
    shards: int

    def scaled(self, divisor: int) -> "Shapes":
        """The same model with fewer rows in every tensor, and rows as long."""
        return Shapes(
            layers=self.layers,
            hidden=self.hidden,
            keys=max(1, self.keys // divisor),
            inner=max(1, self.inner // divisor),
            words=max(1, self.words // divisor),
            shards=self.shards,
        )

    def tensors(self, divisor: int = 1) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield names and shapes, block by block; rows of square tensors are divided too."""
        rows = max(1, self.hidden // divisor)
        yield "model.embed_tokens.weight", (self.words, self.hidden)
        for layer in range(self.layers):
            at = f"model.layers.{layer}"
            yield f"{at}.input_layernorm.weight", (self.hidden,)
            yield f"{at}.mlp.down_proj.weight", (rows, self.inner * divisor)
            yield f"{at}.mlp.gate_proj.weight", (self.inner, self.hidden)
            yield f"{at}.mlp.up_proj.weight", (self.inner, self.hidden)
            yield f"{at}.post_attention_layernorm.weight", (self.hidden,)
            yield f"{at}.self_attn.k_proj.weight", (self.keys, self.hidden)
            yield f"{at}.self_attn.o_proj.weight", (rows, self.hidden)
            yield f"{at}.self_attn.q_proj.weight", (rows, self.hidden)
            yield f"{at}.self_attn.v_proj.weight", (self.keys, self.hidden)
        yield "model.norm.weight", (self.hidden,)
        yield "lm_head.weight", (self.words, self.hidden)


LLAMA_8B: Final = Shapes(layers=32, hidden=4096, keys=1024, inner=14336, words=128256, shards=4)


class SyntheticSource:
    """A `Source` of such a checkpoint.

    Args:
        shapes: Its dimensions.
        divisor: Divides the rows of all tensors.
        dtype: Type of the weights: F16 or BF16.
        beside: Content of further files by name.
    """

    def __init__(
        self,
        shapes: Shapes,
        divisor: int = 1,
        *,
        dtype: str = "F16",
        beside: Mapping[str, bytes] | None = None,
    ) -> None:
        self._dtype = dtype
        # Files rise by name; the shards stand together.
        self._before = sorted(each for each in (beside or {}).items() if each[0] < _SHARD)
        self._after = sorted(each for each in (beside or {}).items() if each[0] > _SHARD)
        named = list(shapes.scaled(divisor).tensors(divisor))
        per_shard = -(-len(named) // shapes.shards)
        self._headers: list[bytes] = []
        self._sizes: list[int] = []
        self._tensors: list[TensorSpec] = []
        for shard in range(shapes.shards):
            self._add(shard, sorted(named[shard * per_shard : (shard + 1) * per_shard]))
        values = np.random.default_rng(8).normal(0, 0.02, _POOL_BYTES // _WIDTH_BYTES)
        bits = values.astype(np.float32).view(np.uint32) & 0xFFFF0000
        if dtype == "BF16":
            self._pool = (bits >> 16).astype(np.uint16).tobytes()
        else:
            self._pool = bits.view(np.float32).astype(np.float16).tobytes()

    def _add(self, shard: int, named: list[tuple[str, tuple[int, ...]]]) -> None:
        entries: dict[str, object] = {}
        end = 0
        for name, shape in named:
            size = int(np.prod(shape)) * _WIDTH_BYTES
            entries[name] = {
                "dtype": self._dtype,
                "shape": shape,
                "data_offsets": [end, end + size],
            }
            end += size
        text = json.dumps(entries).encode()
        text += b" " * (-len(text) % 8)
        header = struct.pack("<Q", len(text)) + text
        offset = len(header)
        for name, shape in named:
            size = int(np.prod(shape)) * _WIDTH_BYTES
            self._tensors.append(
                TensorSpec(
                    name=name,
                    dtype=self._dtype,
                    shape=shape,
                    file_index=len(self._before) + shard,
                    offset_bytes=offset,
                    length_bytes=size,
                )
            )
            offset += size
        self._headers.append(header)
        self._sizes.append(len(header) + end)

    @property
    def location(self) -> str:
        """A name."""
        return "synthetic Llama"

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Nothing."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def files(self) -> tuple[FileSpec, ...]:
        """List the shards and the files beside them."""
        shards = [
            FileSpec(path=f"{_SHARD}{number:05}.safetensors", length_bytes=size)
            for number, size in enumerate(self._sizes)
        ]
        before, after = (
            [FileSpec(path=path, length_bytes=len(data)) for path, data in beside]
            for beside in (self._before, self._after)
        )
        return (*before, *shards, *after)

    def pinned(self) -> tuple[PinnedFile, ...]:
        """List the files; they never change."""
        return tuple(
            PinnedFile(
                path=file.path,
                length_bytes=file.length_bytes,
                stamp=stamps.of_tag(file.path),
                inode=0,
            )
            for file in self.files()
        )

    def tensors(self) -> list[TensorSpec]:
        """List the tensors."""
        return self._tensors

    def read(self, file_index: int, offset_bytes: int, length_bytes: int) -> bytes:
        """Make bytes of one file."""
        shard = file_index - len(self._before)
        if not 0 <= shard < len(self._headers):
            _, data = (
                self._before[file_index] if shard < 0 else self._after[shard - len(self._headers)]
            )
            return data[offset_bytes : offset_bytes + length_bytes]
        header = self._headers[shard]
        parts = [header[offset_bytes : offset_bytes + length_bytes]]
        start = max(0, offset_bytes - len(header))
        end = offset_bytes + length_bytes - len(header)
        while start < end:
            block, inside = divmod(start, _BLOCK_BYTES)
            size = min(_BLOCK_BYTES - inside, end - start)
            number = shard * 7_919 + block
            place = number * _STRIDE_BYTES % (_POOL_BYTES - _BLOCK_BYTES) + inside
            parts.append(self._pool[place : place + size])
            start += size
        return b"".join(parts)

    def check_digest(self, file_index: int, sha256: bytes) -> None:
        """Accept it."""

    def check_unchanged(self) -> None:
        """Accept it."""

    def close(self) -> None:
        """Nothing is open."""
