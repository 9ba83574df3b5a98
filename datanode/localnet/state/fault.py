"""The faults that the embedded network commits on cue: one small vocabulary.

A fault is asked about at one point of a request's way. Where it names a scope, it strikes only
there; where it names how often, only so often.

| kind | at | parameters (default) | what happens |
| --- | --- | --- | --- |
| `latency` | arrive | `ms` | the request waits before anybody looks at it |
| `busy` | arrive | `status` (503), `retry_after_s` (-1: none) | HTTP 429 or 503, nothing done |
| `lose-request` | arrive | | the connection is cut, nothing is executed |
| `lose-answer` | answer | | everything is done, then the connection is cut |
| `late` | schedule | `ms` (0) or `before_expiry_ms` | 202 at once, executed then |
| `duplicate` | schedule | `copies` (1), `ms` (0) | the same bytes arrive again, so much later |
| `blocks` | schedule | `interval_ms` (1000), `bytes` (4 MiB), `messages` (1000) | blocks are made |
| `stale-query` | query | `mark` | answered from the state of a mark, with its certificate |
| `lie` | reply | `at` (-1), `xor` (1) | a byte of the reply changed, then signed by the node |
| `bad-signature` | reply | | the node's signature broken |
| `foreign-certificate` | certify | | signed by a subnet that does not host the canister |
| `old-certificate` | certify | `age_s` (600) | certified with an old time |
| `pruned-certificate` | certify | | certified, but with what was asked for pruned away |
| `refuse-call` | transit | | a call between canisters is not executed: SYS_TRANSIENT |
| `lose-call` | transit | | a bounded-wait call is not executed: SYS_UNKNOWN |
| `lose-response` | respond | | a bounded-wait call is executed, its answer is lost: SYS_UNKNOWN |
| `no-growth` | grow | | stable memory cannot grow |
| `skew` | clock | `s` | the network's clock is so far ahead, behind if negative |

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


class Point(StrEnum):
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


class Verb(StrEnum):
    """What a request is."""

    CALL = "call"
    QUERY = "query"
    READ_STATE = "read_state"


class Kind(StrEnum):
    """What happens."""

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

KINDS: Final[Mapping[Kind, tuple[Point, Mapping[str, _Number | None]]]] = {
    Kind.LATENCY: (Point.ARRIVE, {"ms": _MS}),
    Kind.BUSY: (
        Point.ARRIVE,
        {"status": _Number(400, 599, 503), "retry_after_s": _Number(-1, DAY_S, -1)},
    ),
    Kind.LOSE_REQUEST: (Point.ARRIVE, {}),
    Kind.LOSE_ANSWER: (Point.ANSWER, {}),
    Kind.LATE: (
        Point.SCHEDULE,
        {"ms": _LATER_MS, "before_expiry_ms": _Number(-_DAY_MS, _DAY_MS, optional=True)},
    ),
    Kind.DUPLICATE: (Point.SCHEDULE, {"copies": _Number(1, 100, 1), "ms": _LATER_MS}),
    Kind.BLOCKS: (
        Point.SCHEDULE,
        {
            "interval_ms": _Number(1, _DAY_MS, 1000),
            "bytes": _Number(1, 1 << 40, 4 * MIB),
            "messages": _Number(1, 1 << 20, 1000),
        },
    ),
    Kind.STALE_QUERY: (Point.QUERY, {"mark": None}),
    Kind.LIE: (Point.REPLY, {"at": _Number(-(1 << 22), 1 << 22, -1), "xor": _Number(1, 255, 1)}),
    Kind.BAD_SIGNATURE: (Point.REPLY, {}),
    Kind.FOREIGN_CERTIFICATE: (Point.CERTIFY, {}),
    Kind.OLD_CERTIFICATE: (Point.CERTIFY, {"age_s": _Number(0, 366 * DAY_S, 600)}),
    Kind.PRUNED_CERTIFICATE: (Point.CERTIFY, {}),
    Kind.REFUSE_CALL: (Point.TRANSIT, {}),
    Kind.LOSE_CALL: (Point.TRANSIT, {}),
    Kind.LOSE_RESPONSE: (Point.RESPOND, {}),
    Kind.NO_GROWTH: (Point.GROW, {}),
    Kind.SKEW: (Point.CLOCK, {"s": _Number(-DAY_S, DAY_S)}),
}
"""Where each kind strikes and what it takes; None stands for a text."""

_CALLS_ONLY: Final = (Point.SCHEDULE, Point.TRANSIT, Point.RESPOND)
_BOUNDED_ONLY: Final = (Kind.LOSE_CALL, Kind.LOSE_RESPONSE)
_QUERIES_ONLY: Final = (Point.QUERY, Point.REPLY)
_VERBLESS: Final = (Point.GROW, Point.CLOCK)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks the network for, as far as it is known at a point.

    Attributes:
        verb: What sort of request it is.
        canister: Whom it is about.
        method: What is called.
        is_bounded: Whether a canister asks that does not wait for as long as it takes.
    """

    verb: Verb | None = None
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

    kind: Kind
    parameters: tuple[tuple[str, Value], ...] = ()
    canister: Principal | None = None
    method: str | None = None
    verb: Verb | None = None
    count: int | None = None
    every: int = 1
    probability: float = 1.0
    seed: int = 0
    seconds: float | None = None
    point: Point = field(init=False)

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
            if self.point in _CALLS_ONLY and self.verb is not Verb.CALL:
                wrong = "call"
            elif self.point in _QUERIES_ONLY and self.verb is not Verb.QUERY:
                wrong = "query"
            elif self.point in _VERBLESS:
                wrong = "no verb"
        if wrong is not None:
            raise UsageError(f"{self.kind} concerns {wrong}, not {self.verb}")
        if self.method is not None and (self.verb is Verb.READ_STATE or self.point in _VERBLESS):
            raise UsageError(f"{self.kind} cannot be narrowed to a method here")
        if self.kind is Kind.SKEW and (
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
                kind=Kind(str(kind)),
                parameters=tuple(parameters.items()),
                verb=None if verb is None else Verb(str(verb)),
                canister=None if canister is None else Principal.parse(str(canister)),
                **given,  # type: ignore[arg-type]
            )
        except (TypeError, ValueError) as error:
            raise FormatError(f"not a fault: {error}") from error


_PLAIN: Final = {"method", "count", "every", "probability", "seed", "seconds"}


def _completed(
    kind: Kind, known: Mapping[str, _Number | None], given: dict[str, Value]
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
