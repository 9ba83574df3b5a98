"""Answers queries: run on the committed state, undone, signed by the node."""

from datanode.agent.cbor import Encodable
from datanode.localnet.execution import admission
from datanode.localnet.management import views
from datanode.localnet.management.built_in import BuiltIns
from datanode.localnet.replica import call_graph, lies, rent
from datanode.localnet.replica.call_graph import CallGraph
from datanode.localnet.state.canister import Canister
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.fault import Asked, Fault, Point, Verb
from datanode.localnet.state.message import Answer
from datanode.localnet.state.network import Network
from datanode.principal import MANAGEMENT_CANISTER, Principal


class Queries:
    """Runs queries; safe to be called from many threads."""

    def __init__(self, network: Network, built_ins: BuiltIns) -> None:
        self._network = network
        self._built_ins = built_ins
        self._graph = CallGraph(network)

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
        concerned = self._network.canisters.find(effective)
        if concerned is not None:
            rent.settle(self._network, concerned)
        if canister == MANAGEMENT_CANISTER:
            answer = views.query(self._network, method, effective, caller, arg)
        elif canister in self._built_ins:
            answer = self._built_ins.query(canister, method, arg, caller)
        else:
            answer = self._run(canister, method, arg, caller, form)
        struck = self._network.faults.strike(Point.REPLY, Asked(Verb.QUERY, effective, method))
        fields = _fields(lies.told(answer, struck))
        signed = self._network.certifier.node_signature(fields, request_id)
        signature: dict[str, Encodable] = {
            "timestamp": signed.timestamp_ns,
            "signature": lies.signed(signed.signature, struck),
            "identity": signed.node.raw,
        }
        return {**fields, "signatures": [signature]}

    def _run(
        self, canister: Principal, method: str, arg: bytes, caller: Principal, form: RangesForm
    ) -> Answer:
        network = self._network
        slot = network.canisters.find(canister)
        if slot is None:
            return Answer(reject=admission.not_found(canister))
        with slot.lock:
            reject = call_graph.refusal(network, slot)
            if reject is not None:
                return Answer(reject=reject)
            asked = Asked(Verb.QUERY, canister, method)
            stale = network.faults.strike(Point.QUERY, asked)
            if stale:
                return self._run_stale(stale[0], slot.canister, method, arg, caller)
            certificate = network.data_certificate(slot.canister, asked, form)
            is_composite = slot.machine.has(f"canister_composite_query {method}")
            if not is_composite:
                env = network.environment(slot.canister, caller, data_certificate=certificate)
                execution = slot.machine.query(method, arg, env)
                network.query_stats.count(canister, execution.instructions, arg, execution.reply)
                return Answer(reply=execution.reply, reject=execution.reject)
        return self._graph.answer(slot, method, arg, caller, certificate)

    def _run_stale(
        self, fault: Fault, canister: Canister, method: str, arg: bytes, caller: Principal
    ) -> Answer:
        """Answer as a replica that has slept since a mark was made, its certificate included."""
        mark = self._network.marks.find(canister.id, fault.text("mark"))
        with mark.lock:
            env = self._network.environment(
                mark.of(canister), caller, data_certificate=mark.certificate
            )
            execution = mark.machine.query(method, arg, env)
        return Answer(reply=execution.reply, reject=execution.reject)


def _fields(answer: Answer) -> dict[str, Encodable]:
    if answer.reject is None:
        return {"status": "replied", "reply": {"arg": answer.reply or b""}}
    return {
        "status": "rejected",
        "reject_code": answer.reject.code,
        "reject_message": answer.reject.message,
        "error_code": answer.reject.error_code,
    }
