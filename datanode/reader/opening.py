"""The reader: asks a node for the proof of a version, and believes what is proven."""

import time
from collections.abc import Callable

from datanode.errors import CorruptionError, NotFoundError
from datanode.node.port import ManifestPart, StorageNode
from datanode.reader import proof
from datanode.reader.seen import Seen
from datanode.reader.version import VerifiedVersion


class Reader:
    """Reads versions of models from one node.

    Args:
        node: Where to read; not trusted.
        root_key: The network's root key, DER: trusted.
        clock_ns: The time, nanoseconds since 1970; certificates are compared with it.
        seen: Remembers the highest versions; None: a node's going back is not noticed.
    """

    def __init__(
        self,
        node: StorageNode,
        *,
        root_key: bytes,
        clock_ns: Callable[[], int] = time.time_ns,
        seen: Seen | None = None,
    ) -> None:
        self.node = node
        self.root_key = root_key
        self._clock_ns = clock_ns
        self._seen = seen

    def open_version(self, model: str, version: int | None = None) -> VerifiedVersion:
        """Open a version, the latest by default; steps 1 to 6 of `datanode/reader/proof.py`.

        Raises:
            NotFoundError: There is no such version, or none that this caller may see.
            CertificateError: The node cannot prove what it says.
            RollbackError: It shows an older state than it has shown before.
            CorruptionError: It has not the head of the manifest that it certified.
        """
        answer = self.node.witness(model, version)
        trusted = proof.trust_witness(  # 1 to 4
            answer,
            root_key=self.root_key,
            node=self.node.principal,
            model=model,
            version=version,
            now_ns=self._clock_ns(),
        )
        if self._seen is not None:  # 5
            self._seen.check(self.root_key, trusted)
        try:
            head_frame = self.node.get_manifest(model, trusted.manifest, ManifestPart.HEAD)
        except NotFoundError as error:
            raise CorruptionError(
                f"the node certifies version {trusted.version} of {model} and does not have the "
                "head of its manifest"
            ) from error
        return VerifiedVersion(
            node=self.node,
            trusted=trusted,
            answer=answer,
            root_key=self.root_key,
            head=proof.trust_head(trusted, head_frame),  # 6
            head_frame=head_frame,
        )
