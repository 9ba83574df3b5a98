"""Encode HTTP requests for canisters in Candid and decode their replies, which are hostile.

Source: the Internet Computer's HTTP gateway protocol specification.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from datanode.agent import candid
from datanode.agent.candid import (
    Blob,
    Bool,
    Func,
    Nat16,
    Opaque,
    Opt,
    Record,
    Text,
    Type,
    Value,
    Variant,
    Vec,
)
from datanode.errors import FormatError
from datanode.localnet.management.arguments import Arguments
from datanode.principal import Principal

CERTIFICATE_VERSION: Final = 2
"""The newest form of certified answers that canisters are asked for."""

MAX_HEADERS: Final = 128
MAX_HEADER_BYTES: Final = 64 * 1024
"""Bounds of the headers that are passed on. Ours: a certified page has 4 kB of them."""

_HEADERS: Final = Vec(Record({"_0_": Text, "_1_": Text}))
_REQUEST: Final[dict[str, Type]] = {"method": Text, "url": Text, "headers": _HEADERS, "body": Blob}
_QUERY: Final = Record({**_REQUEST, "certificate_version": Opt(Nat16)})
_UPDATE: Final = Record(_REQUEST)
_CALLBACK: Final = Record({"callback": Func, "token": Opaque})
_REPLY: Final = Record(
    {
        "status_code": Nat16,
        "headers": _HEADERS,
        "body": Blob,
        "upgrade": Opt(Bool),
        "streaming_strategy": Opt(Variant({"Callback": _CALLBACK})),
    }
)
_PART: Final = Record({"body": Blob, "token": Opt(Opaque)})

_STATUSES: Final = range(200, 600)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_HOP_BY_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "content-length"),
    }
)
"""Headers about one connection, which whoever holds it writes."""

Header = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterHttpRequest:
    """HTTP request to a canister.

    Attributes:
        method: E.g. `GET`.
        url: Path and query.
        headers: Names and values.
        body: Its bytes.
    """

    method: str
    url: str
    headers: tuple[Header, ...]
    body: bytes

    def query_arg(self) -> bytes:
        """Encode the argument of `http_request`."""
        fields = {**self._fields(), "certificate_version": CERTIFICATE_VERSION}
        return candid.encode((_QUERY,), (fields,))

    def update_arg(self) -> bytes:
        """Encode the argument of `http_request_update`."""
        return candid.encode((_UPDATE,), (self._fields(),))

    def header(self, name: str) -> str | None:
        """Return the first header of a name."""
        return header(self.headers, name)

    def _fields(self) -> dict[str, Value]:
        headers = [{"_0_": name, "_1_": value} for name, value in self.headers]
        return {"method": self.method, "url": self.url, "headers": headers, "body": self.body}


@dataclass(frozen=True, slots=True)
class StreamingCallback:
    """How to get the next part of a body: a query.

    Attributes:
        canister: Whom to ask.
        method: Its method.
        arg: The argument, as the canister made it.
    """

    canister: Principal
    method: str
    arg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterHttpReply:
    """HTTP response of a canister.

    Attributes:
        status: HTTP status, 200 to 599.
        headers: Names and values, fit to be sent.
        body: Its bytes, or the first of them.
        wants_update: Whether the request is to be made again as an update.
        callback: How the body goes on.
    """

    status: int
    headers: tuple[Header, ...]
    body: bytes
    wants_update: bool
    callback: StreamingCallback | None

    def span(self) -> tuple[int, int]:
        """Tell from `content-range` how much of a body is there so far, and how long it is.

        Raises:
            FormatError: The header is missing or makes no sense.
        """
        match = _RANGE.fullmatch(header(self.headers, "content-range") or "")
        if match is None:
            raise FormatError("an answer of a part has no content-range")
        first, last, whole = (int(number) for number in match.groups())
        if not first <= last < whole or len(self.body) != last + 1 - first:
            raise FormatError("an answer's content-range does not fit its body")
        return last + 1, whole


def header(headers: Sequence[Header], name: str) -> str | None:
    """Return the first header of a name, which is given in lower case."""
    return next((value for each, value in headers if each.lower() == name), None)


def parse_reply(data: bytes) -> CanisterHttpReply:
    """Read the reply of `http_request` or `http_request_update`.

    Raises:
        FormatError: It is none, or not fit to be sent.
    """
    fields = Arguments.decode(_REPLY, data)
    status = fields.number("status_code")
    if status not in _STATUSES:
        raise FormatError(f"{status} is no status that a canister may answer with")
    callback = None
    if fields.has("streaming_strategy"):
        strategy = Arguments({"callback": fields.variant("streaming_strategy")[1]})
        inner = strategy.record("callback")
        method, canister = inner.variant("callback")
        callback = StreamingCallback(cast("Principal", canister), method, inner.blob("token"))
    return CanisterHttpReply(
        status=status,
        headers=_headers(fields.records("headers")),
        body=fields.blob("body"),
        wants_update=fields.flag("upgrade"),
        callback=callback,
    )


def parse_part(data: bytes, callback: StreamingCallback) -> tuple[bytes, StreamingCallback | None]:
    """Read the reply of a streaming callback: the next bytes, and how they go on.

    Raises:
        FormatError: It is none.
    """
    fields = Arguments.decode(_PART, data)
    body = fields.blob("body")
    if not fields.has("token"):
        return body, None
    return body, StreamingCallback(callback.canister, callback.method, fields.blob("token"))


def _headers(fields: Sequence[Arguments]) -> tuple[Header, ...]:
    if len(fields) > MAX_HEADERS:
        raise FormatError(f"an answer has {len(fields)} headers, at most {MAX_HEADERS} are sent")
    pairs = [(each.text("_0_"), each.text("_1_")) for each in fields]
    for name, value in pairs:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise FormatError("an answer has a header that cannot be sent")
    if sum(len(name) + len(value) for name, value in pairs) > MAX_HEADER_BYTES:
        raise FormatError(f"an answer has more than {MAX_HEADER_BYTES} bytes of headers")
    return tuple(pair for pair in pairs if pair[0].lower() not in _HOP_BY_HOP)
