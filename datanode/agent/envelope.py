"""Envelopes: what a request says, who signed it, and how both are written.

A request's *content* is a map; its *request id* is the representation-independent hash of that
map, and the sender signs the id behind a domain separator. The envelope is the CBOR map of
`content`, `sender_pubkey`, `sender_sig` and `sender_delegation`, under the self-describing tag;
anonymous requests carry the content alone (interface specification, "Authentication").

`parse` and `verify_envelope` are the server's side and take hostile bytes. They do not judge the
ingress expiry: the network does, in its own words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from datanode.agent import signature
from datanode.agent.fields import CborFields, checked_data, checked_list
from datanode.agent.request_id import request_id
from datanode.cbor import Cbor, Encodable, decode, encode
from datanode.errors import FormatError, UnauthorizedError
from datanode.principal import ANONYMOUS, Principal

MAX_NONCE_BYTES: Final = 32
MAX_PATHS: Final = 1000
MAX_PATH_LABELS: Final = 127
MAX_DELEGATIONS: Final = 20
MAX_TARGETS: Final = 1000
MAX_SIGNATURE_BYTES: Final = 4096
"""Longest signature that is kept; a longer one cannot be of a supported kind."""

_CHAIN: Final = "sender_delegation"
_REQUEST_DOMAIN: Final = b"\x0aic-request"
_DELEGATION_DOMAIN: Final = b"\x1aic-request-auth-delegation"

Content: TypeAlias = Mapping[str, Encodable]


class Signer(Protocol):
    """Protocol for signers of requests; `identity.Identity` implements it."""

    @property
    def principal(self) -> Principal:
        """The sender."""

    @property
    def public_key_der(self) -> bytes | None:
        """The key in DER; none when anonymous."""

    def sign(self, message: bytes) -> bytes:
        """Sign a message."""


class RequestType(StrEnum):
    """Kind of a request."""

    CALL = "call"
    QUERY = "query"
    READ_STATE = "read_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """One link of a chain: a key, signed by the key before it.

    Attributes:
        public_key_der: The key that may sign from here on.
        expires_ns: Until when.
        targets: For which canisters; all of them when None.
        signature: By the previous key, over the hash of the other fields.
    """

    public_key_der: bytes
    expires_ns: int
    targets: tuple[Principal, ...] | None
    signature: bytes

    def signed_message(self) -> bytes:
        """The bytes that `signature` is over."""
        fields: dict[str, object] = {"pubkey": self.public_key_der, "expiration": self.expires_ns}
        if self.targets is not None:
            fields["targets"] = [target.raw for target in self.targets]
        return _DELEGATION_DOMAIN + request_id(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request as it was received; its shape is checked, its signature is not.

    Attributes:
        request_type: What it asks for.
        request_id: Hash of the content, 32 bytes.
        sender: Who claims to ask.
        ingress_expiry_ns: Until when it may be accepted.
        nonce: Makes two requests of equal content different; at most 32 bytes.
        canister: Whom it asks; None for a read_state.
        method: Method of a call or query.
        arg: Its argument.
        paths: Paths of a read_state.
        sender_pubkey: The key of `sender`, DER.
        sender_sig: By the last key of the chain.
        sender_delegation: The chain, possibly empty.
    """

    request_type: RequestType
    request_id: bytes
    sender: Principal
    ingress_expiry_ns: int
    nonce: bytes | None
    canister: Principal | None
    method: str
    arg: bytes
    paths: tuple[tuple[bytes, ...], ...]
    sender_pubkey: bytes | None
    sender_sig: bytes | None
    sender_delegation: tuple[Delegation, ...]


def call_content(
    canister: Principal,
    method: str,
    arg: bytes,
    *,
    sender: Principal,
    ingress_expiry_ns: int,
    nonce: bytes | None = None,
) -> dict[str, Encodable]:
    """Build the content of an update call."""
    content = query_content(
        canister, method, arg, sender=sender, ingress_expiry_ns=ingress_expiry_ns
    )
    content["request_type"] = RequestType.CALL.value
    if nonce is not None:
        content["nonce"] = nonce
    return content


def query_content(
    canister: Principal,
    method: str,
    arg: bytes,
    *,
    sender: Principal,
    ingress_expiry_ns: int,
) -> dict[str, Encodable]:
    """Build the content of a query."""
    return {
        "request_type": RequestType.QUERY.value,
        "sender": sender.raw,
        "ingress_expiry": ingress_expiry_ns,
        "canister_id": canister.raw,
        "method_name": method,
        "arg": arg,
    }


def read_state_content(
    paths: Sequence[Sequence[bytes]], *, sender: Principal, ingress_expiry_ns: int
) -> dict[str, Encodable]:
    """Build the content of a read_state."""
    return {
        "request_type": RequestType.READ_STATE.value,
        "sender": sender.raw,
        "ingress_expiry": ingress_expiry_ns,
        "paths": [list(path) for path in paths],
    }


def seal(signer: Signer, content: Content) -> tuple[bytes, bytes]:
    """Sign a content; returns its request id and the envelope's bytes."""
    identifier = request_id(content)
    envelope: dict[str, Encodable] = {"content": content}
    if signer.public_key_der is not None:
        envelope["sender_pubkey"] = signer.public_key_der
        envelope["sender_sig"] = signer.sign(_REQUEST_DOMAIN + identifier)
    return identifier, encode(envelope, tagged=True)


def sign(signer: Signer, content: Content) -> bytes:
    """Sign a content; returns the envelope's bytes."""
    return seal(signer, content)[1]


def verify_envelope(envelope: Envelope, now_ns: int, canister: Principal) -> None:
    """Check that the sender of an envelope signed it.

    1. The anonymous sender has neither key nor signature.
    2. Any other sender is the principal of `sender_pubkey`.
    3. Each delegation is signed by the key before it, has not expired, allows the canister, and
       brings a key that the chain has not seen.
    4. The signature is by the last key.

    Args:
        envelope: A parsed envelope.
        now_ns: The time, for delegations.
        canister: Whom the request is for: the content's canister of a call or query, the
            effective canister of a read_state.

    Raises:
        UnauthorizedError: One of the points above does not hold.
        FormatError: A key is malformed or of an unsupported kind.
    """
    key, signed = envelope.sender_pubkey, envelope.sender_sig
    if envelope.sender == ANONYMOUS:
        if key is not None or signed is not None or envelope.sender_delegation:
            raise UnauthorizedError("an anonymous request carries a key or a signature")
        return
    if key is None or signed is None:
        raise UnauthorizedError("the request is not signed")
    if Principal.self_authenticating(key) != envelope.sender:
        raise UnauthorizedError("the sender is not the principal of the key")
    seen = {key}
    for delegation in envelope.sender_delegation:
        if delegation.expires_ns < now_ns:
            raise UnauthorizedError("a delegation has expired")
        if delegation.targets is not None and canister not in delegation.targets:
            raise UnauthorizedError("a delegation does not allow this canister")
        signature.verify(key, delegation.signature, delegation.signed_message())
        key = delegation.public_key_der
        if key in seen:
            raise UnauthorizedError("the chain of delegations runs in a circle")
        seen.add(key)
    signature.verify(key, signed, _REQUEST_DOMAIN + envelope.request_id)


def parse(body: bytes) -> Envelope:
    """Read an envelope from hostile bytes.

    Raises:
        FormatError: Not an envelope: malformed CBOR, unknown or missing fields, or a limit
            exceeded.
    """
    outer = CborFields(decode(body), "envelope")
    value = outer.take("content")
    content = CborFields(value, "content")
    kind = content.text("request_type")
    if kind not in set(RequestType):
        raise FormatError("content: an unknown request_type")
    is_read = kind == RequestType.READ_STATE
    sender = content.principal("sender")
    ingress_expiry_ns = content.number("ingress_expiry")
    nonce = content.optional_data("nonce", MAX_NONCE_BYTES)
    canister = None if is_read else content.principal("canister_id")
    method = "" if is_read else content.text("method_name")
    arg = b"" if is_read else content.data("arg")
    paths = _paths(content.list("paths", MAX_PATHS)) if is_read else ()
    content.end()
    chain = outer.list(_CHAIN, MAX_DELEGATIONS) if _CHAIN in outer else []
    envelope = Envelope(
        request_type=RequestType(kind),
        request_id=request_id(_without_nulls(value)),
        sender=sender,
        ingress_expiry_ns=ingress_expiry_ns,
        nonce=nonce,
        canister=canister,
        method=method,
        arg=arg,
        paths=paths,
        sender_pubkey=outer.optional_data("sender_pubkey", signature.MAX_PUBLIC_KEY_BYTES),
        sender_sig=outer.optional_data("sender_sig", MAX_SIGNATURE_BYTES),
        sender_delegation=tuple(_delegation(link) for link in chain),
    )
    outer.end()
    return envelope


def _without_nulls(content: Cbor) -> dict[str, Cbor]:
    items = content.items() if isinstance(content, dict) else ()
    return {key: item for key, item in items if item is not None}


def _paths(value: list[Cbor]) -> tuple[tuple[bytes, ...], ...]:
    return tuple(
        tuple(checked_data(label, "label") for label in checked_list(path, "path", MAX_PATH_LABELS))
        for path in value
    )


def _delegation(value: Cbor) -> Delegation:
    outer = CborFields(value, "signed delegation")
    fields = CborFields(outer.take("delegation"), "delegation")
    targets = fields.list("targets", MAX_TARGETS) if "targets" in fields else None
    delegation = Delegation(
        public_key_der=fields.data("pubkey", signature.MAX_PUBLIC_KEY_BYTES),
        expires_ns=fields.number("expiration"),
        targets=None if targets is None else _targets(targets),
        signature=outer.data("signature", MAX_SIGNATURE_BYTES),
    )
    fields.end()
    outer.end()
    return delegation


def _targets(value: list[Cbor]) -> tuple[Principal, ...]:
    return tuple(Principal(checked_data(raw, "target")) for raw in value)
