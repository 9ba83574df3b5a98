"""The index of a sharded checkpoint: which tensor lies in which file.

`NAME.safetensors.index.json` has an object `weight_map` (tensor name -> file name, relative to the
index) and optional `metadata`, which is not used.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from datanode.errors import MissingShardError, SourceError
from datanode.limits import MAX_TENSORS
from datanode.strict_json import StrictJson
from datanode.text import shown
from datanode.units import MIB
from uploader.source.base import check_path

SUFFIX: Final = ".safetensors.index.json"
MAX_INDEX_BYTES: Final = 32 * MIB
_JSON: Final = StrictJson(
    refused=SourceError, max_entries=2 * MAX_TENSORS, numbers_matter=False, keys_repeat=True
)
_SHARD: Final = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIndex:
    """A parsed index.

    Attributes:
        path: Where it lies in the source.
        shards: File of each tensor, as a path in the source.
    """

    path: str
    shards: Mapping[str, str]


def parse_index(path: str, raw: bytes) -> ShardIndex:
    """Read an index; `path` is its own path in the source.

    Raises:
        SourceError: It is not an index, or a path in it leads elsewhere.
    """
    weight_map = _JSON.read_object(raw, path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise SourceError(f"{path} has no weight_map")
    folder = posixpath.dirname(path)
    shards: dict[str, str] = {}
    checked: dict[str, str] = {}
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise SourceError(f"{path} names no file for tensor {shown(tensor)}")
        if shard not in checked:
            checked[shard] = posixpath.join(folder, check_path(shard))
            if not shard.endswith(".safetensors"):
                raise SourceError(f"{path} names {shown(shard)}, which is no safetensors file")
        shards[tensor] = checked[shard]
    return ShardIndex(path=path, shards=shards)


def compare_index(index: ShardIndex, names: Mapping[str, AbstractSet[str]]) -> Iterator[str]:
    """Compare an index with the tensors that its shards hold, and note what differs.

    A program that loads the checkpoint may not need what differs, so it is no error.

    Args:
        index: The index.
        names: Tensor names of each safetensors file of the source.

    Raises:
        MissingShardError: A shard is not there.
    """
    absent: list[str] = []
    for tensor, shard in index.shards.items():
        if shard not in names:
            raise MissingShardError(f"{index.path} names {shard}, which is not there")
        if tensor not in names[shard]:
            absent.append(tensor)
    if absent:
        first = absent[0]
        yield (
            f"{index.path} is stale: it puts tensor {shown(first)}{_and_more(len(absent) - 1)} in "
            f"{index.shards[first]}, which lacks it; stored as it is"
        )
    shards = sorted(set(index.shards.values()))
    yield from repeated_names({shard: names[shard] for shard in shards})


def compare_numbered_shards(names: Mapping[str, AbstractSet[str]]) -> Iterator[str]:
    """Check that files named `x-00001-of-00003.safetensors` are complete; note repeated tensors.

    Raises:
        MissingShardError: A number is missing.
    """
    sets: dict[tuple[str, str], list[str]] = {}
    for path in sorted(names):
        if (match := _SHARD.fullmatch(path)) and int(match["count"]):
            sets.setdefault((match["stem"], match["count"]), []).append(path)
    for (stem, count), paths in sets.items():
        if len(paths) < int(count):
            missing = next(
                path
                for number in range(1, int(count) + 1)
                if (path := f"{stem}-{number:05}-of-{count}.safetensors") not in names
            )
            raise MissingShardError(f"{missing} is not there; {len(paths)} of {int(count)} are")
        yield from repeated_names({path: names[path] for path in paths})


def repeated_names(names: Mapping[str, AbstractSet[str]]) -> Iterator[str]:
    """Note the first tensor name that stands in two of these files."""
    seen: dict[str, str] = {}
    for path, tensors in names.items():
        if repeated := sorted(tensors & seen.keys()):
            tensor = repeated[0]
            yield (
                f"tensor {shown(tensor)}{_and_more(len(repeated) - 1)} stands in {seen[tensor]} "
                f"and in {path}; both are stored"
            )
            return
        seen |= dict.fromkeys(tensors, path)


def shard_of(name: str) -> tuple[str, int, int] | None:
    """Return stem, number and count if a name is that of one of several shards."""
    match = _SHARD.fullmatch(name)
    if match is None or int(match["count"]) <= 1:
        return None
    return match["stem"], int(match["number"]), int(match["count"])


def _and_more(count: int) -> str:
    return f" and {count} more" if count else ""
