"""Verifies answers over HTTP as a gateway does: response certification, version 2.

Written from the specification of the HTTP gateway protocol, for expressions that certify no request
and a list of response headers.
"""

import base64
import hashlib
import http.client
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from datanode.agent.certificate import open_certificate
from datanode.agent.hash_tree import ABSENT, HashTree
from datanode.cbor import decode
from datanode.errors import CertificateError
from datanode.principal import Principal

EXPRESSION = "ic-certificateexpression"
_FORM = re.compile(
    r"default_certification\(ValidationArgs\{certification:Certification\{no_request_certification:"
    r"Empty\{\},response_certification:ResponseCertification\{certified_response_headers:"
    r"ResponseHeaderList\{headers:\[([^\]]*)\]\}\}\}\}\)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def with_header(self, name: str, value: str) -> "Answer":
        return replace(self, headers={**self.headers, name: value})


def get(url: str, canister: Principal, path: str, method: str = "GET") -> Answer:
    """Ask a canister at its address of the embedded network."""
    connection = http.client.HTTPConnection("127.0.0.1", int(url.rsplit(":", 1)[1]), timeout=30)
    try:
        connection.request(method, path, headers={"host": f"{canister}.localhost"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()


def verify(answer: Answer, path: str, *, root_key: bytes, canister: Principal, now_ns: int) -> None:
    """Check that an answer to a path is what the canister certified.

    Raises:
        CertificateError: It is not.
        FormatError: A part of the proof is malformed.
    """
    proof = dict(re.findall(r"(\w+)=:?([^:,]*):?(?:, |$)", answer.headers["ic-certificate"]))
    certificate = open_certificate(
        base64.b64decode(proof["certificate"], validate=True),
        root_key=root_key,
        canister=canister,
        now_ns=now_ns,
    )
    tree = HashTree.parse(base64.b64decode(proof["tree"], validate=True))
    if certificate.tree.lookup([b"canister", canister.raw, b"certified_data"]) != tree.digest():
        raise CertificateError("the tree is not what the subnet certified")
    parts = decode(base64.b64decode(proof["expr_path"], validate=True))
    assert isinstance(parts, list)
    found = [str(part).encode() for part in parts]
    segments = [b"http_expr", *path.split("?", maxsplit=1)[0].encode().split(b"/")[1:]]
    for nearest in _by_nearness(segments):
        if found == nearest:
            break
        if tree.subtree(nearest) is not ABSENT:
            raise CertificateError("an answer nearer to the path is not ruled out")
    else:
        raise CertificateError("the answer belongs to another path")
    expression = answer.headers[EXPRESSION]
    form = _FORM.fullmatch(expression)
    if form is None:
        raise CertificateError("the expression has another form")
    certified = [name.strip('" ').lower() for name in form[1].split(",")]
    leaf = [*found, _sha256(expression.encode()), b"", _response_hash(answer, certified)]
    if tree.lookup(leaf) != b"":
        raise CertificateError("the answer is not the certified one")


def _by_nearness(segments: Sequence[bytes]) -> list[list[bytes]]:
    wildcards = [[*segments[:end], b"<*>"] for end in range(len(segments), 0, -1)]
    return [[*segments, b"<$>"], *wildcards]


def _response_hash(answer: Answer, certified: Sequence[str]) -> bytes:
    fields = [(name, answer.headers[name].encode()) for name in certified if name in answer.headers]
    fields.append((EXPRESSION, answer.headers[EXPRESSION].encode()))
    fields.append((":ic-cert-status", bytes([answer.status & 0x7F | 0x80, answer.status >> 7])))
    hashes = sorted(_sha256(name.encode()) + _sha256(value) for name, value in fields)
    return _sha256(_sha256(b"".join(hashes)) + _sha256(answer.body))


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
