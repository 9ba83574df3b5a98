"""Answers queries: run on the committed state, undone, signed by the node."""

from datanode.cbor import Encodable
from datanode.localnet.execution import admission
from datanode.localnet.management.system_canisters import SystemCanisters
from datanode.localnet.replica import call_graph, reply_faults
from datanode.localnet.replica.call_graph import CallGraph
from datanode.localnet.replica.canister_host import CanisterHost
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.certification import Certification
from datanode.localnet.state.fault import Asked, Fault, FaultPoint, FaultVerb
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import MANAGEMENT_CANISTER, Principal


class QueryService:
    """Runs queries; safe to be called from many threads.

    Args:
        runtime: Prices, time and disk.
        traffic: Messages in flight.
        certification: Certifies the state.
        host: The canisters.
        system: Canisters that the network itself answers for.
    """

    def __init__(
        self,
        *,
        runtime: SubnetRuntime,
        traffic: MessageTraffic,
        certification: Certification,
        host: CanisterHost,
        system: SystemCanisters,
    ) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self._certification = certification
        self._host = host
        self._system = system
        self._graph = CallGraph(runtime, host.records)

    def answer(
        self,
        *,
        request_id: bytes,
        canister: Principal,
        effective: Principal,
        method: str,
        arg: bytes,
        caller: Principal,
        form: RangesForm,
    ) -> dict[str, Encodable]:
        """Answer a query; returns the map that goes over the wire, signature included."""
        concerned = self._host.find(effective)
        if concerned is not None:
            self._host.settle(concerned)
        if canister == MANAGEMENT_CANISTER:
            answer = self._system.management.query(effective, method=method, caller=caller, arg=arg)
        elif canister in self._system.built_ins:
            answer = self._system.built_ins.query(canister, method, arg, caller)
        else:
            answer = self._run(canister, method, arg, caller, form)
        struck = self._traffic.faults.strike(
            FaultPoint.REPLY, Asked(FaultVerb.QUERY, effective, method)
        )
        fields = _fields(reply_faults.told(answer, struck))
        signed = self._certification.certifier.node_signature(fields, request_id)
        signature: dict[str, Encodable] = {
            "timestamp": signed.timestamp_ns,
            "signature": reply_faults.signed(signed.signature, struck),
            "identity": signed.node.raw,
        }
        return {**fields, "signatures": [signature]}

    def _run(
        self, canister: Principal, method: str, arg: bytes, caller: Principal, form: RangesForm
    ) -> IngressReply:
        slot = self._host.find(canister)
        if slot is None:
            return IngressReply(reject=admission.not_found(canister))
        with slot.lock:
            reject = call_graph.refusal(self._runtime.fees, slot)
            if reject is not None:
                return IngressReply(reject=reject)
            asked = Asked(FaultVerb.QUERY, canister, method)
            stale = self._traffic.faults.strike(FaultPoint.QUERY, asked)
            if stale:
                return self._run_stale(stale[0], slot.canister, method, arg, caller)
            certificate = self._certification.data_certificate(slot.canister, asked, form)
            is_composite = slot.machine.has(f"canister_composite_query {method}")
            if not is_composite:
                env = self._runtime.environment(slot.canister, caller, data_certificate=certificate)
                execution = slot.machine.query(method, arg, env)
                self._host.records.query_stats.count(
                    canister, execution.instructions, arg, execution.reply
                )
                return IngressReply(reply=execution.reply, reject=execution.reject)
        return self._graph.answer(slot, method, arg, caller, certificate)

    def _run_stale(
        self, fault: Fault, canister: Canister, method: str, arg: bytes, caller: Principal
    ) -> IngressReply:
        """Answer as a replica that has slept since a mark was made, its certificate included."""
        mark = self._host.records.marks.find(canister.id, fault.text("mark"))
        with mark.lock:
            env = self._runtime.environment(
                mark.of(canister), caller, data_certificate=mark.certificate
            )
            execution = mark.machine.query(method, arg, env)
        return IngressReply(reply=execution.reply, reject=execution.reject)


def _fields(answer: IngressReply) -> dict[str, Encodable]:
    if answer.reject is None:
        return {"status": "replied", "reply": {"arg": answer.reply or b""}}
    return {
        "status": "rejected",
        "reject_code": answer.reject.code,
        "reject_message": answer.reject.message,
        "error_code": answer.reject.error_code,
    }
