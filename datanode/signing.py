"""Sign a model, from Python."""

# ruff: noqa: PLC0415 - bodies import what they need: `import datanode` stays fast

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datanode.model_signature import Coverage


def sign(
    model: str,
    key: str | PathLike[str],
    *,
    out: str | PathLike[str] = "model.sig",
    password: str | None = None,
    version: int | None = None,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
) -> "Coverage":
    """Sign a model in the format of OpenSSF Model Signing, from its manifest; nothing is fetched.

    Needs the extra `datanode[sign]`.

    Args:
        model: Name of the model.
        key: PEM file of a private key on P-256, P-384 or P-521.
        out: Bundle to write; a file of its name among the model's files is left out.
        password: Password of the key, where it is encrypted.
        version: Which version; None: the latest.
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.

    Returns:
        The files that the signature covers, and those that it leaves out.

    Raises:
        UsageError: There is no such key, or the extra is not installed.
        CertificateError: The node cannot prove what it says.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments

    return surface.sign(
        model,
        key,
        ContextArguments(node=node, network=network, identity=identity, root_key=root_key),
        out=out,
        password=password,
        version=version,
    )
