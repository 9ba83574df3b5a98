"""A server that speaks as much S3 as a source reads: HEAD, ranged GET, lists. Faults on cue.

`script` plays one word a GET of an object, and past its end all works:

    ok      works
    busy    503 SlowDown
    denied  403
    kms     403, because of a key
    payer   403, because readers pay
    expired 400, because a token has
    cut     closes the connection after half of the bytes
    none    closes it before an answer
    whole   sends the whole object, whatever range was asked for
    other   sends as many bytes of another place, and says so
    swap    writes the object over first
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET: Final = "models"
_PAGE: Final = 3
"""Keys a page of a list, few, so that lists have pages."""


@dataclass
class Shelf:
    """Contents of the bucket and behaviour of its server.

    Attributes:
        objects: Key -> bytes.
        script: See above.
        etags: Whether the server tells them.
        lists: How a list is answered: `ok`, `denied`, `junk`, or `endless`.
        heads: How a HEAD is answered: `ok`, or a refusal of the script's words.
        payer: Refuse requests that do not say that they pay.
        asked: Method and key of each request.
        signed: Of each request, whether somebody signed it.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    script: list[str] = field(default_factory=list)
    etags: bool = True
    lists: str = "ok"
    heads: str = "ok"
    payer: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    signed: list[bool] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


_REFUSALS: Final = {
    "denied": (403, "AccessDenied", ""),
    "kms": (403, "AccessDenied", "User: arn:x is not authorized to perform: kms:Decrypt on key y"),
    "payer": (403, "AccessDenied", "Bucket is a Requester Pays bucket"),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shelf: Shelf

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        key = self._key()
        data = self.shelf.objects.get(key)
        if self._refused(self.shelf.heads):
            return
        if data is None:
            self._error(404, "NoSuchKey")
        else:
            self._answer(200, data, {})

    def do_GET(self) -> None:
        key = self._key()
        if not key:
            self._list(parse_qs(urlsplit(self.path).query))
            return
        with self.shelf.lock:
            word = self.shelf.script.pop(0) if self.shelf.script else "ok"
        if word == "swap":
            self.shelf.objects[key] = self.shelf.objects[key][::-1]
        data = self.shelf.objects.get(key)
        if data is None:
            self._error(404, "NoSuchKey")
        elif word == "busy":
            self._error(503, "SlowDown")
        elif self._refused(word):
            return
        elif word == "none":
            self.close_connection = True
        elif self.headers["If-Match"] not in {None, _etag(data)}:
            self._error(412, "PreconditionFailed")
        elif word == "whole":
            self._answer(200, data, {})
        else:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            shift = word == "other"
            told = {"Content-Range": f"bytes {first + shift}-{last + shift}/{len(data)}"}
            part = data[first + shift : last + shift + 1]
            self._answer(206, part, told, cut=word == "cut")

    def _refused(self, word: str) -> bool:
        if self.shelf.payer and self.headers["x-amz-request-payer"] != "requester":
            word = "payer"
        if word in _REFUSALS:
            self._error(*_REFUSALS[word])
        return word in _REFUSALS

    def _key(self) -> str:
        bucket, _, key = unquote(urlsplit(self.path).path).removeprefix("/").partition("/")
        assert bucket == BUCKET
        with self.shelf.lock:
            self.shelf.asked.append((self.command, key))
            self.shelf.signed.append("Authorization" in self.headers)
        return key

    def _list(self, query: dict[str, list[str]]) -> None:
        if self._refused(self.shelf.lists):
            return None
        if self.shelf.lists == "junk":
            return self._send(200, b"<List\x1b[2J", {"Content-Type": "application/xml"})
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(key for key in self.shelf.objects if key.startswith(prefix) and key > after)
        page, more = keys[:_PAGE], len(keys) > _PAGE
        if self.shelf.lists == "endless":
            page, more = [f"{prefix}{after}{number}" for number in range(1_000)], True
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        truncated = str(more).lower()
        body = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{contents}{token}"
        return self._send(200, f"{body}</ListBucketResult>".encode(), {})

    def _answer(
        self, status: int, data: bytes, headers: dict[str, str], *, cut: bool = False
    ) -> None:
        whole = self.shelf.objects[unquote(urlsplit(self.path).path).split("/", 2)[2]]
        if self.shelf.etags:
            headers["ETag"] = _etag(whole)
        headers["Last-Modified"] = formatdate(1_700_000_000, usegmt=True)
        self._send(status, data, headers, cut=cut)

    def _error(self, status: int, code: str, words: str = "") -> None:
        words = words or f"no \x1b]0;{code}"
        text = f"<Error><Code>{code}</Code><Message>{words}</Message></Error>"
        self._send(status, text.replace("\x1b", "").encode(), {})

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


@contextmanager
def bucket_server(shelf: Shelf) -> Iterator[str]:
    """Serve a shelf; yields the address."""
    handler = type("Handler", (_Handler,), {"shelf": shelf})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
