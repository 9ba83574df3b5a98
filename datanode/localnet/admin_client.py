"""Asks a running network what is beside the Internet Computer's interface."""

import json
from collections.abc import Mapping
from typing import Final

from datanode.errors import LocalNetworkError

_TIMEOUT_S: Final = 60


def ask(url: str, path: str, body: Mapping[str, object] | None = None) -> object:
    """Ask a running network what is beside the Internet Computer's interface; see `admin`.

    Args:
        url: The network's address.
        path: E.g. `/_/canisters`.
        body: Sent as JSON; None makes a GET.

    Raises:
        LocalNetworkError: It does not answer, or refuses.
    """
    import urllib.error  # noqa: PLC0415 - it brings HTTP along, and help needs none
    import urllib.request  # noqa: PLC0415

    request = urllib.request.Request(  # noqa: S310 - the address of a network of ours
        url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode("utf-8", "replace").strip()
        raise LocalNetworkError(
            f"the embedded network refused: {said}",
            hint="`--help` says what the command takes, the network's page what there is.",
        ) from error
    except OSError as error:
        raise LocalNetworkError(f"the embedded network does not answer: {error}") from error
