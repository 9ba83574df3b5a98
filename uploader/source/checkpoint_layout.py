"""Find the files of a checkpoint: one file, a sharded one, or a folder as a hub lays it out.

`selection.py` says what belongs to a folder.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from datanode.errors import MissingShardError, SourceError
from datanode.text import shown
from uploader.source import index, safetensors
from uploader.source.base import LeftOut, Source, check_path
from uploader.source.checkpoint import Checkpoint, read_index
from uploader.source.file_store import Files
from uploader.source.kinds import HEAD_BYTES
from uploader.source.selection import Selection

_MAX_FILES: Final = 10_000


def is_named_alone(name: str) -> bool:
    """Whether a name is that of a checkpoint's own file, not of a folder with one."""
    return name.endswith((safetensors.SUFFIX, index.SUFFIX))


def one_file(files: Files, name: str) -> Source:
    """Open a safetensors file, or an index with the shards that it names.

    Raises:
        MissingShardError: A shard is not there.
        SourceError: The file is one of several shards, or malformed.
    """
    names = [check_path(name)]
    if name.endswith(index.SUFFIX):
        for shard in sorted(set(read_index(files, files.pin(name)).shards.values())):
            if not files.holds(shard):
                raise MissingShardError(f"{name} names {shard}, which is not there")
            names.append(shard)
    else:
        _refuse_shard(files, name)
    return Checkpoint(files, names)


def _refuse_shard(files: Files, name: str) -> None:
    """Refuse a shard that is named alone: without its siblings it is no model."""
    shard = index.shard_of(name)
    if shard is None:
        return
    stem, number, count = shard
    whole = f"{stem}{index.SUFFIX}"
    raise SourceError(
        f"{name} is shard {number} of {count}: alone it is no checkpoint",
        hint=f"Name {whole} beside it." if files.holds(whole) else "Name the folder that it is in.",
    )


def all_files(files: Files, selection: Selection) -> Source:
    """Open whatever belongs to the checkpoint of a folder.

    Raises:
        SourceError: There are no safetensors files, or too many files, or one is malformed.
    """
    names: list[str] = []
    left_out: list[LeftOut] = []
    for name in files.names():
        reason = selection.reason_against(name, partial(_head, files, name))
        if reason is not None:
            left_out.append(LeftOut(path=name, reason=reason))
            continue
        names.append(check_path(name))
        if len(names) > _MAX_FILES:
            raise SourceError(
                f"{shown(files.location)} has more than {_MAX_FILES:,} files",
                hint="Name the folder of one checkpoint, or leave files out with --exclude.",
            )
    left_out.sort(key=lambda each: each.path)
    if not any(name.endswith(safetensors.SUFFIX) for name in names):
        for name in names:
            files.pin(name)  # a link that may not be followed is the better reason
        raise _without_weights(files, left_out)
    return Checkpoint(files, names, left_out)


def _head(files: Files, name: str) -> bytes:
    file = files.pin(name)
    return files.read(file, 0, min(HEAD_BYTES, file.length_bytes))


def _without_weights(files: Files, left_out: Sequence[LeftOut]) -> SourceError:
    """Say which weights there are instead."""
    what = f"{shown(files.location)} has no .safetensors file"
    if not left_out:
        return SourceError(what, hint="Name a folder with the .safetensors files of a checkpoint.")
    first = left_out[0]
    return SourceError(
        f"{what}, only {first.reason} ({shown(first.path)})"
        if len(left_out) == 1
        else f"{what}; left out: {first.reason} ({shown(first.path)}) and {len(left_out) - 1} more",
        hint="Convert the weights to safetensors first; many models on hubs have both.",
    )
