"""Open a source by what the operator named: a path, a bucket, or a model of the hub."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from datanode.errors import SourceError, UsageError
from datanode.text import shown
from uploader.source import checkpoint_layout
from uploader.source.base import Source
from uploader.source.file_store import Files
from uploader.source.folder import Folder
from uploader.source.hub_cache import refuse_cache_root
from uploader.source.kinds import HEAD_BYTES, recognise
from uploader.source.selection import Selection

_SCHEME: Final = "://"
_BUCKET: Final = "s3://"
_HUB: Final = "hf://"


def open_source(
    location: str | Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    also: Sequence[str] = (),
    follow_links: bool = False,
    ignore_inode: bool = False,
    request_payer: bool = False,
) -> Source:
    """Open a checkpoint by path or address.

    Args:
        location: A `.safetensors` file, a `.safetensors.index.json` file, or a folder; on this
            machine, as `s3://BUCKET/KEY`, or as `hf://ORG/MODEL[@REVISION]`.
        include: Globs (`*` crosses folders); when given, only what matches one is taken.
        exclude: Globs; what matches one is left out.
        also: Globs; what matches one is taken too, although it would be left out otherwise.
        follow_links: Follow links of a folder wherever they lead, to folders too.
        ignore_inode: Do not compare inode numbers: the file system does not keep them.
        request_payer: Pay for requests to a bucket whose owner does not.

    Raises:
        SourceError: There is nothing there that can be uploaded.
        NetworkError: The bucket does not answer.
    """
    text = str(location)
    try:
        with ExitStack() as opening:
            files, name = _find(
                text,
                follow_links=follow_links,
                ignore_inode=ignore_inode,
                request_payer=request_payer,
            )
            opening.callback(files.close)
            if name is None:
                selection = Selection(include=include, exclude=exclude, also=also)
                source = checkpoint_layout.all_files(files, selection)
            else:
                source = checkpoint_layout.one_file(files, name)
            opening.pop_all()
            return source
    except (OSError, RuntimeError, ValueError) as error:
        # A folder that may not be entered, a name that is too long, a home that is not known.
        raise SourceError(f"{shown(text)} cannot be opened: {error}") from error


def _find(
    text: str, *, follow_links: bool, ignore_inode: bool, request_payer: bool
) -> tuple[Files, str | None]:
    """Return the files, and the name of the one that was named, if it was one."""
    if text.startswith(_BUCKET):
        # Imported here: boto3 takes a third of a second, and few sources are buckets.
        from uploader.source.s3 import find  # noqa: PLC0415

        return find(text, request_payer=request_payer)
    if text.startswith(_HUB):
        return _find_on_hub(text)
    if _SCHEME in text:
        raise SourceError(
            f"sources of the kind {shown(text.split(_SCHEME, maxsplit=1)[0] + _SCHEME)} are not "
            "supported",
            hint="Name a path, s3://BUCKET/KEY or hf://ORG/MODEL; or download the checkpoint and "
            "name its folder.",
        )
    path = Path(text).expanduser()
    name = _name_at(text, path)
    root = path if name is None else path.parent
    confined = name is None and not follow_links
    folder = Folder(
        text, root, confined=confined, follow_links=follow_links, ignore_inode=ignore_inode
    )
    return folder, name


def _find_on_hub(text: str) -> tuple[Files, str | None]:
    try:
        # Imported here: an optional extra, which takes half a second.
        from uploader.source.hub import find  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "hf:// needs huggingface_hub, which is not installed",
            hint='Install it with `pip install "datanode[hub]"`.',
        ) from error
    return find(text)


def _name_at(text: str, path: Path) -> str | None:
    """Return the name of a file that can be a source; None: it is a folder."""
    if path.is_dir():
        refuse_cache_root(path)
        return None
    if checkpoint_layout.is_named_alone(path.name):
        return path.name
    if not path.exists():
        raise SourceError(f"there is no file or folder {shown(text)}", hint="Check the path.")
    kind = None
    if path.is_file():
        with path.open("rb") as file:
            kind = recognise(file.read(HEAD_BYTES))
    if kind is not None:
        raise SourceError(f"{shown(text)} is {kind.name}", hint=kind.hint)
    raise SourceError(
        f"{shown(text)} is not a safetensors file",
        hint="Name a .safetensors file, a .safetensors.index.json file or a folder with them.",
    )
