"""Find the files of a checkpoint: one file, a sharded one, or a folder as a hub lays it out.

What belongs to a folder: safetensors files and the small files beside them that make weights a
model (configuration, tokenizer, templates, licence), in subfolders too. Hidden files and folders
never do; weights in other formats (`pytorch_model.bin`) do not, because the safetensors files hold
the same; `--include` and `--exclude` decide otherwise. A link is followed if it stays inside the
folder, or leads into the `blobs` folder of the hub cache that the snapshot belongs to.
"""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from datanode.errors import MissingShardError, SourceError
from uploader.source import index, safetensors
from uploader.source.base import Source, check_path, shown
from uploader.source.checkpoint import Checkpoint, read_index
from uploader.source.pinned import pin

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
_MAX_DEPTH: Final = 16
_SCHEME: Final = "://"


def open_source(
    location: str | Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Source:
    """Open a checkpoint by path.

    Args:
        location: A `.safetensors` file, a `.safetensors.index.json` file, or a folder.
        include: Globs (`*` crosses folders); when given, only what matches one is taken.
        exclude: Globs; what matches one is left out.

    Raises:
        SourceError: There is nothing there that can be uploaded.
    """
    text = str(location)
    if _SCHEME in text:
        raise SourceError(
            f"sources of the kind {shown(text.split(_SCHEME, maxsplit=1)[0] + _SCHEME)} are not "
            "supported",
            hint="Download the checkpoint and name its folder.",
        )
    try:
        return _open(text, Path(location).expanduser(), include, exclude)
    except (OSError, RuntimeError, ValueError) as error:
        # A folder that may not be entered, a name that is too long, a home that is not known.
        raise SourceError(f"{shown(text)} cannot be opened: {error}") from error


def _open(text: str, path: Path, include: Sequence[str], exclude: Sequence[str]) -> Source:
    if path.is_dir():
        return _open_folder(text, path, include, exclude)
    if path.name.endswith(index.SUFFIX):
        return _open_sharded(text, path)
    if path.name.endswith(safetensors.SUFFIX):
        return Checkpoint(text, {check_path(path.name): path})
    if not path.exists():
        raise SourceError(f"there is no file or folder {shown(text)}", hint="Check the path.")
    raise SourceError(
        f"{shown(text)} is not a safetensors file",
        hint="Name a .safetensors file, a .safetensors.index.json file or a folder with them.",
    )


def _open_sharded(location: str, path: Path) -> Source:
    name = check_path(path.name)
    paths = {name: path}
    for shard in sorted(set(read_index(path, pin(path, name)).shards.values())):
        paths[shard] = path.parent / shard
        if not paths[shard].is_file():
            raise MissingShardError(f"{name} names {shard}, which is not there")
    return Checkpoint(location, paths)


def _open_folder(
    location: str, root: Path, include: Sequence[str], exclude: Sequence[str]
) -> Source:
    paths: dict[str, Path] = {}
    skipped: list[str] = []
    allowed = _allowed_roots(root)
    for name, path in _walk(root):
        if not _belongs(name, include, exclude):
            skipped.append(name)
            continue
        check_path(name)
        _check_link(name, path, allowed)
        paths[name] = path
        if len(paths) > _MAX_FILES:
            raise SourceError(f"{shown(location)} has more than {_MAX_FILES} files")
    if not any(name.endswith(safetensors.SUFFIX) for name in paths):
        raise SourceError(
            f"{shown(location)} has no .safetensors file",
            hint="Name the folder of one snapshot, e.g. ~/.cache/huggingface/hub/"
            "models--*/snapshots/*.",
        )
    return Checkpoint(location, paths, sorted(skipped))


def _walk(root: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Path]]:
    """Yield regular files and links, hidden ones left out, each with its path below the root."""
    if depth > _MAX_DEPTH:
        raise SourceError(f"{shown(prefix)} lies more than {_MAX_DEPTH} folders deep")
    try:
        with os.scandir(root) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(f"{shown(str(root))} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/", depth + 1)
        elif entry.is_symlink() or entry.is_file():
            yield name, Path(entry.path)


def _belongs(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if any(_matches(name, pattern) for pattern in exclude):
        return False
    if include:
        return any(_matches(name, pattern) for pattern in include)
    return name.endswith(_SUFFIXES) or name.rpartition("/")[2] in _NAMES


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern + "*" if pattern.endswith("/") else pattern)


def _allowed_roots(root: Path) -> tuple[Path, ...]:
    """Where links of a folder may lead: inside it, or to the blobs of its hub cache."""
    real = root.resolve()
    if real.parent.name == "snapshots":
        return (real, real.parent.parent / "blobs")
    return (real,)


def _check_link(name: str, path: Path, allowed: Sequence[Path]) -> None:
    if not path.is_symlink():
        return
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{shown(name)} is a link that leads nowhere") from error
    if not any(target.is_relative_to(root) for root in allowed):
        raise SourceError(
            f"{shown(name)} is a link that leads out of the folder, to {shown(str(target))}",
            hint="Copy the file into the folder, or leave it out with --exclude.",
        )
    if target.is_dir():
        raise SourceError(
            f"{shown(name)} is a link to a folder",
            hint="Copy the folder, or leave it out with --exclude.",
        )
