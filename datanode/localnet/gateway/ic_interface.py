"""The Internet Computer's HTTP interface, independent of HTTP: bytes in, status and bytes out.

Each request is parsed strictly, then checked: the sender signed it, it has not expired and does not
expire later than the interface allows, and the canister that it is about is that of the URL. Every
method may be called from any thread.
"""

from dataclasses import dataclass
from typing import Final

from datanode import cbor
from datanode.agent import envelope as envelopes
from datanode.agent.envelope import Envelope, RequestType
from datanode.errors import FormatError, UnauthorizedError
from datanode.limits import INGRESS_TTL_NS, MAX_INGRESS_BYTES
from datanode.localnet.execution.unit_of_work import UnitOfWork
from datanode.localnet.gateway import read_permissions
from datanode.localnet.management import methods
from datanode.localnet.management.system_canisters import SystemCanisters
from datanode.localnet.replica.call_delivery import CallDelivery
from datanode.localnet.replica.canister_host import CanisterHost
from datanode.localnet.replica.ingress import Ingress
from datanode.localnet.replica.query_service import QueryService
from datanode.localnet.replica.rent import RentCollector
from datanode.localnet.replica.scheduler import Scheduler
from datanode.localnet.replica.timers import Timers
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.fault import Asked, FaultVerb
from datanode.localnet.state.message import IngressMessage, IngressReply, NotAdmittedError
from datanode.localnet.state.network_state import NetworkState
from datanode.localnet.state.state_tree import Path
from datanode.principal import ANONYMOUS, MANAGEMENT_CANISTER, Principal
from datanode.units import SECOND_NS

DRIFT_NS: Final = 30 * SECOND_NS
"""How much further ahead an expiry may lie, for clocks that differ. Source: the replica's ingress
validator, 2026-06: it is stricter than the 60 s that the ingress pool permits."""

PATIENCE_S: Final = 10.0
"""How long a synchronous call waits before it answers 202. Source: replica, 2026-05."""

VERSION: Final = "datanode-localnet"
_BAD_REQUEST, _FORBIDDEN, _TOO_LARGE = 400, 403, 413


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may be executed, or the reason why not."""

    message: IngressMessage
    refused: IngressReply | None


class Interface:
    """The network as clients see it.

    Args:
        network: The parts of the state; threads that work on them end before it is closed.

    Attributes:
        host: The canisters.
        rent: Charges for elapsed time.
    """

    def __init__(self, network: NetworkState) -> None:
        self.network = network
        runtime, traffic, records = network.runtime, network.traffic, network.records
        work = UnitOfWork(records, traffic, runtime.canister_time)
        self.rent = rent = RentCollector(runtime, traffic, records, work)
        self.host = host = CanisterHost(records, work, rent)
        system = SystemCanisters.of(runtime, traffic, records, network.topology)
        self._ingress = Ingress(runtime=runtime, traffic=traffic, host=host, system=system)
        self._queries = QueryService(
            runtime=runtime,
            traffic=traffic,
            certification=network.certification,
            host=host,
            system=system,
        )
        delivery = CallDelivery(runtime=runtime, traffic=traffic, host=host, system=system)
        scheduler = Scheduler(traffic.queue, delivery.next)
        network.on_close(scheduler.close)
        timers = Timers(runtime=runtime, traffic=traffic, host=host, scheduler=scheduler)
        network.on_close(timers.close)

    def status(self) -> bytes:
        """Answer `/api/v2/status`."""
        root_key = self.network.topology.root_key
        return cbor.encode(
            {
                "impl_version": VERSION,
                "replica_health_status": "healthy",
                "root_key": root_key,
            },
            tagged=True,
        )

    def management_of(self, subnet: Principal) -> Principal:
        """Return the canister that calls to a subnet as a whole go to.

        Raises:
            RefusedError: There is no such subnet here.
        """
        if subnet != self.network.topology.subnet_id:
            raise NotAdmittedError(_BAD_REQUEST, f"The subnet {subnet} hosts no canisters here.")
        return MANAGEMENT_CANISTER

    def admit(self, body: bytes, canister: Principal) -> Admitted:
        """Check a call and ask whether its canister takes it.

        Raises:
            RefusedError: The call is malformed, not signed, expired or misdirected.
        """
        envelope = _parse(body, RequestType.CALL)
        if len(body) > MAX_INGRESS_BYTES:
            raise NotAdmittedError(
                _TOO_LARGE,
                f"Request 0x{envelope.request_id.hex()} is too large. Message byte size "
                f"{len(body)} is larger than the max allowed {MAX_INGRESS_BYTES}.",
            )
        target = envelope.canister or MANAGEMENT_CANISTER
        effective = _effective(envelope, target, canister)
        self._check(envelope, target, expires=True)
        message = IngressMessage(
            request_id=envelope.request_id,
            sender=envelope.sender,
            canister=target,
            effective=effective,
            method=envelope.method,
            arg=envelope.arg,
            envelope_bytes=len(body),
            expires_ns=envelope.ingress_expiry_ns,
        )
        return Admitted(message, self._ingress.admit(message))

    def execute(self, message: IngressMessage) -> None:
        """Execute an admitted message, at most once."""
        self._ingress.execute(message, patience_s=PATIENCE_S)

    def outcome(self, message: IngressMessage, form: RangesForm) -> bytes | None:
        """Certify the answer to a message; None while it has none."""
        known = self.network.traffic.requests.find(message.request_id)
        if known is None or known.answer is None:
            return None
        path = (b"request_status", message.request_id)
        asked = Asked(FaultVerb.CALL, message.effective, message.method)
        certificate = self.network.certification.certificate([path], asked, form)
        return cbor.encode({"status": "replied", "certificate": certificate}, tagged=True)

    def query(
        self, body: bytes, canister: Principal, form: RangesForm = RangesForm.SHARDS
    ) -> bytes:
        """Answer a query; the form is that of the certificate which the canister is given."""
        envelope = _parse(body, RequestType.QUERY)
        target = envelope.canister or MANAGEMENT_CANISTER
        effective = _effective(envelope, target, canister)
        self._check(envelope, target, expires=envelope.sender != ANONYMOUS)
        fields = self._queries.answer(
            request_id=envelope.request_id,
            canister=target,
            effective=effective,
            method=envelope.method,
            arg=envelope.arg,
            caller=envelope.sender,
            form=form,
        )
        return cbor.encode(fields, tagged=True)

    def read_state(self, body: bytes, canister: Principal, form: RangesForm) -> bytes:
        """Certify what a reader may see at a canister's URL."""
        envelope = _parse(body, RequestType.READ_STATE)
        self._check(envelope, canister, expires=envelope.sender != ANONYMOUS)
        read_permissions.check_canister_paths(
            self.network.traffic,
            self.network.records.canisters,
            envelope.paths,
            reader=envelope.sender,
            canister=canister,
        )
        return self._certified(envelope.paths, canister, form)

    def read_subnet_state(self, body: bytes, subnet: Principal, form: RangesForm) -> bytes:
        """Certify what everybody may see at a subnet's URL."""
        envelope = _parse(body, RequestType.READ_STATE)
        self._check(envelope, subnet, expires=envelope.sender != ANONYMOUS)
        read_permissions.check_subnet_paths(
            self.network.traffic, envelope.paths, reader=envelope.sender
        )
        topology = self.network.topology
        if subnet == topology.root_id:
            certification = self.network.certification
            certificate = certification.certifier.root_certificate(
                certification.state(), envelope.paths
            )
            return cbor.encode({"certificate": certificate}, tagged=True)
        if subnet != topology.subnet_id:
            raise NotAdmittedError(
                _BAD_REQUEST, f"The subnet {subnet} is not part of this network."
            )
        return self._certified(envelope.paths, subnet, form)

    def _certified(self, paths: tuple[Path, ...], of: Principal, form: RangesForm) -> bytes:
        certificate = self.network.certification.certificate(
            paths, Asked(FaultVerb.READ_STATE, of), form
        )
        return cbor.encode({"certificate": certificate}, tagged=True)

    def _check(self, envelope: Envelope, target: Principal, *, expires: bool) -> None:
        now_ns = self.network.traffic.clock.now_ns()
        latest_ns = now_ns + INGRESS_TTL_NS + DRIFT_NS
        if expires and not now_ns <= envelope.ingress_expiry_ns <= latest_ns:
            raise NotAdmittedError(
                _BAD_REQUEST,
                "Invalid request expiry: Specified ingress_expiry not within expected range: "
                f"Minimum allowed expiry: {now_ns}, Maximum allowed expiry: {latest_ns}, "
                f"Provided expiry: {envelope.ingress_expiry_ns}",
            )
        try:
            envelopes.verify_envelope(envelope, now_ns, target)
        except (UnauthorizedError, FormatError) as error:
            raise NotAdmittedError(
                _FORBIDDEN,
                f"Failed to authenticate request 0x{envelope.request_id.hex()} due to: "
                f"{error.what}",
            ) from error


def _parse(body: bytes, kind: RequestType) -> Envelope:
    try:
        envelope = envelopes.parse(body)
    except FormatError as error:
        raise NotAdmittedError(
            _BAD_REQUEST, f"Could not parse body as CBOR message: {error}"
        ) from error
    if envelope.request_type is not kind:
        raise NotAdmittedError(
            _BAD_REQUEST, f"Expected a request of type {kind}, got {envelope.request_type}."
        )
    return envelope


def _effective(envelope: Envelope, target: Principal, url: Principal) -> Principal:
    if target == MANAGEMENT_CANISTER:
        return methods.effective_canister(envelope.method, envelope.arg, url)
    if target != url:
        raise NotAdmittedError(
            _BAD_REQUEST,
            f"Specified CanisterId {target} does not match effective canister id in URL {url}",
        )
    return target
