"""The index of a sharded checkpoint: which tensor lies in which file.

`NAME.safetensors.index.json` has an object `weight_map` (tensor name -> file name, relative to the
index) and optional `metadata`, which is not used.
"""

import posixpath
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from datanode.errors import MissingShardError, SourceError
from datanode.limits import MAX_HEADER_BYTES
from uploader.source.base import check_path, shown
from uploader.source.strict_json import load_json_object

SUFFIX: Final = ".safetensors.index.json"
MAX_INDEX_BYTES: Final = MAX_HEADER_BYTES
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
    weight_map = load_json_object(raw, path, numbers_matter=False).get("weight_map")
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


def check_index(index: ShardIndex, names: Mapping[str, AbstractSet[str]]) -> None:
    """Compare an index with the tensors that its shards hold.

    Args:
        index: The index.
        names: Tensor names of each safetensors file of the source.

    Raises:
        MissingShardError: A shard is not there.
        SourceError: A tensor is not in the shard that the index names, or in two shards.
    """
    for tensor, shard in index.shards.items():
        if shard not in names:
            raise MissingShardError(f"{index.path} names {shard}, which is not there")
        if tensor not in names[shard]:
            raise SourceError(
                f"{index.path} puts tensor {shown(tensor)} in {shard}, which lacks it"
            )
    check_unique({shard: names[shard] for shard in sorted(set(index.shards.values()))})


def check_numbered_shards(names: Mapping[str, AbstractSet[str]]) -> None:
    """Check that files named `x-00001-of-00003.safetensors` are complete and disjoint.

    Raises:
        MissingShardError: A number is missing.
        SourceError: Two of them hold a tensor of the same name.
    """
    sets: dict[tuple[str, str], list[str]] = {}
    for path in sorted(names):
        if match := _SHARD.fullmatch(path):
            sets.setdefault((match["stem"], match["count"]), []).append(path)
    for (stem, count), paths in sets.items():
        if len(paths) < int(count):
            missing = next(
                path
                for number in range(1, int(count) + 1)
                if (path := f"{stem}-{number:05}-of-{count}.safetensors") not in names
            )
            raise MissingShardError(f"{missing} is not there; {len(paths)} of {int(count)} are")
        check_unique({path: names[path] for path in paths})


def check_unique(names: Mapping[str, AbstractSet[str]]) -> None:
    """Check that no tensor name stands in two of these files.

    Raises:
        SourceError: One does.
    """
    seen: dict[str, str] = {}
    for path, tensors in names.items():
        for tensor in sorted(tensors & seen.keys()):
            raise SourceError(f"tensor {shown(tensor)} stands in {seen[tensor]} and in {path}")
        seen |= dict.fromkeys(tensors, path)
