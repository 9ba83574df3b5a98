"""Copy a whole node to others by snapshot: `clone`, the straight line.

    check -> stop the source, take, start it -> each copy: stop, load, start, prove -> delete

Nothing is downloaded. What is proven: the subnet certifies for each copy the module of the source,
and as its certified data, the root of its witnesses, that of the snapshot.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datanode.agent.certificate import open_certificate
from datanode.agent.client import Agent
from datanode.cleanup import always_after
from datanode.errors import (
    CertificateError,
    ConflictError,
    DataNodeError,
    UsageError,
)
from datanode.node import clone_journal, deploy, settings, snapshots, subnets
from datanode.node.canister import CanisterNode
from datanode.node.clone_journal import CloneJournal
from datanode.node.settings import SettingsChange
from datanode.principal import Principal

_STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A copy, proven.

    Attributes:
        canister: The copy.
        module_hash: Certified hash of its module: that of the source.
        root: Its certified data, that of the snapshot; None: it holds no model, so that no witness
            shows it.
        loaded: This run loaded it; otherwise an earlier one did.
    """

    canister: Principal
    module_hash: bytes
    root: bytes | None
    loaded: bool


def clone(
    agent: Agent,
    state_dir: Path,
    source: Principal,
    copies: Sequence[Principal],
    *,
    replace: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Clone]:
    """Make each of `copies` hold what `source` holds; running it again goes on.

    Args:
        agent: A controller of all of them.
        state_dir: The user's state folder, for the journal.
        source: The node to copy; it is stopped while its snapshot is taken, and started again.
        copies: Nodes of the same subnet; what they hold is replaced.
        replace: Allow copies that hold models.
        say: Told of each step.

    Raises:
        UsageError: A copy is the source, stands there twice, or holds models and `replace` is not
            given.
        ConflictError: A copy is on another subnet, or the source has too many snapshots.
        CyclesError: The source or a copy cannot pay.
        CertificateError: A copy is not what it should be.
    """
    with clone_journal.journal_path(state_dir, agent.network.root_key, source) as path:
        journal = clone_journal.read(path)
        if journal is None:
            with _unchanged():
                _check(agent, source, copies, replace=replace)
                journal = _begun(agent, path, source)
        else:
            say(f"going on with the clone of {source} that an earlier run began")
            if journal.was_running:
                snapshots.start(agent, source)  # first of all: whatever else is wrong
            rest = [each for each in copies if not _is_loaded(agent, each, journal)]
            _check(agent, source, rest, replace=replace)
        try:
            _take_once(agent, journal, copies, say)
            made = [_copy(agent, journal, each, say) for each in copies]
            _delete_snapshot(agent, journal)
        except DataNodeError as error:
            error.safe = _safe(journal)
            raise
        journal.forget()
        return made


def clone_members(
    agent: Agent,
    state_dir: Path,
    sources: Sequence[Principal],
    fleets: Sequence[Sequence[Principal]],
    *,
    replace: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Clone]:
    """Make each member of each of `fleets` hold what the member of `sources` in its place holds.

    Members are cloned one after another, each with a journal of its own. Where an earlier run has
    made copies that certify what their source certifies, they stay as they are.

    Raises:
        DataNodeError: As `clone`.
    """
    if len(sources) == 1:
        copies = [members[0] for members in fleets]
        return clone(agent, state_dir, sources[0], copies, replace=replace, say=say)
    columns = [[members[at] for members in fleets] for at in range(len(sources))]
    proven: dict[Principal, Clone] = {}
    with _unchanged():
        every = [*sources, *(each for column in columns for each in column)]
        _require_distinct(every)
        _require_one_subnet(agent, every)
        for source, column in zip(sources, columns, strict=True):
            found = [_clone_of(agent, source, each) for each in column]
            proven |= {each.canister: each for each in found if each is not None}
            rest = [each for each in column if each not in proven]
            with clone_journal.journal_path(state_dir, agent.network.root_key, source) as path:
                if clone_journal.read(path) is None:
                    _check(agent, source, rest, replace=replace)
    for at, (source, column) in enumerate(zip(sources, columns, strict=True)):
        rest = [each for each in column if each not in proven]
        if rest:
            say(f"member {at + 1} of {len(sources)}")
            made = clone(agent, state_dir, source, rest, replace=replace, say=say)
            proven |= {each.canister: each for each in made}
    return [proven[each] for column in columns for each in column]


def as_it_is(agent: Agent, copies: Sequence[Principal]) -> list[Clone]:
    """Describe copies that an earlier run has proven.

    Raises:
        CertificateError: The proof of one is none.
        NodeStoppedError: One is stopped.
    """
    return [
        Clone(
            canister=each,
            module_hash=_module_hash(agent, each),
            root=certified_root(agent, each),
            loaded=False,
        )
        for each in copies
    ]


def _clone_of(agent: Agent, source: Principal, copy: Principal) -> Clone | None:
    """Return the proof that a copy certifies what its source certifies now; None: it does not."""
    module_hash = _module_hash(agent, source)
    if any(
        deploy.canister_status(agent, each).status == _STOPPED for each in (source, copy)
    ) or module_hash != _module_hash(agent, copy):
        return None
    root = certified_root(agent, source)
    if root is None or root != certified_root(agent, copy):
        return None
    return Clone(canister=copy, module_hash=module_hash, root=root, loaded=False)


def certified_root(agent: Agent, canister: Principal) -> bytes | None:
    """Return the root of a node's witnesses, certified by its subnet; None: it holds no model.

    Raises:
        CertificateError: The node's proof is none.
        NodeStoppedError: The node is stopped.
    """
    node = CanisterNode(agent, canister)
    names = [model.name for model in node.models() if model.versions]
    if not names:
        return None
    answer = node.witness(names[0])
    certificate = open_certificate(
        answer.certificate,
        root_key=agent.network.root_key,
        canister=canister,
        now_ns=agent.time_ns(canister),
    )
    root = certificate.tree.lookup([b"canister", canister.raw, b"certified_data"])
    if not isinstance(root, bytes):
        raise CertificateError(f"the certificate of {canister} does not show its certified data")
    return root


def _check(agent: Agent, source: Principal, copies: Sequence[Principal], *, replace: bool) -> None:
    """Find every reason why a copy cannot be made, before anything is stopped or paid."""
    _require_distinct([source, *copies])
    deploy.canister_status(agent, source)
    _require_one_subnet(agent, [source, *copies])
    for copy in copies:
        status = deploy.canister_status(agent, copy)
        if status.module_hash is None or status.status == _STOPPED or replace:
            continue
        details = CanisterNode(agent, copy).status().details
        if details is not None and (details.models_count or details.frames_count):
            raise UsageError(
                f"{copy} holds {details.models_count} models and {details.frames_count} frames, "
                "which a clone would replace",
                hint="Name an empty node, or run again with --replace.",
            )


def _require_distinct(canisters: Sequence[Principal]) -> None:
    if len(set(canisters)) < len(canisters):
        raise UsageError("the source or a copy is named twice")


def _require_one_subnet(agent: Agent, canisters: Sequence[Principal]) -> None:
    subnets.require_one_subnet(
        agent,
        canisters,
        why="a snapshot stays on its subnet",
        hint="Name nodes of the same subnet, or copy each model with `datanode copy`.",
    )


@contextmanager
def _unchanged() -> Iterator[None]:
    try:
        yield
    except DataNodeError as error:
        error.safe = "Nothing was changed."
        raise


def _begun(agent: Agent, path: Path, source: Principal) -> CloneJournal:
    known = snapshots.listed(agent, source)
    if len(known) >= snapshots.MAX_SNAPSHOTS:
        raise ConflictError(
            f"{source} has {len(known)} snapshots, the most that a canister has",
            hint="Delete one of them first.",
        )
    journal = CloneJournal(
        path=path,
        source=source,
        module_hash=_module_hash(agent, source),
        was_running=deploy.canister_status(agent, source).status != _STOPPED,
        known=tuple(each.id for each in known),
    )
    journal.write()
    return journal


def _take_once(
    agent: Agent, journal: CloneJournal, copies: Sequence[Principal], say: Callable[[str], None]
) -> None:
    """Take the snapshot of this clone unless an earlier run has."""
    source = journal.source
    listed = [each.id for each in snapshots.listed(agent, source)]
    if journal.snapshot in listed:
        return
    if journal.snapshot is not None and set(copies) <= set(journal.loaded):
        return  # it was deleted at the end of an earlier run: only the proof is left to be given
    taken = [each for each in listed if each not in journal.known]
    snapshot = taken[-1] if taken else _taken(agent, journal, say)
    journal.root = snapshots.certified_data(agent, source, snapshot)
    journal.snapshot, journal.loaded = snapshot, []
    journal.write()


def _delete_snapshot(agent: Agent, journal: CloneJournal) -> None:
    listed = [each.id for each in snapshots.listed(agent, journal.source)]
    if journal.snapshot is not None and journal.snapshot in listed:
        snapshots.delete(agent, journal.source, journal.snapshot)


def _taken(agent: Agent, journal: CloneJournal, say: Callable[[str], None]) -> bytes:
    source = journal.source
    if not journal.was_running:
        return snapshots.take(agent, source).id
    say(f"stopping {source} to take a snapshot")
    with always_after(partial(snapshots.start, agent, source)):
        snapshots.stop(agent, source)
        return snapshots.take(agent, source).id


def _copy(
    agent: Agent, journal: CloneJournal, copy: Principal, say: Callable[[str], None]
) -> Clone:
    loads = not _is_loaded(agent, copy, journal)
    if loads and journal.snapshot is not None:
        say(f"loading the snapshot into {copy}")
        with _stopped(agent, copy):
            _match_heap_limit(agent, journal.source, copy)
            snapshots.load(agent, copy, journal.snapshot)
            journal.loaded.append(copy)
            journal.write()
    return _proven(agent, copy, journal, loaded=loads)


@contextmanager
def _stopped(agent: Agent, copy: Principal) -> Iterator[None]:
    """Stop a copy for the block; one without code has nothing to stop."""
    if deploy.canister_status(agent, copy).module_hash is None:
        yield
        return
    with always_after(partial(snapshots.start, agent, copy)):
        snapshots.stop(agent, copy)
        yield


def _match_heap_limit(agent: Agent, source: Principal, copy: Principal) -> None:
    """Give a copy the heap limit of the source: an inference canister needs a larger one."""
    limits = [
        deploy.canister_status(agent, each).wasm_memory_limit_bytes for each in (source, copy)
    ]
    if limits[0] != limits[1]:
        settings.apply(agent, copy, SettingsChange(wasm_memory_limit_bytes=limits[0]))


def _is_loaded(agent: Agent, copy: Principal, journal: CloneJournal) -> bool:
    """Tell whether a copy was loaded, also by a run whose answer was lost; it runs afterwards."""
    if journal.snapshot is None:
        return False
    if deploy.canister_status(agent, copy).status == _STOPPED:
        snapshots.start(agent, copy)  # a run may have ended between loading and starting it
    if copy in journal.loaded:
        return True
    if _module_hash(agent, copy) != journal.module_hash:
        return False
    return certified_root(agent, copy) == journal.root


def _proven(agent: Agent, copy: Principal, journal: CloneJournal, *, loaded: bool) -> Clone:
    if _module_hash(agent, copy) != journal.module_hash:
        raise CertificateError(f"{copy} does not run the module of the source")
    root = certified_root(agent, copy)
    if root is not None and root != journal.root:
        raise CertificateError(f"{copy} certifies other models than the snapshot holds")
    return Clone(canister=copy, module_hash=journal.module_hash, root=root, loaded=loaded)


def _module_hash(agent: Agent, canister: Principal) -> bytes:
    path = [b"canister", canister.raw, b"module_hash"]
    found = agent.read_state(canister, [path]).lookup(path)
    return found if isinstance(found, bytes) else b""


def _safe(journal: CloneJournal) -> str:
    if journal.snapshot is None:
        return "No snapshot was taken; the source is started again by the same command."
    return (
        f"The snapshot of {journal.source} is kept, and costs rent, until the same command has "
        "finished."
    )
