"""Queries: asked of one replica, believed with the signature of a node of the subnet."""

from datanode.agent import envelope
from datanode.agent.certificate import NodeKeys, node_keys, verify_query_signature
from datanode.agent.endpoint import Endpoint
from datanode.agent.reject import RejectError, error_of
from datanode.agent.replica_responses import parse_query_answer
from datanode.errors import CertificateError, FormatError
from datanode.limits import MESSAGE_EXPIRY_NS
from datanode.principal import Principal


class QueryClient:
    """Asks queries and knows the keys of the nodes that may answer."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._node_keys: dict[Principal, NodeKeys] = {}

    def ask(
        self, canister: Principal, method: str, arg: bytes, *, effective: Principal | None = None
    ) -> bytes:
        """Ask once, at the URL of the canister or of the effective one.

        1. Post the query, signed.
        2. Every signature under the answer is fresh, and of a node that the subnet certifies.
        3. It covers the answer and the request id of the question.

        Raises:
            CertificateError: One of these does not hold.
            DataNodeError: A rejection that a node signed, mapped.
        """
        endpoint, target = self._endpoint, effective or canister
        content = envelope.query_content(
            canister,
            method,
            arg,
            sender=endpoint.identity.principal,
            ingress_expiry_ns=endpoint.now_ns(target) + MESSAGE_EXPIRY_NS,
        )
        identifier, body = envelope.seal(endpoint.identity, content)
        raw = endpoint.post("query", f"canister/{target}", body).body  # 1
        try:
            answer = parse_query_answer(raw)
        except FormatError as error:
            raise CertificateError(f"the answer to a query is malformed: {error.what}") from error
        if not answer.signatures:
            raise CertificateError("the answer to a query is not signed")
        for signed in answer.signatures:
            endpoint.check_fresh(signed.timestamp_ns, target)  # 2
            verify_query_signature(  # 3
                answer.signed,
                request=identifier,
                timestamp_ns=signed.timestamp_ns,
                signature=signed.signature,
                node_key=self._key(target, signed.node),
            )
        if isinstance(answer.result, RejectError):
            raise error_of(answer.result)
        return answer.result

    def _key(self, canister: Principal, node: Principal) -> bytes:
        known = self._node_keys.get(canister, {})
        if node not in known:
            # Nodes come and go: asked once more, whenever an unknown one signs.
            known = self._node_keys[canister] = self._fetch(canister)
        if node not in known:
            raise CertificateError(f"the answer is signed by {node}, no node of its subnet")
        return known[node]

    def _fetch(self, canister: Principal) -> NodeKeys:
        subnet = self._endpoint.subnet_of(canister)
        _, proof = self._endpoint.read(canister, [[b"subnet", subnet.raw, b"node"]])
        if proof.subnet != subnet:
            self._endpoint.forget_subnet(canister)
        return node_keys(proof.tree, proof.subnet)
