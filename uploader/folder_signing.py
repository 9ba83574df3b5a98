"""Sign a folder as it lies, by the rule of an upload: what that leaves out is left out."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from datanode.errors import UsageError
from datanode.files import disk_errors, replace_file
from datanode.model_signature import SIGNATURE_NAME, Coverage, SigningKey, sign_files
from uploader.source import Source, open_source
from uploader.source.file_digests import digest_files

_SIGNS = (".", "/", "~")


def is_folder(model: str) -> bool:
    """Whether an argument names a folder by its path, and no stored model."""
    return model.startswith(_SIGNS)


def sign_folder(
    text: str,
    key: SigningKey,
    out: Path | None,
    *,
    tell: Callable[[Source], None],
    stage: Callable[[str], object],
) -> tuple[Path, Coverage]:
    """Read the files of a folder, sign their digests and write the bundle.

    Args:
        text: The folder.
        key: Who signs; it was checked before the long reading.
        out: Bundle to write; None: `model.sig` in the folder.
        tell: Is given the files before they are read.
        stage: Told the path of each file before it is read.

    Raises:
        UsageError: It is no folder, or has no file to sign.
        SourceError: It is no checkpoint, or changed while it was read.
    """
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise UsageError(f"{text} is no folder", hint="A stored model is signed by its name.")
    place = out or folder / SIGNATURE_NAME
    with closing(open_source(folder)) as source:
        tell(source)
        files = digest_files(source, stage)
        left_out = [each.path for each in source.left_out]
    name = folder.resolve().name
    bundle, coverage = sign_files(name, files, key, name=place.name, left_out=left_out)
    write_bundle_file(place, bundle)
    return place, coverage


def write_bundle_file(place: Path, bundle: bytes) -> None:
    """Write a bundle that anybody may read.

    Raises:
        DiskFullError: No space is left.
    """
    with disk_errors(place):
        replace_file(place, bundle, mode=0o644)
