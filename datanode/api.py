"""Functions of the package: signatures and help, loaded eagerly; bodies, loaded when called.

With the embedded network running (`datanode localnet start --detach`), a node called `main` and a
model called `minilm` on it::

    import datanode

    datanode.fetch("minilm", "weights/", node="main")

    report = datanode.audit("minilm", node="main", sample=100)
    print(report.sentence)
    if error := report.error():
        raise error

    with datanode.connect("main", identity="me.pem") as connection:
        version = connection.reader().open_version("minilm")
        first = version.read_chunk(0)

What is not given as an argument comes from `DATANODE_*` variables, then `datanode.toml`, then the
defaults of the commands. All functions block, may be called from any thread, and from a notebook.
"""

# ruff: noqa: PLC0415 - bodies import what they need: `import datanode` stays fast

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datanode.auditing import AuditReport, FleetReport
    from datanode.node.port import ModelInfo
    from datanode.progress import ProgressLike
    from datanode.reader import Array, FetchSummary
    from datanode.surface import Connection, ModelDetails, OpenTensor
    from uploader.session.plan import Quote
    from uploader.session.upload import UploadSummary


def connect(
    node: str | None = None,
    *,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    limit_rate: int | None = None,
    say: Callable[[str], None] | None = None,
) -> "Connection":
    """Connect to a node; the connection is a context manager.

    Args:
        node: A name from `datanode node list`, or a canister id; needed only if several are known.
        network: `local`, `ic`, or a URL.
        identity: PEM file of the identity that asks, or `anonymous`, which reads public models.
        root_key: The network's root key, DER, as bytes or in hexadecimal, for a URL elsewhere.
        limit_rate: Most bytes a second.
        say: Called with a sentence when a key is trusted that nobody configured; by default the
            logger `datanode` is told.

    Raises:
        NotFoundError: There is no node of that name.
        IdentityError: The identity cannot be used.
        NetworkError: A local network does not answer.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments
    from datanode.progress import log

    where = ContextArguments(
        node=node, network=network, identity=identity, root_key=root_key, limit_rate=limit_rate
    )
    return surface.connect(where, say or log.info)


def models(
    *,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
) -> "list[ModelInfo]":
    """List the models of a node that the identity may read, as the node tells them.

    Args:
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.

    Raises:
        DataNodeError: See `datanode.errors`.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments

    return surface.models(
        ContextArguments(node=node, network=network, identity=identity, root_key=root_key)
    )


def show(
    model: str,
    *,
    version: int | None = None,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
) -> "ModelDetails":
    """Describe a model: its versions, and the certified files and tensors of one.

    Args:
        model: Name of the model.
        version: Which version; None: the latest.
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.

    Raises:
        NotFoundError: There is no such model or version, or the identity may not read it.
        CertificateError: The node cannot prove what it says.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments

    where = ContextArguments(node=node, network=network, identity=identity, root_key=root_key)
    return surface.show(model, where, version=version)


def plan(
    source: str | PathLike[str],
    *,
    model: str | None = None,
    exact: bool = False,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    also: str | Sequence[str] = (),
    fees: str | None = None,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    jobs: int = 0,
    progress: "ProgressLike | None" = None,
) -> "Quote":
    """Estimate what uploading a checkpoint costs; send nothing.

    Args:
        source: As in `upload`.
        model: Name to check, with `node`.
        exact: Encode every chunk instead of a sample.
        include: As in `upload`.
        exclude: As in `upload`.
        also: As in `upload`.
        fees: Fee schedule: `docs`, `code`, or `engine`.
        node: Ask this node what it holds already; implies `exact`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.
        jobs: Threads that encode; 0: two.
        progress: As in `upload`.

    Raises:
        DataNodeError: The upload could not end in a sealed version, or something cannot be read.
    """
    from datanode.command_context import ContextArguments
    from uploader import library

    return library.plan(
        source,
        model=model,
        exact=exact,
        files=library.FileChoice.of(include=include, exclude=exclude, also=also),
        fees=fees,
        where=ContextArguments(node=node, network=network, identity=identity, root_key=root_key),
        jobs=jobs,
        progress=progress,
    )


def upload(
    source: str | PathLike[str],
    model: str,
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    also: str | Sequence[str] = (),
    takeover: bool = False,
    restart: bool = False,
    max_cycles: int | None = None,
    metadata: Mapping[str, str] | None = None,
    rebalance: bool = False,
    wait: bool = True,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    state: str | None = None,
    limit_rate: int | None = None,
    jobs: int = 0,
    progress: "ProgressLike | None" = None,
) -> "UploadSummary":
    """Bring a checkpoint into a node and seal it; calling it again resumes.

    An interrupt (Ctrl-C, or the stop button of a notebook) settles what is in flight, then raises
    KeyboardInterrupt; a second one raises it at once. Nothing is paid twice after either.

    Args:
        source: A `.safetensors` file, an index of shards, or a folder; or `s3://BUCKET/KEY`, or
            `hf://ORG/MODEL[@REVISION]`.
        model: Name to store it under.
        include: Globs; when given, only files that match one are taken.
        exclude: Globs; files that match one are left out.
        also: Globs; files that match one are taken too, e.g. weights in another format.
        takeover: Take the lease over from another uploader.
        restart: Plan anew although the source changed.
        max_cycles: Stop before spending more.
        metadata: Texts that travel in the manifest.
        rebalance: Over a fleet: place tensors anew, and pay for what moves.
        wait: Wait for another upload of this identity to the node; otherwise fail.
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`; without one, one is created.
        root_key: As in `connect`.
        state: URL of the state database.
        limit_rate: Most bytes a second.
        jobs: Threads that encode; 0: one a core.
        progress: A tqdm bar, or a function that is called with the bytes done and their total.

    Raises:
        DataNodeError: See `datanode.errors`; what is stored by then is paid and kept.
        KeyboardInterrupt: The user stopped it.
    """
    from uploader import library

    return library.upload(
        source,
        model,
        node=node,
        network=network,
        identity=identity,
        root_key=root_key,
        state=state,
        limit_rate=limit_rate,
        files=library.FileChoice.of(include=include, exclude=exclude, also=also),
        options=library.UploadOptions(
            takeover=takeover,
            restart=restart,
            max_cycles=max_cycles,
            jobs=jobs,
            metadata=tuple(sorted((metadata or {}).items())),
        ),
        progress=progress,
        rebalance=rebalance,
        wait=wait,
    )


def fetch(
    model: str,
    destination: str | PathLike[str],
    *,
    version: int | None = None,
    tensor: str | None = None,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    public_key: str | PathLike[str] | None = None,
    signature: str | PathLike[str] | None = None,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    limit_rate: int | None = None,
    jobs: int = 4,
    progress: "ProgressLike | None" = None,
) -> "FetchSummary":
    """Rebuild a model's files byte for byte below a folder, or one tensor in a file.

    Args:
        model: Name of the model.
        destination: A folder; with `tensor`, a file for its raw little-endian bytes.
        version: Which version; None: the latest.
        tensor: The one tensor to fetch.
        include: Globs; when given, only files that match one are fetched.
        exclude: Globs; files that match one are not fetched.
        public_key: PEM file of the key that must have signed the files (OpenSSF Model Signing);
            nothing is fetched unless it has.
        signature: Bundle with the signature; None: the model's own `*.sig` files.
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.
        limit_rate: Most bytes a second.
        jobs: Queries in flight.
        progress: As in `upload`.

    Raises:
        SignatureError: The key did not sign the files as they are.
        DataNodeError: See `datanode.errors`; files that exist then are whole.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments

    return surface.fetch(
        model,
        destination,
        ContextArguments(
            node=node, network=network, identity=identity, root_key=root_key, limit_rate=limit_rate
        ),
        version=version,
        tensor=tensor,
        include=include,
        exclude=exclude,
        signer=surface.read_signer(public_key, signature),
        jobs=jobs,
        progress=progress,
    )


def load_tensors(
    model: str,
    names: str | Iterable[str] | None = None,
    *,
    version: int | None = None,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    as_bits: bool = False,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    limit_rate: int | None = None,
    jobs: int = 4,
    progress: "ProgressLike | None" = None,
) -> "dict[str, Array]":
    """Load tensors as NumPy arrays, verified; only chunks that hold them are fetched.

    Args:
        model: Name of the model.
        names: Names of the tensors; None: all of them.
        version: Which version; None: the latest.
        include: Globs; when given, only tensors whose names match one are loaded.
        exclude: Globs; tensors whose names match one are not loaded.
        as_bits: Return BF16 and F8 as unsigned integers of the same width; without it, they are
            types of `ml_dtypes`, which must be installed (`datanode[ml-dtypes]`).
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.
        limit_rate: Most bytes a second.
        jobs: Queries in flight.
        progress: As in `upload`.

    Returns:
        The arrays by name, in the order of the manifest.

    Raises:
        NotFoundError: There is no such tensor.
        UsageError: NumPy has no such type.
        CorruptionError: A chunk is not what the manifest names.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments

    return surface.load_tensors(
        model,
        names,
        ContextArguments(
            node=node, network=network, identity=identity, root_key=root_key, limit_rate=limit_rate
        ),
        version=version,
        include=include,
        exclude=exclude,
        as_bits=as_bits,
        jobs=jobs,
        progress=progress,
    )


def open_tensor(
    model: str,
    name: str,
    *,
    version: int | None = None,
    as_bits: bool = False,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    limit_rate: int | None = None,
    jobs: int = 4,
) -> "OpenTensor":
    """Open a tensor to read some of its rows, e.g. `open_tensor("m", "wte")[5:9]`.

    Args:
        model: Name of the model.
        name: Name of the tensor.
        version: Which version; None: the latest.
        as_bits: As in `load_tensors`.
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.
        limit_rate: Most bytes a second.
        jobs: Queries in flight.

    Returns:
        The tensor, a context manager; rows are fetched and verified when they are asked for.

    Raises:
        NotFoundError: There is no such tensor.
        UsageError: NumPy has no such type.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments

    where = ContextArguments(
        node=node, network=network, identity=identity, root_key=root_key, limit_rate=limit_rate
    )
    return surface.open_tensor(model, name, where, version=version, as_bits=as_bits, jobs=jobs)


def audit(
    model: str,
    *,
    version: int | None = None,
    sample: int | None = None,
    scrub: bool = False,
    public_key: str | PathLike[str] | None = None,
    signature: str | PathLike[str] | None = None,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    limit_rate: int | None = None,
    jobs: int = 4,
    progress: "ProgressLike | None" = None,
) -> "AuditReport | FleetReport":
    """Prove that a node holds what it certifies, wholly or by a sample.

    Args:
        model: Name of the model.
        version: Which version; None: the latest.
        sample: How many chunks to draw at random; None: all.
        scrub: Have the node re-hash its frames, by consensus, instead of reading them.
        public_key: As in `fetch`; the report has an outcome for the signature.
        signature: As in `fetch`.
        node: As in `connect`.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.
        limit_rate: Most bytes a second.
        jobs: Queries in flight.
        progress: A tqdm bar, or a function that is called with the chunks checked and their total.

    Returns:
        The report; `report.error()` tells whether something is wrong.

    Raises:
        CertificateError: The node cannot prove what it says; nothing was audited.
        UsageError: A sample and a scrub exclude each other.
    """
    from datanode import surface
    from datanode.command_context import ContextArguments

    return surface.audit(
        model,
        ContextArguments(
            node=node, network=network, identity=identity, root_key=root_key, limit_rate=limit_rate
        ),
        version=version,
        sample=sample,
        scrub=scrub,
        signer=surface.read_signer(public_key, signature),
        jobs=jobs,
        progress=progress,
    )
