"""A subnet of one node behind a real loopback HTTP server, which errs on cue.

It checks envelopes as the network does, executes each request id once, and signs what it says.
`script` holds what happens to the next requests of a kind, one entry each; an empty script is
good behaviour.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from datanode import cbor
from datanode.agent import envelope
from datanode.agent.envelope import Envelope, RequestType
from datanode.agent.hash_tree import HashTree, Plan
from datanode.agent.network import Network
from datanode.agent.request_id import leb128, request_id
from datanode.errors import DataNodeError
from datanode.limits import INGRESS_TTL_NS
from datanode.principal import Principal
from tests.datanode.agent.subnet import APP, ROOT, Subnet, delegation

CANISTER = Principal(bytes(7) + b"\x05\x01\x01")
Handler = Callable[["Replica", Envelope, bytes], tuple[int, bytes]]


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self, now_ns: int = 1_760_000_000_000_000_000) -> None:
        self.now_ns = now_ns
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += int(seconds * 1e9)


@dataclass
class Replica:
    """The subnet's state, and what goes wrong next."""

    clock: Callable[[], int] = field(default_factory=Clock)
    script: dict[str, deque[Handler]] = field(default_factory=lambda: defaultdict(deque))
    known: dict[bytes, Plan | bytes] = field(default_factory=dict)
    executed: list[bytes] = field(default_factory=list)
    posts: list[tuple[str, bytes]] = field(default_factory=list)
    newest: bool = True
    root_ranges: list[tuple[Principal, Principal]] = field(default_factory=list)
    root: Subnet = ROOT
    app: Subnet = APP
    node: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    extra: Plan = field(default_factory=dict)
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def network(self) -> Network:
        return Network(self.url, ROOT.public_key_der, "local")

    @property
    def node_key(self) -> bytes:
        return self.node.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def node_id(self) -> Principal:
        return Principal.self_authenticating(self.node_key)

    def execute(self, request: Envelope) -> Plan:
        """Echo; `count` tells the size, `reject` rejects with the codes in its argument."""
        if request.method == "reject":
            code, error_code = request.arg.split()
            return {
                b"status": b"rejected",
                b"reject_code": leb128(int(code)),
                b"reject_message": b"no \x1b[31mway",
                b"error_code": error_code,
            }
        reply = b"%d" % len(request.arg) if request.method == "count" else request.arg
        return {b"status": b"replied", b"reply": reply}

    def certificate(self, paths: list[tuple[bytes, ...]]) -> bytes:
        subnet: Plan = {b"node": {self.node_id.raw: {b"public_key": self.node_key}}}
        plan: Plan = {
            b"request_status": self.known,
            b"subnet": {self.app.principal.raw: subnet},
            b"time": leb128(self.clock()),
            **self.extra,
        }
        tree = HashTree.from_dict(plan).prune([*paths, (b"time",)])
        return self.app.certify(tree, delegation=delegation(to=self.app))

    def status(self, request: bytes) -> bytes:
        return self.certificate([(b"request_status", request)])

    def call(self, request: Envelope) -> tuple[int, bytes]:
        if request.request_id not in self.known:
            self.executed.append(request.request_id)
            self.known[request.request_id] = self.execute(request)
        certificate = self.status(request.request_id)
        return 200, cbor.encode({"status": "replied", "certificate": certificate}, tagged=True)

    def sign_query(self, request: bytes, answer: dict[str, cbor.Encodable]) -> bytes:
        now = self.clock()
        signed = request_id({**answer, "timestamp": now, "request_id": request})
        signature: dict[str, cbor.Encodable] = {
            "identity": self.node_id.raw,
            "timestamp": now,
            "signature": self.node.sign(b"\x0bic-response" + signed),
        }
        return cbor.encode({**answer, "signatures": [signature]}, tagged=True)

    def query(self, request: Envelope) -> tuple[int, bytes]:
        answer: dict[str, cbor.Encodable] = {"status": "replied", "reply": {"arg": request.arg}}
        if request.method == "reject":
            code, error_code = request.arg.decode().split()
            answer = {
                "status": "rejected",
                "reject_code": int(code),
                "reject_message": "no way",
                "error_code": error_code,
            }
        return 200, self.sign_query(request.request_id, answer)

    def answer(self, version: str, kind: str, body: bytes) -> tuple[int, bytes]:
        if version == ("v4" if kind == "call" else "v3") and not self.newest:
            return 404, b"no such endpoint"
        with self.lock:
            self.posts.append((kind, body))
            request, complaint = self.admitted(kind, body)
            if request is None:
                return 400, complaint.encode()
            if self.script[kind]:
                return self.script[kind].popleft()(self, request, body)
            return self.obey(request)

    def answer_as_root(self, body: bytes) -> tuple[int, bytes]:
        """Answer a read of the root subnet's state: its canister ranges."""
        paths = list(envelope.parse(body).paths)
        ranges = cbor.encode([[low.raw, high.raw] for low, high in self.root_ranges], tagged=True)
        root, plan = ROOT.principal.raw, {}
        if self.newest:
            if paths[0][0] == b"subnet":
                return 404, b"Invalid path requested."
            plan[b"canister_ranges"] = {root: {b"": ranges}}
        elif paths[0][0] == b"canister_ranges":
            return 404, b"Invalid path requested."
        else:
            plan[b"subnet"] = {root: {b"canister_ranges": ranges}}
        tree = HashTree.from_dict({**plan, b"time": leb128(self.clock())})
        tree = tree.prune([*paths, (b"time",)])
        return 200, cbor.encode({"certificate": self.root.certify(tree)}, tagged=True)

    def admitted(self, kind: str, body: bytes) -> tuple[Envelope | None, str]:
        """Check a request as the network does."""
        try:
            request = envelope.parse(body)
            envelope.verify_envelope(request, self.clock(), CANISTER)
        except DataNodeError as error:
            return None, error.what
        left_ns = request.ingress_expiry_ns - self.clock()
        anonymous_read = kind == "read_state" and request.sender_pubkey is None
        if not 0 <= left_ns <= INGRESS_TTL_NS and not anonymous_read:
            return None, "Invalid request expiry: not within five minutes"
        return request, ""

    def obey(self, request: Envelope) -> tuple[int, bytes]:
        """Behave."""
        if request.request_type is RequestType.CALL:
            return self.call(request)
        if request.request_type is RequestType.QUERY:
            return self.query(request)
        proof = self.certificate(list(request.paths))
        return 200, cbor.encode({"certificate": proof}, tagged=True)


def http(status: int, body: bytes = b"") -> Handler:
    """Answer with an HTTP status; nothing is executed."""
    return lambda _replica, _request, _body: (status, body)


def lost(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
    """Execute, and lose the answer."""
    replica.call(request)
    return 0, b""


def late(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
    """Execute, and say no more than that it was accepted."""
    replica.call(request)
    return 202, b""


def rejected(code: int, error_code: str, *, executes: bool = False) -> Handler:
    """One replica's rejection, without a certificate."""

    def handler(replica: Replica, request: Envelope, _body: bytes) -> tuple[int, bytes]:
        if executes:
            replica.call(request)
        answer: dict[str, cbor.Encodable] = {
            "status": "non_replicated_rejection",
            "reject_code": code,
            "reject_message": "one replica \x1b[31mthinks so",
            "error_code": error_code,
        }
        return 200, cbor.encode(answer, tagged=True)

    return handler


@contextmanager
def serving(replica: Replica) -> Iterator[Replica]:
    """Serve a replica on a free loopback port."""

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            self.reply(200, cbor.encode({"root_key": ROOT.public_key_der}, tagged=True))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            _, _, version, _, target, kind = self.path.split("/")
            if target == ROOT.principal.text:
                self.reply(*replica.answer_as_root(body))
            else:
                self.reply(*replica.answer(version, kind, body))

        def reply(self, status: int, body: bytes) -> None:
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    replica.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield replica
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
