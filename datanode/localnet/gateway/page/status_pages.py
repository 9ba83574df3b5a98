"""Serves the page: plain HTML without scripts, for browsers on this machine.

| request | answer |
| --- | --- |
| `GET /` | canisters, the last messages with their bills, facts about the network |
| `GET /_/page/canisters?after=ID` | more canisters |
| `GET /_/page/messages?before=N` | older messages |
| `GET /_/page/canister/ID?before=N` | one canister, what it printed and what it paid |
| `GET /_/page/style.css`, `/_/page/icon.svg`, `/favicon.ico` | how it looks |

`?rent=1` shows the entries of rent among the messages. `?refresh=5` has a browser load a page again
every five seconds. An error is a page too, with links back.

Names of methods, log lines and replies come from anybody, so they are cut, made printable and
escaped, and the policy of the page allows no script, no frame, no form and nothing from elsewhere.
As in `admin` the Host header must name the loopback.
"""

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, TypeAlias

from datanode import units
from datanode.errors import FormatError
from datanode.localnet.gateway import http
from datanode.localnet.gateway.http import Event, Response
from datanode.localnet.gateway.page import wording
from datanode.localnet.gateway.page.items import ITEMS
from datanode.localnet.gateway.page.page_facts import PageFacts
from datanode.localnet.state.message import NotAdmittedError
from datanode.principal import Principal
from datanode.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER: Final = "/_/page/"
_View: TypeAlias = tuple[str, dict[str, object]]
"""A template, and what it shows."""

_HTML: Final = b"text/html; charset=utf-8"
_CANISTER: Final = f"{FOLDER}canister/"
_LONGEST_REFRESH_S: Final = 3600
_LONGEST_ERROR: Final = 240
_BAD_REQUEST, _FORBIDDEN, _NOT_FOUND = 400, 403, 404

_HEADERS: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
            b"form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_FILES: Final = {
    f"{FOLDER}style.css": ("style.css", b"text/css; charset=utf-8"),
    f"{FOLDER}icon.svg": ("icon.svg", b"image/svg+xml"),
    "/favicon.ico": ("icon.svg", b"image/svg+xml"),
}


def is_page(path: str) -> bool:
    """Whether a path is one of the table above."""
    return path == "/" or path in _FILES or path.startswith(FOLDER)


class Pages:
    """Serves the requests of the table above; may be called from any thread."""

    def __init__(self, facts: PageFacts) -> None:
        self._facts = facts

    def respond(self, scope: Event) -> Response:
        """Serve one request.

        Raises:
            NotAdmittedError: It comes from elsewhere.
        """
        if not http.is_loopback(scope):
            raise NotAdmittedError(_FORBIDDEN, "Only browsers on this machine may look at this.")
        path = str(scope["path"])
        if path in _FILES:
            name, kind = _FILES[path]
            return Response(200, _file(name), kind, _HEADERS)
        try:
            asked = http.question(scope)
            refresh_s = _number(asked, "refresh", _LONGEST_REFRESH_S)
            text = self._render(path, asked, refresh_s)
        except NotAdmittedError as refused:
            return self._error(refused)
        refresh = ((b"refresh", str(refresh_s).encode()),) if refresh_s else ()
        return Response(200, text.encode(), _HTML, (*_HEADERS, *refresh))

    def missing(self, scope: Event) -> Response:
        """Answer a browser that asks for a path that does not exist."""
        if not http.is_loopback(scope):
            raise NotAdmittedError(_FORBIDDEN, "Only browsers on this machine may look at this.")
        return self._error(NotAdmittedError(_NOT_FOUND, f"There is nothing at {scope['path']}."))

    def _error(self, refused: NotAdmittedError) -> Response:
        """Show an error with the ways back."""
        text = (
            _environment()
            .get_template("error.html")
            .render(
                facts=self._facts,
                refresh_s=None,
                path="/",
                status=refused.status,
                words=refused.text[:_LONGEST_ERROR],
            )
        )
        return Response(refused.status, text.encode(), _HTML, _HEADERS)

    def _render(self, path: str, asked: dict[str, str], refresh_s: int | None) -> str:
        if path == "/":
            name, found = self._overview()
        elif path == f"{FOLDER}canisters":
            name, found = self._canisters(asked)
        elif path == f"{FOLDER}messages":
            name, found = self._messages(asked)
        elif path.startswith(_CANISTER):
            name, found = self._canister(path.removeprefix(_CANISTER), asked)
        else:
            raise NotAdmittedError(_NOT_FOUND, "There is no such page.")
        template = _environment().get_template(f"{name}.html")
        return template.render(facts=self._facts, refresh_s=refresh_s, path=path, **found)

    def _overview(self) -> _View:
        facts = self._facts
        found = {"canisters": facts.canisters(), "messages": facts.messages()}
        return "overview", {**found, "faults": facts.faults(), "prices": facts.prices()}

    def _canisters(self, asked: dict[str, str]) -> _View:
        after = _principal(asked["after"]) if "after" in asked else None
        return "canisters", {"canisters": self._facts.canisters(after)}

    def _messages(self, asked: dict[str, str]) -> _View:
        rent = "rent" in asked
        messages = self._facts.messages(before=_number(asked, "before"), rent=rent)
        return "messages", {"messages": messages, "rent": rent}

    def _canister(self, text: str, asked: dict[str, str]) -> _View:
        canister = _principal(text)
        held = self._facts.find(canister)
        before, rent = _number(asked, "before"), "rent" in asked
        messages = self._facts.messages(before=before, canister=canister, rent=rent)
        if held is None and not messages.messages:
            raise NotAdmittedError(_NOT_FOUND, f"There is no canister {canister}.")
        found = {"id": canister, "held": held, "messages": messages, "rent": rent}
        logs, snapshots = self._facts.logs(canister), self._facts.snapshots(canister)
        return "canister", {**found, "logs": logs, "snapshots": snapshots}


def _number(asked: dict[str, str], name: str, most: int = (1 << 63) - 1) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        raise NotAdmittedError(_BAD_REQUEST, f"{name} is a number from 0 to {most}.")
    return min(int(text), most)


def _principal(text: str) -> Principal:
    try:
        return Principal.parse(text)
    except FormatError as error:
        raise NotAdmittedError(_BAD_REQUEST, error.what) from error


@cache
def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()


@cache
def _environment() -> "Environment":
    # Imported when somebody looks: a network that nobody looks at starts faster.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "method": wording.method,
        "reason": printable,
        "log_line": wording.log_line,
        "number": wording.number,
        "hexadecimal": wording.hexadecimal,
        "digest": wording.digest,
        "moment": wording.moment,
        "span": wording.span,
        "short": wording.short,
        "bytes": units.format_bytes,
        "cycles": units.format_cycles,
    }
    environment.globals |= {"item_words": ITEMS}
    return environment
