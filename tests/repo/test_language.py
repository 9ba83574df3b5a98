"""Docstrings and help texts open in plain language."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BANNED = re.compile(r"(Word (that|of)|Ours|Who(ever)?|What|Somebody|Nobody)\b")
FOLDERS = ("datanode", "uploader", "migrations", "tests")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring and of every `help=` argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring
        elif (
            isinstance(node, ast.keyword)
            and node.arg == "help"
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.lineno, node.value.value


def banned(source: str) -> list[tuple[int, str]]:
    """List the texts of a source file that open with a banned phrase."""
    found = texts(ast.parse(source))
    return [(line, text.splitlines()[0]) for line, text in found if BANNED.match(text)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_banned_opening(file: Path) -> None:
    assert banned(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""Word that there is none."""',
        'def f():\n    """Who signs."""',
        'option(help="What is sent.")',
        'class A:\n    """Ours: a limit."""',
    ],
)
def test_recognizes_banned_openings(source: str) -> None:
    assert len(banned(source)) == 1
