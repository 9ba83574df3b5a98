"""The Internet Computer's HTTP interface, with nothing believed that is not proven.

An `Agent` signs with one identity and speaks to one network. Sending is split, so that a caller
can make the intent durable in between: `prepare` signs, `send` posts the bytes once and may be
repeated with the identical ones, `recover` asks what became of them. Only a certified answer is
final. `call` does all of it for messages whose loss costs little.

What `send` does with answers that carry no certificate:

- 202: a replica has taken it, but its certificate is not there yet: `Unsettled.ACCEPTED`;
- no answer, 429, 5xx, a transient rejection by one replica: `Unsettled.UNKNOWN`;
- a refusal (HTTP 4xx, or a replica's rejection: `inspect_message` said no, frozen, stopped):
  the subnet is asked whether it has taken the message up nevertheless, perhaps when it was sent
  before. Only when it certifies that it has not, the typed error is raised. That is not final
  either, since somebody could still deliver the bytes before they expire: `is_certified` of the
  error is False. If the subnet cannot be asked, the outcome is `Unsettled.UNKNOWN`.
"""

import os
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from datanode.agent import envelope, message_outcome
from datanode.agent.certificate import Certificate
from datanode.agent.endpoint import Endpoint, Paths, is_about_expiry
from datanode.agent.hash_tree import HashTree
from datanode.agent.identity import Identity
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.network import Network
from datanode.agent.queries import QueryClient
from datanode.agent.rate_limit import RateLimit
from datanode.agent.reject import RejectError, error_of, is_certified
from datanode.agent.replica_responses import parse_call_answer
from datanode.agent.retry import SUSPECT_ATTEMPTS, retrying
from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.agent.transport import HttpRefusedError, InterceptedError
from datanode.cleanup import SafeClose
from datanode.errors import (
    CertificateError,
    DataNodeError,
    FormatError,
    NetworkError,
    UnauthorizedError,
    UnknownOutcomeError,
    UsageError,
)
from datanode.limits import MAX_INGRESS_BYTES, MESSAGE_EXPIRY_NS
from datanode.principal import MANAGEMENT_CANISTER, Principal

NONCE_BYTES: Final = 16
FIRST_POLL_S: Final = 0.25
LONGEST_POLL_S: Final = 4.0
RESEND_EVERY: Final = 4
"""A message without an outcome is posted again after so many questions about it."""


class Agent(SafeClose):
    """Speaks to one network as one identity; thread-safe.

    Args:
        network: Where, and by whose signature.
        identity: Who signs.
        clock_ns: This machine's clock.
        sleep: How to wait.
        strict_clock: See `clock.SubnetClock`: for auditors.
        limit: Paces the bytes of all requests.
    """

    def __init__(
        self,
        network: Network,
        identity: Identity,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
        strict_clock: bool = False,
        limit: RateLimit | None = None,
    ) -> None:
        self.network: Final = network
        self.identity: Final = identity
        self._sleep = sleep
        self._endpoint = Endpoint(
            network, identity, clock_ns=clock_ns, strict_clock=strict_clock, limit=limit
        )
        self._queries = QueryClient(self._endpoint)
        self._own: dict[bytes, int] = {}
        """Messages signed here whose fate is open, with the latest certified time before that."""

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
    ) -> SignedMessage:
        """Sign a message that expires four minutes from now, by the subnet's time.

        Args:
            canister: Whom it calls.
            method: What.
            arg: With what, Candid.
            effective: Where it is sent, when it calls the management canister.

        Raises:
            NetworkError: The subnet's time could not be asked for.
            UsageError: The message is larger than the network takes.
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
        if len(body) > MAX_INGRESS_BYTES:
            # A replica may cut the connection, which would look like a network that is lost.
            raise UsageError(
                f"a message to {method} of {canister} has {len(body):,} bytes, the network takes "
                f"at most {MAX_INGRESS_BYTES:,}",
                safe="Nothing was sent.",
            )
        self._own[identifier] = self._endpoint.clock.latest_ns
        return SignedMessage(
            request_id=identifier,
            canister=target,
            sender=self.identity.principal,
            expiry_ns=expiry_ns,
            body=body,
        )

    def send(self, message: SignedMessage) -> CertifiedReply | Unsettled:
        """Post a message once; the identical one may be sent again.

        Raises:
            DataNodeError: The mapped rejection; final if `reject.is_certified` says so.
            CertificateError: Several answers prove nothing; the message stays open.
        """
        try:
            return self._sent(message)
        except CertificateError:
            # One replica signs badly or lies: another one may tell the truth.
            self._sleep(FIRST_POLL_S)
            return self.recover(message.request_id, message.canister, message.expiry_ns)

    def _sent(self, message: SignedMessage) -> CertifiedReply | Unsettled:
        try:
            answer = self._endpoint.post("call", f"canister/{message.canister}", message.body)
            if answer.status == HTTPStatus.ACCEPTED:
                return Unsettled.ACCEPTED
            found = parse_call_answer(answer.body)
        except NetworkError:
            return Unsettled.UNKNOWN
        except FormatError as error:
            raise CertificateError(f"the network's answer is malformed: {error.what}") from error
        except HttpRefusedError as error:
            return self._refused(message, error)
        if isinstance(found, bytes):
            try:
                proof = self._endpoint.open(found, message.canister)
            except NetworkError:
                return Unsettled.UNKNOWN
            return self._settled(proof, found, message.request_id, message.expiry_ns)
        rejection = error_of(found)
        return Unsettled.UNKNOWN if rejection.retryable else self._refused(message, rejection)

    def recover(
        self, request_id: bytes, effective_canister: Principal, expiry_ns: int
    ) -> CertifiedReply | Unsettled:
        """Ask the subnet what became of a message; only its sender may.

        Raises:
            DataNodeError: The mapped, certified rejection.
            CertificateError: Several answers prove nothing.
        """
        for attempt in range(SUSPECT_ATTEMPTS):
            if attempt:
                self._sleep(FIRST_POLL_S)
            try:
                raw = self._status(request_id, effective_canister)
                proof = self._endpoint.open(raw, effective_canister)
                return self._settled(proof, raw, request_id, expiry_ns)
            except CertificateError as error:
                doubt = error
            except NetworkError as error:
                if is_certified(error):
                    raise
                return Unsettled.UNKNOWN
        raise doubt

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
        found = self._sent_twice(message)
        if found is Unsettled.EXPIRED:  # this machine's clock was set; it has been read again
            message = self.prepare(canister, method, arg, effective=effective)
            found = self._sent_twice(message)
        return self._awaited(message, found)

    def _sent_twice(self, message: SignedMessage) -> CertifiedReply | Unsettled:
        """Send; after a refusal once more: one replica may lag behind, so another one is asked."""
        try:
            return self.send(message)
        except CertificateError:
            raise
        except DataNodeError as error:
            if is_certified(error):
                raise
            self._sleep(FIRST_POLL_S)
            return self.send(message)

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
        return self._endpoint.ask_about(canister, [[message_outcome.STATUS, request_id]])

    def _settled(
        self, proof: Certificate, raw: bytes, request_id: bytes, expiry_ns: int
    ) -> CertifiedReply | Unsettled:
        clock = self._endpoint.clock
        try:
            found = message_outcome.outcome_of(
                proof, raw, request_id, expiry_ns, is_recent=clock.is_recent(proof.time_ns)
            )
        except FormatError as error:
            raise CertificateError(f"the certificate is malformed: {error.what}") from error
        signed_after_ns = self._own.get(request_id)
        if signed_after_ns is not None and not isinstance(found, Unsettled):
            self._own.pop(request_id, None)
            clock.prove(proof.time_ns)  # an answer to a message of this process is no replay
        if found is Unsettled.FORGOTTEN and expiry_ns < (signed_after_ns or 0):
            return Unsettled.EXPIRED  # it had expired before it was signed
        if isinstance(found, RejectError):
            raise error_of(found)
        return found

    def _refused(self, message: SignedMessage, error: DataNodeError) -> CertifiedReply | Unsettled:
        try:
            if isinstance(error, HttpRefusedError) and is_about_expiry(error):
                self._endpoint.synchronise(message.canister)
            raw = self._status(message.request_id, message.canister)
            proof = self._endpoint.open(raw, message.canister)
        except HttpRefusedError as second:
            # It knows neither the message nor the canister; or something on the way refuses all.
            raise _intercepted(error, second) or _typed(error) from None
        except CertificateError:
            raise
        except DataNodeError:
            return Unsettled.UNKNOWN
        found = self._settled(proof, raw, message.request_id, message.expiry_ns)
        if found is Unsettled.UNKNOWN and message_outcome.is_absent(proof.tree, message.request_id):
            raise _typed(error)
        return found

    def _awaited(self, message: SignedMessage, found: CertifiedReply | Unsettled) -> bytes:
        pause_s, asked = FIRST_POLL_S, 0
        # A subnet that cannot be reached does not say that a message expired; our clock does, and
        # not the one that certificates set: an endpoint could replay them to hold it.
        clock = self._endpoint.clock
        left_ns = message.expiry_ns + MESSAGE_EXPIRY_NS - clock.now_ns()
        give_up_ns = clock.steady_ns() + min(left_ns, 2 * MESSAGE_EXPIRY_NS)
        while found in message_outcome.OPEN and clock.steady_ns() < give_up_ns:
            self._sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_POLL_S)
            asked += 1
            if asked % RESEND_EVERY == 0 and clock.now_ns() < message.expiry_ns:
                found = self.send(message)
            else:
                found = self.recover(message.request_id, message.canister, message.expiry_ns)
        if isinstance(found, CertifiedReply):
            return found.data
        if found is Unsettled.EXPIRED:
            raise NetworkError("the message expired before the subnet took it up; it did not run")
        raise UnknownOutcomeError("the network was lost before it said whether the message ran")


def _intercepted(first: DataNodeError, second: HttpRefusedError) -> InterceptedError | None:
    """Replicas refuse no reader's question about a message of its own with 403."""
    forbidden = HTTPStatus.FORBIDDEN
    if isinstance(first, HttpRefusedError) and {first.status, second.status} == {forbidden}:
        return InterceptedError(
            f"something between this machine and the network refuses everything ({forbidden}): "
            f"{second.text or 'no reason given'}"
        )
    return None


def _typed(error: DataNodeError) -> DataNodeError:
    if isinstance(error, HttpRefusedError) and error.status == HTTPStatus.FORBIDDEN:
        typed = UnauthorizedError(f"the network refused the caller: {error.text}")
        typed.__cause__ = error
        return typed
    return error
