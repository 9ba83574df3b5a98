"""Collect what a node knows of a model before an upload, at the rim of the session."""

from dataclasses import dataclass
from typing import Final

from datanode.digest import FrameDigest
from datanode.errors import NotFoundError
from datanode.node.port import ModelInfo, StorageNode
from datanode.reader import Reader
from datanode.reader.proof import TrustedVersion
from datanode.units import MIB
from uploader.session.preflight import NodeFacts

SMALL_UPLOAD_BYTES: Final = 16 * MIB
"""Raw bytes that fit a window of messages: what settings refuse of them is not worth a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestVersion:
    """The latest version of a model, as the subnet certifies it."""

    version: int
    manifest: FrameDigest
    placement: FrameDigest


def find_model(node: StorageNode, model: str, *, replicated: bool) -> ModelInfo | None:
    """Describe a model; None if this identity cannot see one of that name."""
    try:
        return node.model(model, replicated=replicated)
    except NotFoundError:
        return None


def gather_facts(node: StorageNode, found: ModelInfo | None, *, raw_bytes: int) -> NodeFacts:
    """Collect the facts that a preflight judges.

    Settings are asked for by controllers, and only if more is at stake than a window of messages.
    """
    details = node.status().details
    asks = details is not None and details.freezing_days and raw_bytes > SMALL_UPLOAD_BYTES
    return NodeFacts(
        versions_count=len(found.versions) if found else 0,
        is_new=found is None,
        details=details,
        settings=node.settings() if asks else None,
    )


def latest_of(found: ModelInfo | None) -> LatestVersion | None:
    """Return the latest version of a model that has one."""
    if found is None or not found.versions:
        return None
    last = found.versions[-1]
    return LatestVersion(version=last.version, manifest=last.manifest, placement=last.placement)


def remember(reader: Reader, model: str, latest: LatestVersion, *, now_ns: int) -> None:
    """Remember the latest version on this machine, after comparing it with what was seen before.

    Raises:
        RollbackError: The node shows an older state than it has shown before.
    """
    reader.remember(
        TrustedVersion(
            node=reader.node.principal,
            model=model,
            version=latest.version,
            latest=latest.version,
            manifest=latest.manifest,
            placement=latest.placement,
            time_ns=now_ns,
        )
    )
