"""Access control: programs, and pages served from this machine.

The network hands out cycles to everybody and names stand for keys that everybody knows, so a page
of the web that reached it from somebody's browser could do there what that person can. A browser
says where a request comes from, and a page cannot change what it says:

* `Origin` names the page's server with every request that could change something or whose answer
  the page could read. Only servers on this machine are taken, as developers run them, and canisters
  as websites; `null` is what any page can have itself called.
* `Host` names whom the page believes to speak to. A name that somebody's DNS points at this machine
  is none of ours, and then the page would be of the same origin as the network. A number cannot be
  pointed anywhere.

Programs send no `Origin`, and a `Host` that is one of ours.
"""

import ipaddress
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from datanode.localnet.gateway import http
from datanode.localnet.gateway.http import Event, Response
from datanode.localnet.state.message import NotAdmittedError
from datanode.text import printable

_HERE: Final = "localhost"
_SCHEMES: Final = ("http", "https")
_ELSEWHERE: Final = ("cross-site", "same-site")


def refusal(scope: Event) -> Response | None:
    """Refuse a request that a page from elsewhere makes; None for any other request."""
    for name, value in http.headers(scope):
        if name == "host" and not _is_own_name(value):
            what = f"The network has no name {printable(value)!r}; it answers at localhost."
        elif name == "origin" and not _is_from_here(value):
            what = f"Pages from {printable(value)!r} may not speak to this network."
        else:
            continue
        return http.text(HTTPStatus.FORBIDDEN, what, cors=False)
    return None


def check_own_page(scope: Event) -> None:
    """Refuse a request that any page but the network's own makes.

    Raises:
        RefusedError: It is one.
    """
    headers = dict(http.headers(scope))
    origin, host = headers.get("origin"), headers.get("host")
    is_foreign = origin is not None and origin != f"http://{host}"
    if is_foreign or headers.get("sec-fetch-site") in _ELSEWHERE or not http.is_loopback(scope):
        raise NotAdmittedError(HTTPStatus.FORBIDDEN, "Only programs on this machine may ask this.")


def _is_own_name(host: str) -> bool:
    found = _hostname(f"http://{host}")
    return found is not None and (_is_local(found) or _address(found) is not None)


def _is_from_here(origin: str) -> bool:
    found = _hostname(origin)
    if found is None:
        return False
    address = _address(found)
    return _is_local(found) or (address is not None and address.is_loopback)


def _hostname(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    is_known = parts.scheme in _SCHEMES and "@" not in parts.netloc
    return parts.hostname if is_known else None


def _is_local(name: str) -> bool:
    """Whether a name is this machine's whatever a DNS says: browsers do not ask one for it."""
    bare = name.removesuffix(".")
    return bare == _HERE or bare.endswith(f".{_HERE}")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
