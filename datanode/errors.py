"""Every error raised on purpose, with its exit code and whether asking again can help.

Code 0 is success, 2 a command line that does not parse, 3 a run that finished with quarantined
items, 130 and 143 an interruption::

    DataNodeError                   1
      UsageError                    2
        DestinationError           27
      NotFoundError                10
      LeaseHeldError               11
        LeaseLostError             16
      UnauthorizedError            12
      SourceError                  13
        TruncatedSourceError       17
        MissingShardError          18
        SourceChangedError         31
      DiskFullError                14
      StateDamagedError            15
        StateNewerError            19
      CyclesError                  20
        BudgetError                25
      NodeFullError                21
        QuotaError                 26
      NodeStoppedError             22
      CertificateError             23
        RollbackError              24
      NetworkError                 30  retryable
        UnknownOutcomeError        37  retryable
      IdentityError                32
      NotStorageNodeError          33
      UnsupportedVersionError      34
      FormatError                  35
      NodeRejectedError            36
        ConflictError              38
        IncompleteSealError        39
      CorruptionError              40
      AuditIncompleteError         41
      BatchFailedError             42
      FleetPartError               43
      SignatureError               44
      LocalNetworkError            50
      StoppedByUserError          130
      OutputClosedError           141
"""

import errno
from typing import ClassVar, Final


class DataNodeError(Exception):
    """Base of all errors in this project; callers may catch it, nobody raises it.

    Args:
        what: What happened, one sentence or two, no trailing advice.
        safe: What is safe: what is stored, paid, unchanged. Empty when nothing was at stake.
        hint: The next command or step; the class has a default.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, what: str, *, safe: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.safe = safe
        self.hint = hint or self.default_hint


class UsageError(DataNodeError):
    """The command line or a setting makes no sense."""

    exit_code = 2
    default_hint = "`--help` lists what a command takes."


class DestinationError(UsageError):
    """Something lies where a file is to be written that is not replaced."""

    exit_code = 27
    default_hint = "Move it away, or name another destination."


class NotFoundError(DataNodeError):
    """No such model, version, node or upload; or none that this identity may see."""

    exit_code = 10
    default_hint = "`datanode models` lists what this identity may read."


class LeaseHeldError(DataNodeError):
    """Another uploader holds the lease of this model."""

    exit_code = 11
    default_hint = "Wait for the lease to expire, or run `datanode upload` with --takeover."


class LeaseLostError(LeaseHeldError):
    """The lease of this upload was taken over or ended while it ran."""

    exit_code = 16
    default_hint = "Run the same command again to take a new lease; stored frames stay."


class UnauthorizedError(DataNodeError):
    """This identity has no role that allows the call."""

    exit_code = 12
    default_hint = (
        "`datanode doctor` shows the identity in use; a model's owner can `datanode grant`."
    )


class SourceError(DataNodeError):
    """The source cannot be read as a checkpoint."""

    exit_code = 13
    default_hint = "Check the file, or download it again."


class TruncatedSourceError(SourceError):
    """A file is shorter than its own header says."""

    exit_code = 17
    default_hint = "The download is probably incomplete: fetch the file again."


class MissingShardError(SourceError):
    """The index names a file that is not there."""

    exit_code = 18
    default_hint = "Fetch the missing file into the same folder."


class SourceChangedError(SourceError):
    """The source is not what was planned: size, time or content differ."""

    exit_code = 31
    default_hint = "Run with --restart to plan anew; frames that are stored are reused."


class DiskFullError(DataNodeError):
    """The disk that holds the state, the outbox or the destination is full."""

    exit_code = 14
    default_hint = "Free some space and run the same command again."


class StateDamagedError(DataNodeError):
    """The state database cannot be read."""

    exit_code = 15
    default_hint = "Move the file away and run the same command: the node is asked what it holds."


class StateNewerError(StateDamagedError):
    """The state database was written by a newer release."""

    exit_code = 19
    default_hint = "Upgrade datanode, or name another database with --state."


class CyclesError(DataNodeError):
    """The canister has too few cycles, or is frozen."""

    exit_code = 20
    default_hint = "Add cycles with `datanode node top-up`, then run the same command again."


class BudgetError(CyclesError):
    """Going on would spend more than --max-cycles."""

    exit_code = 25
    default_hint = "Raise --max-cycles and run the same command again."


class NodeFullError(DataNodeError):
    """The canister cannot grow its stable memory."""

    exit_code = 21
    default_hint = "Delete models and run `datanode gc`, or use another node."


class QuotaError(NodeFullError):
    """The grant's byte quota is used up."""

    exit_code = 26
    default_hint = "Ask the node's controller for a larger grant."


class NodeStoppedError(DataNodeError):
    """The canister is stopped or stopping, or has no code."""

    exit_code = 22
    default_hint = "Start the canister (`icp canister start`) and run the same command again."


class CertificateError(DataNodeError):
    """A certificate, witness or node signature does not prove what it should."""

    exit_code = 23
    default_hint = "Do not trust this answer. `datanode doctor` checks network, root key and clock."


class RollbackError(CertificateError):
    """The node shows an older state than this auditor has already seen."""

    exit_code = 24
    default_hint = "Ask the node's controller whether a snapshot was restored."


class NetworkError(DataNodeError):
    """The network did not answer, or asked to come back later; nothing was executed."""

    exit_code = 30
    retryable = True
    default_hint = "Run the same command again: nothing is paid twice."


class UnknownOutcomeError(NetworkError):
    """A call may or may not have been executed; its identical bytes may be sent again."""

    exit_code = 37
    retryable = True


class IdentityError(DataNodeError):
    """The identity file cannot be used."""

    exit_code = 32
    default_hint = (
        "Name an Ed25519, secp256k1 or P-256 PEM file with --identity or DATANODE_IDENTITY."
    )


class NotStorageNodeError(DataNodeError):
    """The canister exists, but it is not a datanode storage canister."""

    exit_code = 33
    default_hint = "Check the canister id; `datanode node list` shows the known nodes."


class UnsupportedVersionError(DataNodeError):
    """The bytes or the interface come from a newer release than this one."""

    exit_code = 34
    default_hint = "Upgrade datanode, then run the command again."


class FormatError(DataNodeError):
    """Bytes do not have the shape they claim to have."""

    exit_code = 35
    default_hint = "Get the bytes again from where they came; `datanode audit` checks a node's."


class NodeRejectedError(DataNodeError):
    """The canister or its subnet answered, and the answer is no."""

    exit_code = 36
    default_hint = "The message has the canister's reason; `datanode doctor` checks the node."


class ConflictError(NodeRejectedError):
    """The model changed under this upload, or a stepwise task of another kind is running."""

    exit_code = 38
    default_hint = "Look at `datanode show`, then run the same command again."


class IncompleteSealError(NodeRejectedError):
    """The node does not hold every frame of the manifest.

    Attributes:
        missing: Frame digests that it named; at most 1,024 of `missing_count`.
        missing_count: How many frames are missing.
    """

    exit_code = 39
    default_hint = "Run the same command again: only the missing frames are sent."

    def __init__(self, missing: tuple[bytes, ...], missing_count: int) -> None:
        super().__init__(
            f"the node lacks {missing_count} frames of the manifest",
            safe="Everything else is stored and paid.",
        )
        self.missing = missing
        self.missing_count = missing_count


class CorruptionError(DataNodeError):
    """Bytes have the right shape and the wrong content."""

    exit_code = 40
    default_hint = "`datanode audit MODEL --repair SOURCE` sends the damaged frames again."


class AuditIncompleteError(DataNodeError):
    """Some chunks could not be checked; nothing wrong was found in the rest."""

    exit_code = 41
    default_hint = "Run the audit again."


class BatchFailedError(DataNodeError):
    """Some jobs of a batch failed; the others are done."""

    exit_code = 42
    default_hint = "Mend what failed; then run the same command with --retry-failed."


class FleetPartError(DataNodeError):
    """A member of a fleet does not hold its part of a version, or holds another one."""

    exit_code = 43
    default_hint = (
        "`datanode node status FLEET` shows the members; uploading again seals a whole version."
    )


class SignatureError(DataNodeError):
    """The model's signature does not verify, or does not cover its files as they are."""

    exit_code = 44
    default_hint = (
        "Do not use the model as signed. Check --public-key, or ask the signer for a new bundle."
    )


class LocalNetworkError(DataNodeError):
    """The embedded network cannot start, is not running, or refuses."""

    exit_code = 50
    default_hint = (
        "`datanode localnet status` says whether it runs; `log.txt` in its folder says why not."
    )


class StoppedByUserError(DataNodeError):
    """The user asked the run to stop."""

    exit_code = 130
    default_hint = "Run the same command again: it goes on where it stopped."


class OutputClosedError(DataNodeError):
    """Standard output or standard error was closed before everything was written."""

    exit_code = 141
    default_hint = "Read the output to its end, or send it to a file."


NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""How an operating system says that a disk is full."""


def from_os_error(error: OSError, doing: str) -> DataNodeError:
    """Map an operating system error met while `doing` something; the cause is kept."""
    reason = error.strerror or type(error).__name__
    where = f" {error.filename}" if error.filename else ""
    mapped: DataNodeError
    if error.errno in NO_SPACE:
        mapped = DiskFullError(f"the disk is full: {doing}{where}", safe="Nothing is half written.")
    else:
        mapped = DataNodeError(f"{doing}{where}: {reason}")
    mapped.__cause__ = error
    return mapped
