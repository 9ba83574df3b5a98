"""Describe every command from the declarations that `--help` prints."""

from collections.abc import Iterator
from typing import Any, Final

import typer

from tests.documents.sections import cell, code, table
from uploader.cli.commands import app

# Typer carries a click of its own, so its classes are taken as they come.
Command = Any
Context = Any
_AS_IT_IS: Final = "\b"
_HIDDEN: Final = {"--help", "--install-completion", "--show-completion"}


def _walk(command: Command, name: str, parent: Context = None) -> Iterator[tuple[Command, Context]]:
    context = command.context_class(command, info_name=name, parent=parent)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield command, context
        return
    for each, child in inner.items():
        yield from _walk(child, each, context)


def leaves() -> list[tuple[Command, Context]]:
    """List the commands that do something, each with its context."""
    return list(_walk(typer.main.get_command(app), "datanode"))


def summary() -> str:
    """List all commands with their one-line summaries."""
    rows = [
        (f"[`{context.command_path}`](#{_anchor(context)})", cell(command.get_short_help_str(200)))
        for command, context in leaves()
    ]
    return table(("command", "what it does"), rows)


def _anchor(context: Context) -> str:
    return str(context.command_path).replace(" ", "-")


def reference() -> str:
    """Describe each command: usage, help, arguments and options."""
    return "\n\n".join(_section(command, context) for command, context in leaves())


def _section(command: Command, context: Context) -> str:
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    parts = [f"## {context.command_path}", _prose(command.help), f"```\n{usage}\n```"]
    records = [param.get_help_record(context) for param in command.params]
    rows = [
        (code(left), cell(right))
        for left, right in filter(None, records)
        if left.split()[0] not in _HIDDEN
    ]
    if rows:
        parts.append(table(("argument or option", "meaning"), rows))
    return "\n\n".join(parts)


def _prose(text: str) -> str:
    """Keep what a help text lays out by hand (after a backspace) as it is."""
    return "\n\n".join(_paragraph(block.strip("\n")) for block in text.split("\n\n"))


def _paragraph(block: str) -> str:
    if block.startswith(_AS_IT_IS):
        return f"```text\n{block.removeprefix(_AS_IT_IS).strip()}\n```"
    return " ".join(block.split()).replace("<", "&lt;")
