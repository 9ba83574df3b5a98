"""Options that say where a command works and as whom, declared once.

A command has one parameter, `where: ContextArguments`; `with_where` gives it the options in place
of that parameter.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Final

from datanode.command_context import ContextArguments
from uploader.cli import options
from uploader.cli.amounts import parse_rate

_WHERE: Final = "where"
_OPTIONS: Final = {
    "node": options.Node,
    "network": options.Network,
    "identity": options.Identity,
    "state": options.State,
    "root_key": options.RootKey,
    "limit_rate": options.LimitRate,
}
"""In the order of the help."""


def with_where(
    *, state: bool = False, limit_rate: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace the parameter `where` of a command by the options that it is made of.

    Args:
        state: Take `--state` as well.
        limit_rate: Take `--limit-rate` as well.
    """
    left_out = {"state": not state, "limit_rate": not limit_rate}
    taken = {name: kind for name, kind in _OPTIONS.items() if not left_out.get(name)}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def expanded(**given: object) -> None:
            found = {name: given.pop(name, None) for name in _OPTIONS}
            texts = {name: each if isinstance(each, str) else None for name, each in found.items()}
            given[_WHERE] = ContextArguments(
                node=texts["node"],
                network=texts["network"],
                identity=texts["identity"],
                state=texts["state"],
                root_key=texts["root_key"],
                limit_rate=parse_rate(texts["limit_rate"]),
            )
            command(**given)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name == _WHERE:
                parameters += [
                    inspect.Parameter(
                        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
                    )
                    for name, kind in taken.items()
                ]
            else:
                parameters.append(parameter)
        expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        expanded.__annotations__ = {each.name: each.annotation for each in parameters}
        return expanded

    return decorate
