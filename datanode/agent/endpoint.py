"""One network's endpoints: requests posted, certificates of its state verified and fresh."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Literal, TypeAlias

from datanode.agent import envelope
from datanode.agent.certificate import (
    CanisterRanges,
    Certificate,
    covers,
    hosted_ranges,
    open_certificate,
)
from datanode.agent.clock import SubnetClock
from datanode.agent.identity import Identity, anonymous
from datanode.agent.network import Network
from datanode.agent.rate_limit import RateLimit
from datanode.agent.replica_responses import parse_certificate
from datanode.agent.transport import HttpRefusedError, HttpReply, InterceptedError, Transport
from datanode.cbor import SELF_DESCRIBED
from datanode.errors import CertificateError, FormatError
from datanode.limits import MESSAGE_EXPIRY_NS
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.text import printable

Kind: TypeAlias = Literal["call", "query", "read_state"]
Paths: TypeAlias = Sequence[Sequence[bytes]]

_VERSIONS: Final[dict[Kind, tuple[str, ...]]] = {
    "call": ("v4", "v3", "v2"),
    "query": ("v3", "v2"),
    "read_state": ("v3", "v2"),
}
_CBOR_MAP: Final = 5
_UNKNOWN_ENDPOINT: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


class Endpoint:
    """A network as seen by one identity; thread-safe. Nothing is retried here.

    Args:
        network: Where, and by whose signature.
        identity: Who asks.
        clock_ns: This machine's clock.
        strict_clock: See `SubnetClock`.
        limit: Paces the bytes of all requests.
    """

    def __init__(
        self,
        network: Network,
        identity: Identity,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        strict_clock: bool = False,
        limit: RateLimit | None = None,
    ) -> None:
        self.network: Final = network
        self.identity: Final = identity
        self.clock: Final = SubnetClock(clock_ns, strict=strict_clock)
        self._transport = Transport(network.url, limit=limit)
        # Plain dictionaries: a race costs a second question, never a wrong answer.
        self._versions = dict.fromkeys(_VERSIONS, 0)
        self._subnets: dict[Principal, Principal] = {}
        self._root_ranges: CanisterRanges | None = None
        self._root = Principal.self_authenticating(network.root_key)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def post(self, kind: Kind, target: str, body: bytes) -> HttpReply:
        """Post to the newest version of an endpoint that the network has.

        Args:
            kind: Which endpoint.
            target: `canister/<id>` or `subnet/<id>`.
            body: A signed envelope.

        Raises:
            NetworkError: No answer, or one of something on the way.
            RefusedError: The request was refused as such.
        """
        versions = _VERSIONS[kind]
        at = self._versions[kind]
        while True:
            try:
                path = f"/api/{versions[at]}/{target}/{kind}"
                answer = self._transport.exchange("POST", path, body)
                _check_cbor(answer)
            except HttpRefusedError as error:
                if error.status not in _UNKNOWN_ENDPOINT or at + 1 == len(versions):
                    raise
                at += 1
            else:
                self._versions[kind] = at
                return answer

    def ask(self, target: str, paths: Paths, who: Identity) -> bytes:
        """Post a read_state; returns the certificate, unverified.

        Raises:
            CertificateError: The answer is not one.
        """
        content = envelope.read_state_content(
            paths, sender=who.principal, ingress_expiry_ns=self.clock.now_ns() + MESSAGE_EXPIRY_NS
        )
        body = self.post("read_state", target, envelope.sign(who, content)).body
        try:
            return parse_certificate(body)
        except FormatError as error:
            raise CertificateError(f"the network's answer is malformed: {error.what}") from error

    def ask_about(self, canister: Principal, paths: Paths) -> bytes:
        """Ask at a canister's URL, as this identity; once more where this clock has been set.

        Raises:
            CertificateError: The answer is no certificate.
        """
        self.now_ns(canister)
        try:
            return self.ask(f"canister/{canister}", paths, self.identity)
        except HttpRefusedError as error:
            if not is_about_expiry(error):
                raise
            self.synchronise(canister)
            return self.ask(f"canister/{canister}", paths, self.identity)

    def open(self, raw: bytes, canister: Principal | None) -> Certificate:
        """Verify a certificate, whatever its age.

        A delegation names the canisters that its subnet hosts. The root subnet signs without one,
        so it is asked which canisters it hosts before it is believed about one: its honest "no such
        message" would otherwise pass for a proof that a message of another subnet never ran.

        Raises:
            CertificateError: It proves nothing, or nothing about this canister.
            NetworkError: The root subnet could not be asked.
        """
        root_key = self.network.root_key
        proof = open_certificate(raw, root_key=root_key, canister=canister, now_ns=None)
        if canister is None or proof.subnet != self._root:
            return proof
        if self._root_ranges is None:
            self._root_ranges = self._ask_root_ranges()
        if not covers(self._root_ranges, canister):
            raise CertificateError(f"the root subnet speaks for {canister}, hosted elsewhere")
        return proof

    def _ask_root_ranges(self) -> CanisterRanges:
        """Ask the root subnet which canisters it hosts, in the newer and the older form."""
        shards = [b"canister_ranges", self._root.raw]
        leaf = [b"subnet", self._root.raw, b"canister_ranges"]
        found: CanisterRanges = ()
        for path in (shards, leaf):
            try:
                raw = self.ask(f"subnet/{self._root}", [path], anonymous())
            except HttpRefusedError:
                continue  # this endpoint knows the other form only
            proof = open_certificate(
                raw, root_key=self.network.root_key, canister=None, now_ns=None
            )
            if proof.subnet != self._root:
                raise CertificateError(f"{proof.subnet} answered in place of the root subnet")
            found += hosted_ranges(proof.tree, self._root)
        return found

    def read(self, canister: Principal, paths: Paths) -> tuple[bytes, Certificate]:
        """Read parts of the state: the certificate, verified and fresh, with its bytes."""
        raw = self.ask_about(canister, paths)
        proof = self.open(raw, canister)
        self.check_fresh(proof.time_ns, canister)
        return raw, proof

    def now_ns(self, canister: Principal) -> int:
        """The subnet's time; it is asked for at first use."""
        if not self.clock.is_set:
            self.synchronise(canister)
        return self.clock.now_ns()

    def synchronise(self, canister: Principal) -> None:
        """Learn a subnet's time and name from an anonymous read, whose expiry nobody checks."""
        about = None if canister == MANAGEMENT_CANISTER else canister
        target = f"subnet/{self._root}" if about is None else f"canister/{about}"
        asked = self.clock.instant()
        proof = self.open(self.ask(target, [[b"time"]], anonymous()), about)
        self.clock.observe(proof.time_ns, asked)
        self._subnets[canister] = proof.subnet

    def subnet_of(self, canister: Principal) -> Principal:
        """The subnet that hosts a canister."""
        if canister not in self._subnets:
            self.synchronise(canister)
        return self._subnets[canister]

    def forget_subnet(self, canister: Principal) -> None:
        """Ask for the subnet of a canister again when it is next needed: it may have moved."""
        self._subnets.pop(canister, None)

    def check_fresh(self, time_ns: int, canister: Principal) -> None:
        """Refuse a certified or signed time that is too far from now.

        Raises:
            CertificateError: It is.
        """
        if self.clock.is_fresh(time_ns):
            return
        self.synchronise(canister)  # this machine's clock may have been set since
        if not self.clock.is_fresh(time_ns):
            raise self.clock.staleness(time_ns)


def _check_cbor(answer: HttpReply) -> None:
    """Refuse a page or text in place of a replica's answer, as portals and proxies give.

    Raises:
        InterceptedError: The body cannot be a CBOR map.
    """
    if answer.status != HTTPStatus.OK or answer.body.startswith(SELF_DESCRIBED):
        return
    if not answer.body or answer.body[0] >> 5 != _CBOR_MAP:
        raise InterceptedError(
            "something between this machine and the network answered, and not as a replica does: "
            f"{printable(answer.body, 120) or 'nothing'}"
        )


def is_about_expiry(error: HttpRefusedError) -> bool:
    """Whether a request was refused for its ingress expiry."""
    return "expiry" in error.text.lower()
