"""List the functions of `datanode`, from their signatures."""

import inspect

import datanode
from tests.documents.sections import cell, code, table

_SETTINGS = {"node", "network", "identity", "root_key", "state"}


def functions() -> str:
    """List each function with its arguments; settings, which all take, are left out."""
    rows = [
        (code(_call(name)), cell((getattr(datanode, name).__doc__ or "").splitlines()[0]))
        for name in datanode.__all__
        if inspect.isfunction(getattr(datanode, name))
    ]
    return table(("function", "what it does"), rows)


def _call(name: str) -> str:
    shown, keywords = [], False
    for each in inspect.signature(getattr(datanode, name)).parameters.values():
        if each.name in _SETTINGS:
            continue
        if each.kind is each.KEYWORD_ONLY and not keywords:
            keywords = True
            shown.append("*")
        shown.append(each.name)
    return f"{name}({', '.join(shown)})"
