"""Certify paths of the state tree, unless an injected fault spoils the certificate."""

from collections.abc import Iterable
from typing import Final

from datanode import cbor
from datanode.agent.hash_tree import Plan
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.canisters import Canisters
from datanode.localnet.state.certificates import Certifier, RangesForm
from datanode.localnet.state.fault import Asked, FaultKind, FaultPoint
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.state_tree import Branch, Collection
from datanode.localnet.state.state_tree import Path as StatePath
from datanode.principal import Principal
from datanode.units import SECOND_NS

_REUSE_NS: Final = SECOND_NS
"""How long a data certificate for queries is used again."""


class Certification:
    """Certifies the state of the network.

    Args:
        certifier: Signs.
        canisters: Their slots.
        traffic: Messages in flight, and the faults that spoil certificates.
    """

    def __init__(self, certifier: Certifier, canisters: Canisters, traffic: MessageTraffic) -> None:
        self.certifier = certifier
        self._canisters = canisters
        self._traffic = traffic
        self._data_certificates: dict[
            tuple[Principal, RangesForm], tuple[Canister, int, bytes]
        ] = {}

    def state(self) -> dict[bytes, Branch]:
        """The top of the state tree."""
        canisters, requests = self._canisters, self._traffic.requests
        return {
            b"api_boundary_nodes": {},
            b"canister": Collection(self._canister_plan, canisters.before, canisters.after),
            b"canister_ranges": self.certifier.canister_ranges(),
            b"request_status": Collection(self._request_plan, requests.before, requests.after),
            b"subnet": self.certifier.subnets(),
        }

    def certificate(
        self, paths: Iterable[StatePath], asked: Asked, form: RangesForm = RangesForm.SHARDS
    ) -> bytes:
        """Certify some paths of the state for somebody, unless a fault spoils it."""
        age_ns, foreign = 0, False
        for fault in self._traffic.faults.strike(FaultPoint.CERTIFY, asked):
            match fault.kind:
                case FaultKind.OLD_CERTIFICATE:
                    age_ns = fault.number("age_s") * SECOND_NS
                case FaultKind.PRUNED_CERTIFICATE:
                    paths = ()
                case FaultKind.FOREIGN_CERTIFICATE:
                    foreign = True
        if foreign:
            return self.certifier.foreign_certificate(self.state(), paths)
        return self.certifier.certificate(self.state(), paths, form=form, age_ns=age_ns)

    def data_certificate(self, canister: Canister, asked: Asked, form: RangesForm) -> bytes:
        """Certify a canister's certified data for its queries; at most a second old."""
        path = (b"canister", canister.id.raw, b"certified_data")
        if self._traffic.faults.active:
            return self.certificate([path], asked, form)
        now_ns = self._traffic.clock.now_ns()
        known = self._data_certificates.get((canister.id, form))
        if known is not None:
            of, made_ns, certificate = known
            if of is canister and now_ns - made_ns < _REUSE_NS:
                return certificate
        certificate = self.certifier.certificate(self.state(), [path], form=form)
        self._data_certificates[canister.id, form] = (canister, now_ns, certificate)
        return certificate

    def _canister_plan(self, label: bytes) -> Plan | None:
        slot = self._canisters.find(Principal(label))
        if slot is None:
            return None
        canister = slot.canister
        plan: dict[bytes, Plan | bytes] = {
            b"certified_data": canister.certified_data,
            b"controllers": cbor.encode(
                [each.raw for each in canister.settings.controllers], tagged=True
            ),
        }
        if canister.module_hash is not None:
            plan[b"module_hash"] = canister.module_hash
            plan[b"metadata"] = {
                name.encode(): content for name, (_, content) in slot.sections().items()
            }
        return plan

    def _request_plan(self, label: bytes) -> Plan | None:
        known = self._traffic.requests.find(label)
        return None if known is None else known.plan()
