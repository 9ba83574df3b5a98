"""Connection pools for HTTP/1.1, direct or through the proxy that the environment names."""

import os
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import certifi
import httpcore

from datanode.agent.proxies import proxy_for

KEEP_ALIVE_S: Final = 5.0
"""An idle connection is closed after this time. Ours."""


def open_pool(
    url: str,
    backend: httpcore.NetworkBackend,
    *,
    is_local: bool,
    max_connections: int,
    environment: Mapping[str, str] = os.environ,
) -> httpcore.ConnectionPool:
    """Open a pool for a URL; nothing is connected yet.

    Args:
        url: Scheme, host and port.
        backend: Opens the connections.
        is_local: The URL leads to this machine: no proxy is used.
        max_connections: Most connections.
        environment: Names proxies and certificate authorities.

    Raises:
        ValueError: The URL or that of the proxy is malformed, or of an unsupported scheme.
        RuntimeError: A SOCKS proxy is named and `socksio` is not installed.
        OSError: The file of authorities cannot be read.
    """
    parts = urlsplit(url)
    if not parts.hostname or not parts.hostname.isprintable():
        raise ValueError("not a host name")
    # Reading every authority's certificate takes longer than a call.
    authorities = _authorities(environment) if parts.scheme == "https" else None
    proxy = None if is_local else proxy_for(url, environment)
    if proxy is None:
        return httpcore.ConnectionPool(
            ssl_context=authorities,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=backend,
        )
    return _proxied(proxy, backend, authorities, max_connections, environment)


def _proxied(
    proxy: str,
    backend: httpcore.NetworkBackend,
    authorities: ssl.SSLContext | None,
    max_connections: int,
    environment: Mapping[str, str],
) -> httpcore.ConnectionPool:
    parts = urlsplit(proxy)
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{bracketed}" + (f":{parts.port}" if parts.port else "")
    if not host or parts.scheme not in ("http", "https", "socks5", "socks5h"):
        raise ValueError("a proxy is http://, https:// or socks5://HOST:PORT")
    if parts.scheme.startswith("socks5"):
        return httpcore.SOCKSProxy(
            proxy_url=address,
            proxy_auth=auth,
            ssl_context=authorities,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=backend,
        )
    return httpcore.HTTPProxy(
        proxy_url=address,
        proxy_auth=auth,
        ssl_context=authorities,
        proxy_ssl_context=_authorities(environment) if parts.scheme == "https" else None,
        max_connections=max_connections,
        max_keepalive_connections=max_connections,
        keepalive_expiry=KEEP_ALIVE_S,
        network_backend=backend,
    )


def _authorities(environment: Mapping[str, str]) -> ssl.SSLContext:
    file, folder = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    if not file and not folder:
        file = certifi.where()
    return ssl.create_default_context(cafile=file or None, capath=folder or None)
