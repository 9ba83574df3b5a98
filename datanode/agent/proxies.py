"""Which proxy the environment names for a URL: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.

The variables have no specification; these rules are those of curl: lower case wins, `NO_PROXY` is a
list of host names (with all their subdomains), addresses, networks (`10.0.0.0/8`) and `*`, each
with an optional port. Unreadable entries are skipped: one typing error must not stop every command.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy to reach `url` by; None for a direct connection.

    Raises:
        ValueError: `url` is malformed.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    for entry in _entries(environment):
        pattern, of_port = _split(entry)
        if of_port in (None, port) and _matches(pattern, host):
            return None
    proxy = _variable(environment, f"{parts.scheme}_proxy") or _variable(environment, "all_proxy")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy or None


def unreadable(environment: Mapping[str, str]) -> list[str]:
    """Return the entries of `NO_PROXY` that are neither names nor addresses."""
    return [entry for entry in _entries(environment) if not _is_readable(_split(entry)[0])]


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _entries(environment: Mapping[str, str]) -> Iterator[str]:
    for entry in _variable(environment, "no_proxy").split(","):
        if entry.strip():
            yield entry.strip()


def _split(entry: str) -> tuple[str, int | None]:
    """Split `host:port`, `[address]:port` and bare addresses."""
    if entry.startswith("["):
        host, closing, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
        if not closing or (rest and not port.isdecimal()):
            return entry, None
        return host, int(port) if port else None
    host, colon, port = entry.rpartition(":")
    if colon and ":" not in host and port.isdecimal():
        return host, int(port)
    return entry, None


def _is_readable(pattern: str) -> bool:
    if not pattern.isascii() or set(pattern) & set(" \t[]@?#"):
        return False
    return _network(pattern) is not None or (":" not in pattern and "/" not in pattern)


def _matches(pattern: str, host: str) -> bool:
    if pattern == "*":
        return True
    network = _network(pattern)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = pattern.lower().lstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    return network is not None and address in network


def _network(pattern: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return None
