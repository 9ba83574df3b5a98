"""A server that speaks as much of the hub as a source reads: a model's files, ranged downloads.

Large files are redirected to another host, as the hub does to its storage; the token must not
follow. `script` plays one word a download, and past its end all works:

    ok      works
    busy    503
    limit   429
    denied  403
    cut     closes the connection after half of the bytes
    none    closes it before an answer
    whole   sends the whole file, whatever range was asked for
    other   sends as many bytes of another place, and says so
    gone    404
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY: Final = "org/model"
COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
_LARGE_BYTES: Final = 1_000


@dataclass
class Model:
    """The model of the hub and the behaviour of its server.

    Attributes:
        files: Path -> bytes.
        revisions: Branches and tags that point to the commit.
        token: Token that is demanded; empty: the model is public.
        gated: Refuse everybody.
        digests: SHA-256 that are told of large files in place of their own, hexadecimal.
        sizes: Whether sizes and digests are told.
        script: See above.
        asked: Path and range of each download.
        tokens: Authorization of each request to the hub, and to its storage.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    revisions: set[str] = field(default_factory=lambda: {"main", "v1", "refs/pr/7"})
    token: str = ""
    gated: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    sizes: bool = True
    script: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Model

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path).removeprefix("/")
        is_storage = path.startswith("storage/")
        with self.model.lock:
            place = "storage" if is_storage else "hub"
            self.model.tokens.append((place, self.headers["Authorization"] or ""))
        if is_storage:
            self._download(path.removeprefix("storage/"))
        elif self.model.gated:
            self._refuse(403, "GatedRepo")
        elif self.model.token and self.headers["Authorization"] != f"Bearer {self.model.token}":
            self._refuse(401, "RepoNotFound")
        elif path.startswith("api/models/"):
            self._describe(path.removeprefix("api/models/"), parse_qs(url.query))
        else:
            self._resolve(path)

    def _describe(self, path: str, query: dict[str, list[str]]) -> None:
        name, _, revision = path.partition("/revision/")
        if name != REPOSITORY:
            return self._refuse(404, "RepoNotFound")
        if revision and revision not in {*self.model.revisions, COMMIT}:
            return self._refuse(404, "RevisionNotFound")
        assert query["blobs"] == ["true"]
        siblings = [self._sibling(each) for each in sorted(self.model.files)]
        body = {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
        return self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _sibling(self, path: str) -> dict[str, object]:
        data = self.model.files[path]
        told: dict[str, object] = {"rfilename": path}
        if self.model.sizes:
            told |= {"size": len(data), "blobId": hashlib.sha1(data).hexdigest()}  # noqa: S324
        if self.model.sizes and len(data) >= _LARGE_BYTES:
            sha256 = self.model.digests.get(path, hashlib.sha256(data).hexdigest())
            told["lfs"] = {"size": len(data), "sha256": sha256, "pointerSize": 130}
        return told

    def _resolve(self, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        commit, _, file = rest.partition("/")
        if name != REPOSITORY:
            return self._refuse(404, "RepoNotFound")
        assert commit == COMMIT, "everything is read at the commit"
        if file not in self.model.files:
            self._refuse(404, "EntryNotFound")
        elif len(self.model.files[file]) >= _LARGE_BYTES:
            port = cast("ThreadingHTTPServer", self.server).server_port
            # Another name of this machine: another origin, which must not see the token.
            self._send(302, b"", {"Location": f"http://localhost:{port}/storage/{file}"})
        else:
            self._download(file)
        return None

    def _download(self, path: str) -> None:
        data = self.model.files[path]
        with self.model.lock:
            self.model.asked.append((path, self.headers["Range"]))
            word = self.model.script.pop(0) if self.model.script else "ok"
        statuses = {"busy": 503, "limit": 429, "denied": 403, "gone": 404}
        if word in statuses:
            return self._refuse(statuses[word], "EntryNotFound" if word == "gone" else "")
        if word == "none":
            self.close_connection = True
            return None
        if word == "whole":
            return self._send(200, data, {})
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        shift = word == "other"
        told = {"Content-Range": f"bytes {first + shift}-{last + shift}/{len(data)}"}
        part = data[first + shift : last + shift + 1]
        return self._send(206, part, told, cut=word == "cut")

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b'{"error": "no\\u001b[2J"}', {"X-Error-Code": code} if code else {})

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut


@contextmanager
def hub_server(model: Model) -> Iterator[str]:
    """Serve a hub with one model; yields its address."""
    handler = type("Handler", (_Handler,), {"model": model})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
