"""Bodies of the functions in `datanode/api.py`: reading, listing and proving.

Nothing is believed that the network's root key does not prove; see `datanode/reader/proof.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from datanode.agent.client import Agent
from datanode.auditing import AuditReport, FleetReport, Full, Mode, Sample, Scrub, audit_any
from datanode.cleanup import SafeClose, rollback_on_error
from datanode.command_context import ContextArguments
from datanode.errors import UsageError
from datanode.files import replace_file
from datanode.folders import seen_folder
from datanode.globs import as_patterns
from datanode.manifest import FileEntry, TensorEntry
from datanode.model_signature import (
    SIGNATURE_NAME,
    Coverage,
    ExpectedSigner,
    SigningKey,
    check_model_signature,
    load_public_key,
    read_bundle_file,
    sign_version,
)
from datanode.node.canister import CanisterNode
from datanode.node.port import ModelInfo
from datanode.part_names import is_part_name
from datanode.principal import Principal
from datanode.progress import ProgressLike, Tally, as_progress, log
from datanode.reader import (
    Array,
    FetchSummary,
    Reader,
    RollbackMemory,
    Rows,
    TensorReader,
    VerifiedVersion,
    fetch_model,
    fetch_tensor,
    find_tensors,
    load_arrays,
    open_any_version,
)


@dataclass(frozen=True, slots=True)
class Connection(SafeClose):
    """One node, reached as one identity; a context manager.

    Attributes:
        agent: The way there.
        node: The node.
    """

    agent: Agent
    node: CanisterNode

    def close(self) -> None:
        """Close all connections."""
        self.agent.close()

    def reader(self) -> Reader:
        """Read what the node holds, verified; older states than seen before are refused."""
        return Reader(
            self.node,
            root_key=self.agent.network.root_key,
            seen=RollbackMemory(seen_folder()),
        )

    def member(self, principal: Principal) -> CanisterNode:
        """Reach another member of the node's fleet."""
        return CanisterNode(self.agent, principal)

    def open_version(self, model: str, version: int | None = None) -> VerifiedVersion:
        """Open a version, the latest by default, whether the node holds it or a fleet."""
        return open_any_version(self.reader(), self.member, model, version)

    def canister_certificate(self, paths: Sequence[Sequence[bytes]]) -> bytes:
        """Read what the subnet certifies of the canister."""
        return self.agent.certificate(self.node.principal, paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """A model as a node describes it, and one version as it is certified.

    Attributes:
        info: Owner, visibility and versions, as the node tells them.
        version: The version that is described.
        manifest: Digest of its manifest.
        files: Its files, with their SHA-256.
        tensors: Its tensors.
    """

    info: ModelInfo
    version: int
    manifest: bytes
    files: tuple[FileEntry, ...]
    tensors: tuple[TensorEntry, ...]


class OpenTensor(SafeClose):
    """A tensor of a node whose rows are read when they are asked for; a context manager.

    `tensor[i]`, `tensor[i:j]` and `tensor[[i, j]]` are NumPy arrays, verified; only chunks that
    hold these rows are fetched. `tensor[...]` is the whole tensor.
    """

    def __init__(self, connection: Connection, reader: TensorReader) -> None:
        self._connection = connection
        self._reader = reader
        self.name = reader.name
        self.dtype = reader.dtype
        self.shape = reader.shape

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, rows: Rows) -> Array:
        """Read rows."""
        return self._reader[rows]

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()


def connect(where: ContextArguments, say: Callable[[str], None] = log.info) -> Connection:
    """See `datanode.connect`."""
    # Certificates are held to this machine's clock too: who comes here wants proof.
    context = where.open(say, strict_clock=True)
    with rollback_on_error(context.close):
        return Connection(context.agent, context.coordinator())


def fetch(
    model: str,
    destination: str | PathLike[str],
    where: ContextArguments,
    *,
    version: int | None,
    tensor: str | None,
    include: str | Sequence[str],
    exclude: str | Sequence[str],
    signer: ExpectedSigner | None,
    jobs: int,
    progress: ProgressLike | None,
) -> FetchSummary:
    """See `datanode.fetch`."""
    on_bytes = _bytes_to(progress)
    if tensor is not None and (include or exclude):
        raise UsageError("tensor= does not go with include= or exclude=")
    if tensor is not None and signer is not None:
        raise UsageError("a signature covers whole files: public_key= does not go with tensor=")
    with connect(where) as connection:
        opened = connection.open_version(model, version)
        if signer is not None:
            check_model_signature(opened, signer)
        if tensor is None:
            return fetch_model(
                opened,
                Path(destination),
                include=as_patterns(include),
                exclude=as_patterns(exclude),
                jobs=jobs,
                on_bytes=on_bytes,
            )
        entry = fetch_tensor(opened, tensor, Path(destination), jobs=jobs, on_bytes=on_bytes)
        size = opened.chunks_bytes(entry.first_chunk, entry.first_chunk + entry.chunk_count)
        return FetchSummary(files_count=1, skipped_count=0, raw_bytes=size, fetched_bytes=size)


def load_tensors(
    model: str,
    names: str | Iterable[str] | None,
    where: ContextArguments,
    *,
    version: int | None,
    include: str | Sequence[str],
    exclude: str | Sequence[str],
    as_bits: bool,
    jobs: int,
    progress: ProgressLike | None,
) -> dict[str, Array]:
    """See `datanode.load_tensors`."""
    on_bytes = _bytes_to(progress)
    names = [names] if isinstance(names, str) else names
    with connect(where) as connection:
        opened = connection.open_version(model, version)
        entries = find_tensors(
            opened, names, include=as_patterns(include), exclude=as_patterns(exclude)
        )
        return load_arrays(opened, entries, as_bits=as_bits, jobs=jobs, on_bytes=on_bytes)


def open_tensor(
    model: str, name: str, where: ContextArguments, *, version: int | None, as_bits: bool, jobs: int
) -> OpenTensor:
    """See `datanode.open_tensor`."""
    connection = connect(where)
    with rollback_on_error(connection.close):
        opened = connection.open_version(model, version)
        reader = TensorReader(opened, opened.tensor(name), as_bits=as_bits, jobs=jobs)
        return OpenTensor(connection, reader)


def models(where: ContextArguments) -> list[ModelInfo]:
    """See `datanode.models`."""
    with connect(where) as connection:
        return [each for each in connection.node.models() if not is_part_name(each.name)]


def show(model: str, where: ContextArguments, *, version: int | None) -> ModelDetails:
    """See `datanode.show`."""
    with connect(where) as connection:
        info = connection.node.model(model)
        opened = connection.open_version(model, version)
        return ModelDetails(
            info=info,
            version=opened.version,
            manifest=opened.manifest,
            files=opened.head.files,
            tensors=tuple(opened.tensors()),
        )


def audit(
    model: str,
    where: ContextArguments,
    *,
    version: int | None,
    sample: int | None,
    scrub: bool,
    signer: ExpectedSigner | None,
    jobs: int,
    progress: ProgressLike | None,
) -> AuditReport | FleetReport:
    """See `datanode.audit`."""
    if scrub and sample is not None:
        raise UsageError("an audit is a scrub or a sample, not both")
    mode: Mode = Scrub() if scrub else Full() if sample is None else Sample(sample)
    listener = as_progress(progress)
    done = 0

    def on_checked(_outcome: object, total: int) -> None:
        nonlocal done
        done += 1
        listener.count(done, total, "chunks")

    with connect(where) as connection:
        return audit_any(
            connection.reader(),
            connection.member,
            model,
            mode,
            version=version,
            prover_of=lambda node: Connection(connection.agent, connection.member(node)),
            jobs=jobs,
            on_checked=on_checked,
            signer=signer,
        )


def sign(
    model: str,
    key: SigningKey,
    where: ContextArguments,
    *,
    out: str | PathLike[str] | None,
    version: int | None,
) -> Coverage:
    """See `datanode.sign`."""
    place = Path(SIGNATURE_NAME if out is None else out)
    with connect(where) as connection:
        opened = connection.open_version(model, version)
    bundle, coverage = sign_version(opened, key, name=place.name)
    replace_file(place, bundle, mode=0o644)
    return coverage


def read_signer(
    public_key: str | PathLike[str] | None, signature: str | PathLike[str] | None
) -> ExpectedSigner | None:
    """Read the key and the bundle that a signature is verified with; None: there is no key.

    Raises:
        UsageError: A bundle is given and no key, or a file cannot be read.
        SignatureError: The bundle is too large.
    """
    if public_key is None:
        if signature is not None:
            raise UsageError("signature= goes with public_key=")
        return None
    return ExpectedSigner(
        key=load_public_key(Path(public_key)),
        bundle=None if signature is None else read_bundle_file(Path(signature)),
    )


def _bytes_to(progress: ProgressLike | None) -> Callable[[int, int], None]:
    listener = as_progress(progress)
    return lambda done, total: listener.tally(Tally(total_bytes=total, done_bytes=done))
