"""Amounts and names as people type them."""

from datanode.agent.names import LOCAL
from datanode.errors import FormatError, UsageError
from datanode.folders import config_folder
from datanode.node import registry
from datanode.principal import Principal
from datanode.units import TC


def parse_cycles(text: str) -> int:
    """Read a count of cycles: an integer, or a decimal number of TC.

    Raises:
        UsageError: It is neither.
    """
    number = text.strip().upper().replace("_", "")
    try:
        cycles = (
            int(float(number.removesuffix("TC")) * TC) if number.endswith("TC") else int(number)
        )
    except (ValueError, OverflowError):
        raise UsageError(f"not a count of cycles: {text!r}") from None
    if cycles < 0:
        raise UsageError("a count of cycles cannot be negative")
    return cycles


def parse_principal(text: str) -> Principal:
    """Read a principal.

    Raises:
        UsageError: It is none.
    """
    try:
        return Principal.parse(text)
    except FormatError as error:
        raise UsageError(error.what, hint="It looks like `aaaaa-aa` or `w7x7r-cok77-xa`.") from None


def parse_canister(text: str) -> Principal:
    """Read a canister of the embedded network: its id, or the name of a node there.

    Raises:
        UsageError: It is neither.
    """
    known = registry.nodes(config_folder(), network=LOCAL).get(text)
    return parse_principal(text) if known is None else known
