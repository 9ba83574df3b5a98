"""Sign a model, from Python."""

# ruff: noqa: PLC0415 - bodies import what they need: `import datanode` stays fast

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datanode.model_signature import Coverage
    from datanode.progress import ProgressLike
    from uploader.source import Source


def sign(
    model: str | PathLike[str],
    key: str | PathLike[str],
    *,
    out: str | PathLike[str] | None = None,
    password: str | None = None,
    version: int | None = None,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    progress: "ProgressLike | None" = None,
) -> "Coverage":
    """Sign a model, or a folder, in the format of OpenSSF Model Signing.

    Of a model nothing is fetched: its manifest has the digests. A folder is read, and what an
    upload would leave out is left out. Needs the extra `datanode[sign]`.

    Args:
        model: Name of the model; or a folder, as a path object or written as `./FOLDER`.
        key: PEM file of a private key on P-256, P-384 or P-521; it is checked first.
        out: Bundle to write; None: `model.sig`, for a folder within it. A file of its name among
            the model's files is left out.
        password: Password of the key, where it is encrypted.
        version: Which version; None: the latest.
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.
        progress: Told of the files of a folder; see `upload`.

    Returns:
        The files that the signature covers, and those that it leaves out.

    Raises:
        UsageError: There is no such key or folder, or the extra is not installed.
        CertificateError: The node cannot prove what it says.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments
    from datanode.errors import UsageError
    from datanode.model_signature import open_signing_key
    from datanode.progress import as_progress
    from uploader.folder_signing import is_folder, sign_folder
    from uploader.source import notes_on

    signer = open_signing_key(Path(key), lambda: password)
    place = None if out is None else Path(out)
    if isinstance(model, PathLike) or is_folder(model):
        if version is not None:
            raise UsageError("a folder has no versions: leave version= out")
        listener = as_progress(progress)

        def tell(source: "Source") -> None:
            for note in notes_on(source):
                listener.note(note)

        return sign_folder(fspath(model), signer, place, tell=tell, stage=listener.stage)[1]
    where = ContextArguments(node=node, network=network, identity=identity, root_key=root_key)
    return surface.sign(model, signer, where, out=place, version=version)
