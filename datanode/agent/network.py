"""Where the network is, and by whose signature it is believed.

The root key is the one thing that everything else is proven by, so it is pinned (mainnet),
configured, or, for a network on this machine only, asked for and said so.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from datanode.agent.bls import DER_PREFIX, PUBLIC_KEY_BYTES
from datanode.agent.fields import CborFields
from datanode.agent.names import LOCAL, MAINNET
from datanode.agent.proxies import unreadable
from datanode.agent.retry import retrying
from datanode.agent.transport import HttpRefusedError, Transport, is_loopback
from datanode.cbor import decode
from datanode.errors import FormatError, NetworkError, UsageError
from datanode.text import printable

MAINNET_ROOT_KEY: Final = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
    "814c0e6ec71fab583b08bd81373c255c3c371b2e84863c98a4f1e08b74235d14fb5d9c0cd546d968"
    "5f913a0c0b2cc5341583bf4b4392e467db96d65b9bb4cb717112f8472e0d5a4d14505ffd7484b012"
    "91091c5f87b98883463f98091a0baaae"
)
"""The Internet Computer's root key in DER; source: interface specification, and every agent."""

MAINNET_URL: Final = "https://icp-api.io"
LOCAL_URL: Final = "http://127.0.0.1:4943"
LOCAL_STATE: Final = Path(".datanode/localnet/network.json")
"""Where the embedded network says where it listens: an object with `url` and `root_key` (hex)."""

_MAINNET_HOSTS: Final = ("icp-api.io", "icp0.io", "ic0.app")
_MAX_STATE_BYTES: Final = 65_536
_BESIDE: Final = frozenset("@?# \t\r\n")
"""What separates more than scheme, host and port, or is silently dropped by `urlsplit`."""


@dataclass(frozen=True, slots=True)
class Network:
    """An endpoint and the key that its answers are verified with.

    Attributes:
        url: Scheme, host and port.
        root_key: DER.
        name: `ic`, `local`, or the URL.
    """

    url: str
    root_key: bytes
    name: str

    def __post_init__(self) -> None:
        if not self.root_key.startswith(DER_PREFIX) or (
            len(self.root_key) != len(DER_PREFIX) + PUBLIC_KEY_BYTES
        ):
            raise UsageError("the root key is not a BLS12-381 key in DER (266 hexadecimal digits)")

    @property
    def is_mainnet(self) -> bool:
        """Whether cycles cost money there."""
        return self.name == MAINNET or self.root_key == MAINNET_ROOT_KEY


def connect(
    name_or_url: str,
    *,
    root_key: bytes | None = None,
    say: Callable[[str], None],
    local_state: Path = LOCAL_STATE,
) -> Network:
    """Find a network and the root key to verify it with.

    Args:
        name_or_url: `ic`, `local`, or a URL.
        root_key: A configured key; it wins over any other.
        say: Told when a key is trusted that nobody configured.
        local_state: Where the embedded network leaves its address.

    Raises:
        UsageError: Not a name or URL, or a network elsewhere without a configured key.
        NetworkError: A network on this machine does not answer.
    """
    for entry in unreadable(os.environ):
        say(f"skipping {printable(entry, 60)} in NO_PROXY: neither a host name nor an address")
    url, known, name = locate(name_or_url, root_key=root_key, local_state=local_state)
    return Network(url, known or fetch_root_key(url, say=say), name)


def locate(
    name_or_url: str, *, root_key: bytes | None = None, local_state: Path = LOCAL_STATE
) -> tuple[str, bytes | None, str]:
    """Find a network without asking it anything.

    Returns:
        Its URL, its root key unless it must be asked for it, and its name.

    Raises:
        UsageError: Not a name or URL, or a network elsewhere without a configured key.
    """
    if name_or_url == MAINNET:
        return MAINNET_URL, root_key or MAINNET_ROOT_KEY, MAINNET
    if name_or_url == LOCAL:
        url, known = _embedded(local_state) or (LOCAL_URL, None)
        return url, root_key or known, LOCAL
    url = _checked(name_or_url)
    if root_key is None and _is_mainnet(url):
        root_key = MAINNET_ROOT_KEY
    if root_key is None and not is_loopback(url):
        raise UsageError(
            f"no root key is configured for {url}",
            hint="Give it with --root-key; it is asked for on this machine's own networks only.",
        )
    return url, root_key, url


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        usable = False
    if not usable or _BESIDE.intersection(url) or parts.path not in ("", "/"):
        raise UsageError(
            f"not a network: {printable(url, 100)}",
            hint="Use `local`, `ic`, or http(s)://HOST:PORT.",
        )
    return url.rstrip("/")


def _is_mainnet(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and any(
        host == known or host.endswith(f".{known}") for known in _MAINNET_HOSTS
    )


def _embedded(path: Path) -> tuple[str, bytes] | None:
    try:
        with path.open("rb") as file:
            state = json.loads(file.read(_MAX_STATE_BYTES))
        url, root_key = state["url"], bytes.fromhex(state["root_key"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{path} does not say where the embedded network is",
            hint="`datanode localnet start` writes it anew.",
        ) from error
    if not is_loopback(_checked(str(url))):
        raise UsageError(f"{path} names a network that is not on this machine")
    return str(url), root_key


def fetch_root_key(url: str, *, say: Callable[[str], None]) -> bytes:
    """Ask a network on this machine for its root key, and say that it is trusted for that.

    Raises:
        UsageError: The network is elsewhere: whoever answers there could be anybody.
        NetworkError: It does not answer, or not like an IC endpoint.
    """
    if not is_loopback(url):
        raise UsageError(f"the root key of {url} must be configured, not asked for")
    try:
        with Transport(url) as transport:
            status = retrying(lambda: transport.get("/api/v2/status"), attempts=2)
        key = CborFields(decode(status), "status").data("root_key")
    except (FormatError, HttpRefusedError) as error:
        raise NetworkError(f"{url} does not answer like an IC endpoint") from error
    except NetworkError as error:
        raise NetworkError(
            f"no network answers at {url}", hint="`datanode localnet start --detach` starts one."
        ) from error
    ending = key.hex()[-16:]
    say(f"trusting the root key ...{ending} that {url} gave, because it is on this machine")
    return key
