"""The reader: asks a node for the proof of a version, and believes what is proven."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from datanode.errors import CertificateError, CorruptionError, NotFoundError
from datanode.node.port import ManifestPart, StorageNode, WitnessAnswer
from datanode.reader import proof
from datanode.reader.proof import TrustedVersion
from datanode.reader.rollback_memory import SeenVersion
from datanode.reader.version import VerifiedVersion

WITNESS_ATTEMPTS: Final = 3
"""How often a witness that proves nothing is asked for in all: another replica may be honest."""


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
        seen: SeenVersion | None = None,
    ) -> None:
        self.node = node
        self.root_key = root_key
        self._clock_ns = clock_ns
        self._seen = seen

    def on(self, node: StorageNode) -> "Reader":
        """Read another node in the same way."""
        return Reader(node, root_key=self.root_key, clock_ns=self._clock_ns, seen=self._seen)

    def remember(self, trusted: proof.TrustedVersion) -> None:
        """Take step 5 for a version that was proven elsewhere: compare it with memory, keep it.

        Raises:
            RollbackError: The node shows an older state than it has shown before.
        """
        if self._seen is not None:
            self._seen.check(self.root_key, trusted)

    def open_version(self, model: str, version: int | None = None) -> VerifiedVersion:
        """Open a version, the latest by default; steps 1 to 6 of `datanode/reader/proof.py`.

        Raises:
            NotFoundError: There is no such version, or none that this caller may see.
            CertificateError: The node cannot prove what it says.
            RollbackError: It shows an older state than it has shown before.
            CorruptionError: It has not the head of the manifest that it certified.
        """
        answer, trusted = self._proven(model, version)  # 1 to 5
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

    def prove(self, model: str, version: int | None = None) -> TrustedVersion:
        """Prove which manifest is certified, without reading any of it; steps 1 to 5.

        Raises:
            NotFoundError: There is no such version, or none that this caller may see.
            CertificateError: The node cannot prove what it says.
            RollbackError: It shows an older state than it has shown before.
        """
        return self._proven(model, version)[1]

    def _proven(self, model: str, version: int | None) -> tuple[WitnessAnswer, TrustedVersion]:
        answer, trusted = self._ask_witness(model, version)  # 1 to 4
        self.remember(trusted)  # 5
        return answer, trusted

    def _ask_witness(self, model: str, version: int | None) -> tuple[WitnessAnswer, TrustedVersion]:
        """Ask for a witness and verify it; after one that proves nothing, ask again.

        Raises:
            CertificateError: None of the answers proves anything.
        """
        for _ in range(WITNESS_ATTEMPTS - 1):
            with suppress(CertificateError):
                return self._ask_once(model, version)
        return self._ask_once(model, version)

    def _ask_once(self, model: str, version: int | None) -> tuple[WitnessAnswer, TrustedVersion]:
        answer = self.node.witness(model, version)
        trusted = proof.trust_witness(
            answer,
            root_key=self.root_key,
            node=self.node.principal,
            model=model,
            version=version,
            now_ns=self._clock_ns(),
        )
        return answer, trusted
