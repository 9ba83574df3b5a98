"""The cache of huggingface_hub on disk: which folder in it is a checkpoint.

::

    HUB/models--ORG--NAME/refs/main             the commit that a branch or tag points to
    HUB/models--ORG--NAME/snapshots/COMMIT/...  links into blobs, one folder a commit
    HUB/models--ORG--NAME/blobs/...             the files, named by digest
"""

from pathlib import Path
from typing import Final

from datanode.errors import SourceError
from datanode.text import shown

_MODELS: Final = "models--"
_SHOWN: Final = 3
_MAX_REF_BYTES: Final = 100


def refuse_cache_root(path: Path) -> None:
    """Refuse a folder of the cache that holds checkpoints but is none, and name what it holds.

    Raises:
        SourceError: It is one.
    """
    if (path / "snapshots").is_dir() and (path / "blobs").is_dir():
        raise _of_model(path)
    if path.name == "snapshots" and (path.parent / "blobs").is_dir():
        raise _of_model(path.parent)
    models = sorted(each.name for each in path.glob(f"{_MODELS}*") if each.is_dir())
    if models:
        raise SourceError(
            f"{shown(str(path))} is a cache of huggingface_hub with {len(models)} models",
            hint=f"Name one snapshot, e.g. {_example(path / models[0])}",
        )


def blobs_of(folder: Path) -> tuple[Path, ...]:
    """Return where links in a folder of a snapshot may lead: the snapshot and its blobs."""
    for parent in (folder, *folder.parents):
        blobs = parent.parent.parent / "blobs"
        if parent.parent.name == "snapshots" and blobs.is_dir():
            return (parent, blobs)
    return ()


def _of_model(path: Path) -> SourceError:
    snapshots = sorted(each.name for each in (path / "snapshots").iterdir() if each.is_dir())
    if not snapshots:
        return SourceError(
            f"{shown(str(path))} is a model in the cache of huggingface_hub without a snapshot",
            hint="Download the model again with `hf download`.",
        )
    listed = ", ".join(map(shown, snapshots[:_SHOWN])) + (", ..." if snapshots[_SHOWN:] else "")
    return SourceError(
        f"{shown(str(path))} is a model in the cache of huggingface_hub, not a checkpoint: "
        f"it has {len(snapshots)} snapshots ({listed})",
        hint=f"Name the folder of one snapshot: {_example(path)}",
    )


def _example(model: Path) -> str:
    """Name the snapshot that `refs/main` points to, else any."""
    snapshots = model / "snapshots"
    try:
        with (model / "refs" / "main").open(encoding="ascii") as file:
            commit = file.read(_MAX_REF_BYTES).strip()
    except (OSError, UnicodeDecodeError):
        commit = ""
    if commit.isalnum() and (snapshots / commit).is_dir():
        return f"{snapshots / commit} (main)"
    found = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
    return str(found[0] if found else snapshots / "COMMIT")
