"""The Internet Computer's HTTP interface, with nothing believed that is not proven.

An `Agent` signs with one identity and speaks to one network. Sending is split, so that a caller
can make the intent durable in between: `prepare` signs, `send` posts the bytes once and may be
repeated with the identical ones, `recover` asks what became of them. Only a certified answer is
final. `call` does all of it for messages whose loss costs little.

What `send` does with answers that carry no certificate:

- no answer, 202, 429, 5xx, a transient rejection by one replica: `Pending.UNKNOWN`;
- a refusal (HTTP 4xx, or a replica's rejection: `inspect_message` said no, frozen, stopped):
  the subnet is asked whether it has taken the message up nevertheless, perhaps when it was sent
  before. Only when it certifies that it has not, the typed error is raised. That is not final
  either, since somebody could still deliver the bytes before they expire: `is_certified` of the
  error is False. If the subnet cannot be asked, the outcome is `Pending.UNKNOWN`.
"""

import os
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from datanode.agent import envelope, outcome
from datanode.agent.answers import parse_call_answer
from datanode.agent.endpoint import Endpoint, Paths, is_about_expiry
from datanode.agent.hash_tree import HashTree
from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.agent.outcome import Pending, Reply, SignedCall
from datanode.agent.queries import Queries
from datanode.agent.reject import RejectError, error_of, is_certified
from datanode.agent.retry import retrying
from datanode.agent.transport import RefusedError
from datanode.cleanup import Closing
from datanode.errors import (
    CertificateError,
    DataNodeError,
    FormatError,
    NetworkError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from datanode.limits import MESSAGE_EXPIRY_NS
from datanode.principal import MANAGEMENT_CANISTER, Principal

NONCE_BYTES: Final = 16
FIRST_POLL_S: Final = 0.25
LONGEST_POLL_S: Final = 4.0
RESEND_EVERY: Final = 4
"""A message without an outcome is posted again after so many questions about it."""


class Agent(Closing):
    """Speaks to one network as one identity; thread-safe.

    Args:
        network: Where, and by whose signature.
        identity: Who signs.
        clock_ns: This machine's clock.
        sleep: How to wait.
        strict_clock: See `clock.SubnetClock`: for auditors.
    """

    def __init__(
        self,
        network: Network,
        identity: Identity,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
        strict_clock: bool = False,
    ) -> None:
        self.network: Final = network
        self.identity: Final = identity
        self._sleep = sleep
        self._endpoint = Endpoint(network, identity, clock_ns=clock_ns, strict_clock=strict_clock)
        self._queries = Queries(self._endpoint)

    def close(self) -> None:
        """Close all connections."""
        self._endpoint.close()

    @property
    def skew_ns(self) -> int:
        """How far this machine's clock is behind the subnet's, once that was asked for."""
        return self._endpoint.clock.skew_ns

    def time_ns(self, canister: Principal = MANAGEMENT_CANISTER) -> int:
        """The subnet's time; asked for once, then told by this machine's clock."""
        return self._now_ns(canister)

    def _now_ns(self, canister: Principal) -> int:
        return retrying(lambda: self._endpoint.now_ns(canister), sleep=self._sleep)

    def query(
        self, canister: Principal, method: str, arg: bytes, *, effective: Principal | None = None
    ) -> bytes:
        """Ask one replica, whose signature is verified; nothing is changed, nothing costs.

        A signed answer proves who gave it, not that it is true: `read_state` and witnesses do.

        Args:
            canister: Whom it asks.
            method: What.
            arg: With what, Candid.
            effective: Where it is sent, when it asks the management canister.

        Raises:
            DataNodeError: As `datanode.agent.reject` maps a rejection; `CertificateError` when
                the signature does not hold; `NetworkError`.
        """
        return retrying(
            lambda: self._queries.ask(canister, method, arg, effective=effective),
            sleep=self._sleep,
        )

    def prepare(
        self, canister: Principal, method: str, arg: bytes, *, effective: Principal | None = None
    ) -> SignedCall:
        """Sign a message that expires four minutes from now, by the subnet's time.

        Args:
            canister: Whom it calls.
            method: What.
            arg: With what, Candid.
            effective: Where it is sent, when it calls the management canister.

        Raises:
            NetworkError: The subnet's time could not be asked for.
        """
        target = canister if effective is None else effective
        expiry_ns = self._now_ns(target) + MESSAGE_EXPIRY_NS
        content = envelope.call_content(
            canister,
            method,
            arg,
            sender=self.identity.principal,
            ingress_expiry_ns=expiry_ns,
            nonce=os.urandom(NONCE_BYTES),
        )
        identifier, body = envelope.seal(self.identity, content)
        return SignedCall(identifier, target, self.identity.principal, expiry_ns, body)

    def send(self, call: SignedCall) -> Reply | Pending:
        """Post a message once; the identical one may be sent again.

        Raises:
            DataNodeError: The mapped rejection; final if `reject.is_certified` says so.
            CertificateError: The answer proves nothing; the message stays open.
        """
        try:
            answer = self._endpoint.post("call", f"canister/{call.canister}", call.body)
            if answer.status == HTTPStatus.ACCEPTED:
                return Pending.UNKNOWN
            found = parse_call_answer(answer.body)
        except NetworkError:
            return Pending.UNKNOWN
        except FormatError as error:
            raise CertificateError(f"the network's answer is malformed: {error.what}") from error
        except RefusedError as error:
            return self._refused(call, error)
        if isinstance(found, bytes):
            return self._settled(found, call.canister, call.request_id, call.expiry_ns)
        rejection = error_of(found)
        return Pending.UNKNOWN if rejection.retryable else self._refused(call, rejection)

    def recover(
        self, request_id: bytes, effective_canister: Principal, expiry_ns: int
    ) -> Reply | Pending:
        """Ask the subnet what became of a message; only its sender may.

        Raises:
            DataNodeError: The mapped, certified rejection.
        """
        try:
            raw = self._status(request_id, effective_canister)
        except NetworkError:
            return Pending.UNKNOWN
        return self._settled(raw, effective_canister, request_id, expiry_ns)

    def call(
        self, canister: Principal, method: str, arg: bytes, *, effective: Principal | None = None
    ) -> bytes:
        """Send a message and wait for its certified reply.

        The identical bytes are sent until the outcome is certain, so it runs at most once.

        Raises:
            DataNodeError: As `datanode.agent.reject` maps a rejection.
            UnknownOutcomeError: The network was lost; it may have run.
            NetworkError: Proven not to have run.
        """
        message = self.prepare(canister, method, arg, effective=effective)
        try:
            found = self.send(message)
        except CertificateError:
            raise
        except DataNodeError as error:
            if is_certified(error):
                raise
            # One replica's word: it may lag behind, so another one is asked.
            self._sleep(FIRST_POLL_S)
            found = self.send(message)
        return self._awaited(message, found)

    def read_state(self, canister: Principal, paths: Paths) -> HashTree:
        """Read parts of a subnet's state, certified and fresh.

        Raises:
            CertificateError: The answer proves nothing.
            NodeRejectedError: A path that this identity may not read.
            NetworkError: No answer.
        """
        return retrying(lambda: self._endpoint.read(canister, paths), sleep=self._sleep)[1].tree

    def certificate(self, canister: Principal, paths: Paths) -> bytes:
        """Read as `read_state`; the verified certificate's bytes, to be kept as evidence."""
        return retrying(lambda: self._endpoint.read(canister, paths), sleep=self._sleep)[0]

    def _status(self, request_id: bytes, canister: Principal) -> bytes:
        return self._endpoint.ask_about(canister, [[outcome.STATUS, request_id]])

    def _settled(
        self, raw: bytes, canister: Principal, request_id: bytes, expiry_ns: int
    ) -> Reply | Pending:
        proof = self._endpoint.open(raw, canister)
        try:
            found = outcome.outcome_of(proof, raw, request_id, expiry_ns)
        except FormatError as error:
            raise CertificateError(f"the certificate is malformed: {error.what}") from error
        if isinstance(found, RejectError):
            raise error_of(found)
        return found

    def _refused(self, call: SignedCall, error: DataNodeError) -> Reply | Pending:
        try:
            if isinstance(error, RefusedError) and is_about_expiry(error):
                self._endpoint.synchronise(call.canister)
            raw = self._status(call.request_id, call.canister)
        except RefusedError:
            raise _typed(error) from None  # it knows neither the message nor the canister
        except DataNodeError:
            return Pending.UNKNOWN
        found = self._settled(raw, call.canister, call.request_id, call.expiry_ns)
        tree = self._endpoint.open(raw, call.canister).tree
        if found is Pending.UNKNOWN and outcome.is_absent(tree, call.request_id):
            raise _typed(error)
        return found

    def _awaited(self, message: SignedCall, found: Reply | Pending) -> bytes:
        pause_s, asked = FIRST_POLL_S, 0
        # A subnet that cannot be reached does not say that a message expired; our clock does, and
        # not the one that certificates set: an endpoint could replay them to hold it.
        clock = self._endpoint.clock
        left_ns = message.expiry_ns + MESSAGE_EXPIRY_NS - clock.now_ns()
        give_up_ns = clock.local_ns() + min(left_ns, 2 * MESSAGE_EXPIRY_NS)
        while found is Pending.UNKNOWN and clock.local_ns() < give_up_ns:
            self._sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_POLL_S)
            asked += 1
            if asked % RESEND_EVERY == 0 and clock.now_ns() < message.expiry_ns:
                found = self.send(message)
            else:
                found = self.recover(message.request_id, message.canister, message.expiry_ns)
        if isinstance(found, Reply):
            return found.data
        if found is Pending.EXPIRED:
            raise NetworkError("the message expired before the subnet took it up; it did not run")
        raise UnknownOutcomeError("the network was lost before it said whether the message ran")


def _typed(error: DataNodeError) -> DataNodeError:
    if isinstance(error, RefusedError) and error.status == HTTPStatus.FORBIDDEN:
        typed = UnauthorizedError(f"the network refused the caller: {error.text}")
        typed.__cause__ = error
        return typed
    return error
