"""Error texts `safe` and `next` for the current moment and command.

An error is raised deep inside, where nobody knows what was sent before. Its class has a default
hint that is right for some command at some moment. So the rim of a session replaces both: `safe`
states what this run has stored and paid so far, `next` is the hint that was given where the error
was raised, or else the command's own for that class.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from datanode import errors
from datanode.errors import DataNodeError
from datanode.units import format_bytes
from uploader.session.spending import Spending
from uploader.shield import SignalledError


class Situation(Protocol):
    """Progress of a command so far."""

    def safe(self) -> str:
        """Say what is stored, paid and in flight now."""
        ...

    def next_step(self, error: DataNodeError) -> str:
        """Say what to do about an error of this class, in this command."""
        ...


@contextmanager
def explained(situation: Situation) -> Iterator[None]:
    """Let errors and signals that leave the block say what is so now."""
    try:
        yield
    except SignalledError as signalled:
        signalled.safe = situation.safe()
        raise
    except DataNodeError as error:
        error.safe = situation.safe()
        if error.hint in {"", type(error).default_hint}:
            error.hint = situation.next_step(error)
        raise


class UploadSituation:
    """How far a run of an upload or of a copy has come.

    Args:
        steps: What to do next, by class of error; by default that of an upload.

    Attributes:
        spending: What this run has sent, once it sends.
        unresolved: Counts messages whose outcome is not known yet.
        earlier: Earlier runs of this upload have stored something.
        sealed: The version that this run has sealed.
    """

    def __init__(self, steps: "Mapping[type[DataNodeError], str] | None" = None) -> None:
        self._steps = steps
        self.spending = Spending()
        self.unresolved: Callable[[], int] = lambda: 0
        self.earlier = False
        self.sealed: int | None = None

    def safe(self) -> str:
        """See `Situation`."""
        if self.sealed is not None:
            return f"Version {self.sealed} is sealed; everything is stored and paid."
        sentences = [*self._sent(), *self._open()]
        if self.earlier and sentences:
            sentences.append("What earlier runs stored is kept.")
        elif self.earlier:
            sentences.append("Nothing was sent by this run; what earlier runs stored is kept.")
        return " ".join(sentences) or "Nothing was sent."

    def next_step(self, error: DataNodeError) -> str:
        """See `Situation`."""
        return _of_class(self._steps or _UPLOAD_STEPS, error)

    def _sent(self) -> Iterator[str]:
        spent = self.spending
        if spent.messages_count:
            yield (
                f"{_count(spent.frames_count, 'frame')} in "
                f"{_count(spent.messages_count, 'message')} "
                f"({format_bytes(spent.envelope_bytes)}) {_are(spent.frames_count)} stored and "
                "paid; none is sent again."
            )
        if spent.refused_count:
            yield (
                f"{_count(spent.refused_count, 'message')} {_were(spent.refused_count)} refused "
                "by the node: paid, and nothing of it stored."
            )

    def _open(self) -> Iterator[str]:
        if count := self.unresolved():
            yield (
                f"{_count(count, 'message')} {_are(count)} unresolved; the next run asks what "
                f"became of {'it' if count == 1 else 'them'} before it sends anything else."
            )


class PlanSituation:
    """Planning sends nothing."""

    def safe(self) -> str:
        """See `Situation`."""
        return "Nothing was sent: a plan only reads."

    def next_step(self, error: DataNodeError) -> str:
        """See `Situation`."""
        return _of_class(_PLAN_STEPS, error)


class RepairSituation:
    """How many frames a repair has written.

    Attributes:
        repaired_count: Frames that are written anew.
    """

    def __init__(self) -> None:
        self.repaired_count = 0

    def safe(self) -> str:
        """See `Situation`."""
        if not self.repaired_count:
            return "Nothing was written anew."
        return f"{_count(self.repaired_count, 'frame')} {_are(self.repaired_count)} written anew."

    def next_step(self, error: DataNodeError) -> str:
        """See `Situation`."""
        return _of_class(_REPAIR_STEPS, error)


def _of_class(steps: Mapping[type[DataNodeError], str], error: DataNodeError) -> str:
    return next(steps[kind] for kind in type(error).__mro__ if kind in steps)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


_RUN_AGAIN: Final = "Run the same command again; it continues where this run stopped."
_ASK_OWNER: Final = "`datanode doctor` shows the identity in use; ask the node's controller for a "
_COMMON: Final[Mapping[type[DataNodeError], str]] = {
    DataNodeError: "Run the same command again; if it fails again, report what it printed.",
    errors.UsageError: "`datanode upload --help` lists the options.",
    errors.NotFoundError: "Check --node, --network and the model's name.",
    errors.UnauthorizedError: _ASK_OWNER + "`datanode grant`.",
    errors.SourceError: "Check the source, or download it again; then run the same command.",
    errors.TruncatedSourceError: "Download the file again; then run the same command.",
    errors.MissingShardError: "Download the missing file into the same folder; then run the same "
    "command.",
    errors.CertificateError: "Do not trust this node's answers. `datanode doctor` checks the "
    "network and its root key; if it finds nothing, run the same command again.",
    errors.RollbackError: "Ask the node's controller whether a snapshot was restored before you "
    "send anything more.",
    errors.NetworkError: _RUN_AGAIN,
    errors.IdentityError: "Name an Ed25519 or secp256k1 PEM file with --identity.",
    errors.NotStorageNodeError: "Check --node; `datanode node list` shows the known nodes.",
    errors.UnsupportedVersionError: "Upgrade datanode; then run the same command again.",
    errors.FormatError: "Report this with what the command printed.",
    errors.NodeRejectedError: "`datanode doctor` checks the node; then run the same command again.",
    errors.NodeStoppedError: "Start the canister; then run the same command again.",
    errors.LocalNetworkError: "`datanode localnet status` tells whether the network runs.",
    errors.CorruptionError: "`datanode audit MODEL --full` lists what is damaged.",
    errors.DiskFullError: "Free some space; then run the same command again.",
    errors.StateDamagedError: "Move the database away and run the same command: the node tells "
    "what it holds, and nothing of that is paid again.",
    errors.StateNewerError: "Upgrade datanode and run the same command again, or name another "
    "database with --state.",
}
_UPLOAD_STEPS: Final[Mapping[type[DataNodeError], str]] = {
    **_COMMON,
    errors.LeaseHeldError: "Wait until the other upload has ended, or run again with --takeover.",
    errors.LeaseLostError: "Run the same command again to take a new lease; stored frames are "
    "pinned, not sent again.",
    errors.SourceChangedError: "Run again with --restart to plan anew; frames whose content did "
    "not change are not sent again.",
    errors.CyclesError: "Add cycles with `datanode node top-up`; then run the same command again.",
    errors.BudgetError: "Run the same command with a larger --max-cycles; it continues where this "
    "run stopped.",
    errors.NodeFullError: "Delete models and run `datanode gc`, or upload to another --node.",
    errors.QuotaError: _ASK_OWNER + "larger quota; then run the same command again.",
    errors.ConflictError: "`datanode show MODEL` lists its versions; then run the same command "
    "again.",
    errors.IncompleteSealError: "Run the same command again; it sends the missing frames alone.",
    errors.AuditIncompleteError: _RUN_AGAIN,
    errors.StoppedByUserError: _RUN_AGAIN,
}
COPY_STEPS: Final[Mapping[type[DataNodeError], str]] = {
    **_UPLOAD_STEPS,
    errors.UsageError: "`datanode copy --help` lists the options.",
    errors.NotFoundError: "Check --from and the model's name; if it was deleted there, copy it "
    "from another node that holds the same manifest.",
    errors.SourceChangedError: "Name the version that was being copied with --version, or run "
    "again with --restart; frames that the node holds are not sent again.",
    errors.CorruptionError: "Run the same command again; if it fails again, `datanode audit MODEL` "
    "on the source node lists what is damaged there.",
    errors.NotStorageNodeError: "Check --from and --to; `datanode node list` shows the nodes.",
    errors.NodeFullError: "Delete models and run `datanode gc`, or copy to another node.",
}
_PLAN_STEPS: Final[Mapping[type[DataNodeError], str]] = {
    **_COMMON,
    errors.StateDamagedError: "Plan without --state.",
    errors.SourceChangedError: "Run the same plan again when nothing writes to the source.",
    errors.NetworkError: "Run the same plan again, or without --node.",
    errors.StoppedByUserError: "Run the same plan again.",
}
_REPAIR_STEPS: Final[Mapping[type[DataNodeError], str]] = {
    **_COMMON,
    errors.LeaseHeldError: "Wait until the upload of this model has ended; then repair again.",
    errors.SourceChangedError: "Name the source that this version was made from.",
    errors.CorruptionError: "`datanode upload` seals a new version that needs only these chunks.",
    errors.CyclesError: "Add cycles with `datanode node top-up`; then repair again.",
    errors.NodeFullError: "Delete models and run `datanode gc`; then repair again.",
    errors.StoppedByUserError: "Run the same command again; frames that are whole are not written "
    "again.",
}
