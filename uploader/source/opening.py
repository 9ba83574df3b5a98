"""Open a source by what the operator named: a path, or the address of a bucket."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from datanode.errors import SourceError
from uploader.source import hub
from uploader.source.base import Source, shown
from uploader.source.files import Files
from uploader.source.folder import Folder

_SCHEME: Final = "://"
_BUCKET: Final = "s3://"


def open_source(
    location: str | Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Source:
    """Open a checkpoint by path or address.

    Args:
        location: A `.safetensors` file, a `.safetensors.index.json` file, or a folder; on this
            machine, or as `s3://BUCKET/KEY`.
        include: Globs (`*` crosses folders); when given, only what matches one is taken.
        exclude: Globs; what matches one is left out.

    Raises:
        SourceError: There is nothing there that can be uploaded.
        NetworkError: The bucket does not answer.
    """
    text = str(location)
    try:
        with ExitStack() as opening:
            files, name = _find(text)
            opening.callback(files.close)
            if name is None:
                source = hub.all_files(files, include, exclude)
            else:
                source = hub.one_file(files, name)
            opening.pop_all()
            return source
    except (OSError, RuntimeError, ValueError) as error:
        # A folder that may not be entered, a name that is too long, a home that is not known.
        raise SourceError(f"{shown(text)} cannot be opened: {error}") from error


def _find(text: str) -> tuple[Files, str | None]:
    """Return the files, and the name of the one that was named, if it was one."""
    if text.startswith(_BUCKET):
        # Imported here: boto3 takes a third of a second, and few sources are buckets.
        from uploader.source.s3 import find  # noqa: PLC0415

        return find(text)
    if _SCHEME in text:
        raise SourceError(
            f"sources of the kind {shown(text.split(_SCHEME, maxsplit=1)[0] + _SCHEME)} are not "
            "supported",
            hint="Name a path or s3://BUCKET/KEY; or download the checkpoint and name its folder.",
        )
    return _find_path(text, Path(text).expanduser())


def _find_path(text: str, path: Path) -> tuple[Files, str | None]:
    if path.is_dir():
        return Folder(text, path, confined=True), None
    if hub.is_named_alone(path.name):
        return Folder(text, path.parent, confined=False), path.name
    if not path.exists():
        raise SourceError(f"there is no file or folder {shown(text)}", hint="Check the path.")
    raise SourceError(
        f"{shown(text)} is not a safetensors file",
        hint="Name a .safetensors file, a .safetensors.index.json file or a folder with them.",
    )
