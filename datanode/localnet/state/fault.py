"""Kinds of faults that the embedded network injects.

A fault is asked about at one point of a request's way. Where it names a scope, it strikes only
there; where it names how often, only so often.

`late` with a negative `before_expiry_ms` comes after the expiry: the message is dropped, as the
replica drops it. What a browser asks of a site is the query `http_request`. `every` 3 with `count`
1 is the third time. `at` counts from the end if negative.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self, TypeAlias, cast

from datanode.errors import FormatError, UsageError
from datanode.principal import Principal
from datanode.units import DAY_S, MIB

Value: TypeAlias = "int | str"


class FaultPoint(StrEnum):
    """Where on a request's way a fault is asked about."""

    ARRIVE = "arrive"
    """An HTTP request was read, nothing else."""
    SCHEDULE = "schedule"
    """A call was admitted and is about to be executed."""
    ANSWER = "answer"
    """Everything is done, the answer is about to be sent."""
    QUERY = "query"
    """A query is about to run."""
    REPLY = "reply"
    """A query has run, the node is about to sign."""
    CERTIFY = "certify"
    """A certificate is about to be made."""
    TRANSIT = "transit"
    """A call between canisters is about to be executed."""
    RESPOND = "respond"
    """A call between canisters is answered, and its caller is about to be told."""
    GROW = "grow"
    """A canister asks for more stable memory."""
    CLOCK = "clock"
    """Somebody looks at the clock."""


class FaultVerb(StrEnum):
    """Kind of request that a fault can strike."""

    CALL = "call"
    QUERY = "query"
    READ_STATE = "read_state"


class FaultKind(StrEnum):
    """Kind of a fault."""

    LATENCY = "latency"
    BUSY = "busy"
    LOSE_REQUEST = "lose-request"
    LOSE_ANSWER = "lose-answer"
    LATE = "late"
    DUPLICATE = "duplicate"
    BLOCKS = "blocks"
    STALE_QUERY = "stale-query"
    LIE = "lie"
    BAD_SIGNATURE = "bad-signature"
    FOREIGN_CERTIFICATE = "foreign-certificate"
    OLD_CERTIFICATE = "old-certificate"
    PRUNED_CERTIFICATE = "pruned-certificate"
    REFUSE_CALL = "refuse-call"
    LOSE_CALL = "lose-call"
    LOSE_RESPONSE = "lose-response"
    NO_GROWTH = "no-growth"
    SKEW = "skew"


@dataclass(frozen=True, slots=True)
class _Number:
    """A parameter that is a whole number; without a default it must be given."""

    low: int
    high: int
    default: int | None = None
    optional: bool = False


_DAY_MS: Final = DAY_S * 1000
_TEXT_MAX: Final = 64
_MS: Final = _Number(0, _DAY_MS)
_LATER_MS: Final = _Number(0, _DAY_MS, default=0)

KINDS: Final[Mapping[FaultKind, tuple[FaultPoint, Mapping[str, _Number | None]]]] = {
    FaultKind.LATENCY: (FaultPoint.ARRIVE, {"ms": _MS}),
    FaultKind.BUSY: (
        FaultPoint.ARRIVE,
        {"status": _Number(400, 599, 503), "retry_after_s": _Number(-1, DAY_S, -1)},
    ),
    FaultKind.LOSE_REQUEST: (FaultPoint.ARRIVE, {}),
    FaultKind.LOSE_ANSWER: (FaultPoint.ANSWER, {}),
    FaultKind.LATE: (
        FaultPoint.SCHEDULE,
        {"ms": _LATER_MS, "before_expiry_ms": _Number(-_DAY_MS, _DAY_MS, optional=True)},
    ),
    FaultKind.DUPLICATE: (FaultPoint.SCHEDULE, {"copies": _Number(1, 100, 1), "ms": _LATER_MS}),
    FaultKind.BLOCKS: (
        FaultPoint.SCHEDULE,
        {
            "interval_ms": _Number(1, _DAY_MS, 1000),
            "bytes": _Number(1, 1 << 40, 4 * MIB),
            "messages": _Number(1, 1 << 20, 1000),
        },
    ),
    FaultKind.STALE_QUERY: (FaultPoint.QUERY, {"mark": None}),
    FaultKind.LIE: (
        FaultPoint.REPLY,
        {"at": _Number(-(1 << 22), 1 << 22, -1), "xor": _Number(1, 255, 1)},
    ),
    FaultKind.BAD_SIGNATURE: (FaultPoint.REPLY, {}),
    FaultKind.FOREIGN_CERTIFICATE: (FaultPoint.CERTIFY, {}),
    FaultKind.OLD_CERTIFICATE: (FaultPoint.CERTIFY, {"age_s": _Number(0, 366 * DAY_S, 600)}),
    FaultKind.PRUNED_CERTIFICATE: (FaultPoint.CERTIFY, {}),
    FaultKind.REFUSE_CALL: (FaultPoint.TRANSIT, {}),
    FaultKind.LOSE_CALL: (FaultPoint.TRANSIT, {}),
    FaultKind.LOSE_RESPONSE: (FaultPoint.RESPOND, {}),
    FaultKind.NO_GROWTH: (FaultPoint.GROW, {}),
    FaultKind.SKEW: (FaultPoint.CLOCK, {"s": _Number(-DAY_S, DAY_S)}),
}
"""Where each kind strikes and what it takes; None stands for a text."""

HELP: Final[Mapping[FaultKind, str]] = {
    FaultKind.LATENCY: "Delay a request before it is looked at.",
    FaultKind.BUSY: "Answer HTTP 429 or 503 and do nothing else.",
    FaultKind.LOSE_REQUEST: "Cut the connection before anything is executed.",
    FaultKind.LOSE_ANSWER: "Execute everything, then cut the connection.",
    FaultKind.LATE: "Answer 202 at once and execute the call later, or after its expiry.",
    FaultKind.DUPLICATE: "Deliver the same bytes again.",
    FaultKind.BLOCKS: "Execute calls in blocks, at an interval.",
    FaultKind.STALE_QUERY: "Answer queries from the state of a mark, with its certificate.",
    FaultKind.LIE: "Change a byte of a query's reply, and sign it as the node.",
    FaultKind.BAD_SIGNATURE: "Break the node's signature of a query's reply.",
    FaultKind.FOREIGN_CERTIFICATE: "Certify by a subnet that does not host the canister.",
    FaultKind.OLD_CERTIFICATE: "Certify with an old time.",
    FaultKind.PRUNED_CERTIFICATE: "Prune what was asked for out of a certificate.",
    FaultKind.REFUSE_CALL: "Refuse a call between canisters: SYS_TRANSIENT.",
    FaultKind.LOSE_CALL: "Lose a bounded-wait call before it is executed: SYS_UNKNOWN.",
    FaultKind.LOSE_RESPONSE: "Execute a bounded-wait call and lose its response: SYS_UNKNOWN.",
    FaultKind.NO_GROWTH: "Refuse to grow stable memory.",
    FaultKind.SKEW: "Put the network's clock ahead, or behind if negative.",
}
"""What each kind does, for the help of the command line."""


def parameters_help(kind: FaultKind) -> str:
    """Describe the parameters of a kind, with their defaults in brackets."""
    return ", ".join(
        name if rule is None or rule.default is None else f"{name} ({rule.default})"
        for name, rule in KINDS[kind][1].items()
    )


_CALLS_ONLY: Final = (FaultPoint.SCHEDULE, FaultPoint.TRANSIT, FaultPoint.RESPOND)
_BOUNDED_ONLY: Final = (FaultKind.LOSE_CALL, FaultKind.LOSE_RESPONSE)
_QUERIES_ONLY: Final = (FaultPoint.QUERY, FaultPoint.REPLY)
_VERBLESS: Final = (FaultPoint.GROW, FaultPoint.CLOCK)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the network, as far as it is known at a fault point.

    Attributes:
        verb: What sort of request it is.
        canister: Whom it is about.
        method: What is called.
        is_bounded: Whether a canister asks that does not wait for as long as it takes.
    """

    verb: FaultVerb | None = None
    canister: Principal | None = None
    method: str | None = None
    is_bounded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault on cue; valid from construction.

    Attributes:
        kind: What happens.
        parameters: Names and values, completed with the defaults.
        canister: Only requests about this canister.
        method: Only requests for this method.
        verb: Only requests of this sort.
        count: Strikes at most so often.
        every: Strikes only the n-th of n matching requests.
        probability: Of those, strikes so many.
        seed: Of the draw.
        seconds: Is over so long after it was set; never if None.

    Raises:
        UsageError: It makes no sense.
    """

    kind: FaultKind
    parameters: tuple[tuple[str, Value], ...] = ()
    canister: Principal | None = None
    method: str | None = None
    verb: FaultVerb | None = None
    count: int | None = None
    every: int = 1
    probability: float = 1.0
    seed: int = 0
    seconds: float | None = None
    point: FaultPoint = field(init=False)

    def __post_init__(self) -> None:
        point, known = KINDS[self.kind]
        object.__setattr__(self, "point", point)
        object.__setattr__(self, "parameters", _completed(self.kind, known, dict(self.parameters)))
        self._check_scope()
        if self.count is not None and self.count < 1:
            raise UsageError("a fault strikes at least once: count is 1 or more")
        if self.every < 1:
            raise UsageError("every is 1 or more")
        if not 0 < self.probability <= 1:
            raise UsageError("a probability lies above 0 and is at most 1")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError("a fault lasts longer than 0 seconds")

    def _check_scope(self) -> None:
        wrong = None
        if self.verb is not None:
            if self.point in _CALLS_ONLY and self.verb is not FaultVerb.CALL:
                wrong = "call"
            elif self.point in _QUERIES_ONLY and self.verb is not FaultVerb.QUERY:
                wrong = "query"
            elif self.point in _VERBLESS:
                wrong = "no verb"
        if wrong is not None:
            raise UsageError(f"{self.kind} concerns {wrong}, not {self.verb}")
        if self.method is not None and (
            self.verb is FaultVerb.READ_STATE or self.point in _VERBLESS
        ):
            raise UsageError(f"{self.kind} cannot be narrowed to a method here")
        if self.kind is FaultKind.SKEW and (
            self.canister is not None
            or self.count is not None
            or self.every != 1
            or self.probability != 1
        ):
            raise UsageError("skew is of the whole network and all the time; seconds may end it")

    def __str__(self) -> str:
        scope = [str(each) for each in (self.verb, self.method, self.canister) if each]
        return " ".join(
            [self.kind, *(f"{name}={value}" for name, value in self.parameters), *scope]
        )

    def number(self, name: str) -> int:
        """Return a parameter that is a number."""
        return cast("int", dict(self.parameters)[name])

    def text(self, name: str) -> str:
        """Return a parameter that is a text."""
        return cast("str", dict(self.parameters)[name])

    def concerns(self, asked: Asked) -> bool:
        """Whether what is asked for lies in the scope."""
        return (
            (self.verb is None or self.verb is asked.verb)
            and (self.canister is None or self.canister == asked.canister)
            and (self.method is None or self.method == asked.method)
            and (self.kind not in _BOUNDED_ONLY or asked.is_bounded)
        )

    def to_json(self) -> dict[str, object]:
        """The fault as it goes over the wire and as `fault list --json` shows it."""
        return {
            "kind": self.kind.value,
            "parameters": dict(self.parameters),
            "canister": None if self.canister is None else self.canister.text,
            "method": self.method,
            "verb": None if self.verb is None else self.verb.value,
            "count": self.count,
            "every": self.every,
            "probability": self.probability,
            "seed": self.seed,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            FormatError: It is not of that shape.
            UsageError: It makes no sense.
        """
        given = dict(fields)
        try:
            kind, verb, canister = (given.pop(name, None) for name in ("kind", "verb", "canister"))
            parameters = given.pop("parameters", {})
            if not isinstance(parameters, dict) or not set(given) <= _PLAIN:
                raise FormatError("a fault has other fields")
            return cls(
                kind=FaultKind(str(kind)),
                parameters=tuple(parameters.items()),
                verb=None if verb is None else FaultVerb(str(verb)),
                canister=None if canister is None else Principal.parse(str(canister)),
                **given,  # type: ignore[arg-type]
            )
        except (TypeError, ValueError) as error:
            raise FormatError(f"not a fault: {error}") from error


_PLAIN: Final = {"method", "count", "every", "probability", "seed", "seconds"}


def _completed(
    kind: FaultKind, known: Mapping[str, _Number | None], given: dict[str, Value]
) -> tuple[tuple[str, Value], ...]:
    unknown = sorted(set(given) - set(known))
    if unknown:
        takes = ", ".join(known) or "no parameters"
        raise UsageError(f"{kind} does not take {', '.join(unknown)}; it takes {takes}")
    done: list[tuple[str, Value]] = []
    for name, rule in known.items():
        value = given.get(name, None if rule is None else rule.default)
        if value is None:
            if rule is not None and rule.optional:
                continue
            raise UsageError(f"{kind} needs {name}")
        if rule is None:
            if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX:
                raise UsageError(f"{name} is a text of at most {_TEXT_MAX} characters")
        elif not isinstance(value, int) or not rule.low <= value <= rule.high:
            raise UsageError(
                f"{name} is a whole number from {rule.low} to {rule.high}, not {value}"
            )
        done.append((name, value))
    return tuple(done)
