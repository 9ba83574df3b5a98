"""Find the files of a checkpoint: one file, a sharded one, or a folder as a hub lays it out.

What belongs to a folder: safetensors files and the small files beside them that make weights a
model (configuration, tokenizer, templates, licence), in subfolders too. Hidden files and folders
never do; weights in other formats (`pytorch_model.bin`) do not, because the safetensors files hold
the same; `--include` and `--exclude` decide otherwise.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from datanode.errors import MissingShardError, SourceError
from uploader.source import index, safetensors
from uploader.source.base import Source, check_path, shown
from uploader.source.checkpoint import Checkpoint, read_index
from uploader.source.files import Files

_SUFFIXES: Final = (
    ".safetensors",
    ".json",
    ".jsonl",
    ".txt",
    ".model",
    ".jinja",
    ".md",
    ".tiktoken",
    ".yaml",
    ".yml",
)
_NAMES: Final = frozenset({"LICENSE", "LICENCE", "NOTICE", "USE_POLICY"})
_MAX_FILES: Final = 10_000


def is_named_alone(name: str) -> bool:
    """Whether a name is that of a checkpoint's own file, not of a folder with one."""
    return name.endswith((safetensors.SUFFIX, index.SUFFIX))


def one_file(files: Files, name: str) -> Source:
    """Open a safetensors file, or an index with the shards that it names."""
    names = [check_path(name)]
    if name.endswith(index.SUFFIX):
        for shard in sorted(set(read_index(files, files.pin(name)).shards.values())):
            if not files.holds(shard):
                raise MissingShardError(f"{name} names {shard}, which is not there")
            names.append(shard)
    return Checkpoint(files, names)


def all_files(files: Files, include: Sequence[str], exclude: Sequence[str]) -> Source:
    """Open whatever belongs to the checkpoint of a folder."""
    names: list[str] = []
    skipped: list[str] = []
    for name in files.names():
        if not _belongs(name, include, exclude):
            skipped.append(name)
            continue
        names.append(check_path(name))
        if len(names) > _MAX_FILES:
            raise SourceError(f"{shown(files.location)} has more than {_MAX_FILES} files")
    if not any(name.endswith(safetensors.SUFFIX) for name in names):
        raise SourceError(
            f"{shown(files.location)} has no .safetensors file",
            hint="Name the folder of one snapshot, e.g. ~/.cache/huggingface/hub/"
            "models--*/snapshots/*.",
        )
    return Checkpoint(files, names, sorted(skipped))


def _belongs(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if any(_matches(name, pattern) for pattern in exclude):
        return False
    if include:
        return any(_matches(name, pattern) for pattern in include)
    return name.endswith(_SUFFIXES) or name.rpartition("/")[2] in _NAMES


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern + "*" if pattern.endswith("/") else pattern)
