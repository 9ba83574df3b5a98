"""Promises of the house: who may import a vendor, how long a file is, what is never committed."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [*ROOT.glob("datanode/**/*.py"), *ROOT.glob("uploader/**/*.py")]

HOMES = {
    "certifi": ("datanode/agent/http_pool.py",),
    "httpcore": (
        "datanode/agent/transport.py",
        "datanode/agent/http_pool.py",
        "datanode/agent/deadline.py",
    ),
    "tenacity": ("datanode/agent/transport.py", "datanode/agent/retry.py"),
    "py_arkworks_bls12381": ("datanode/agent/bls.py", "datanode/localnet/"),
    "wasmtime": ("datanode/localnet/", "datanode/codec/compiled.py"),
    "uvicorn": ("datanode/localnet/",),
    "jinja2": ("datanode/localnet/gateway/page/", "datanode/inference/chat.py"),
    "fsspec": ("datanode/filesystem.py",),
    "huggingface_hub": ("uploader/source/hub.py", "uploader/source/hub_errors.py"),
    "httpx2": ("uploader/source/hub.py", "uploader/source/hub_errors.py"),
    "model_signing": ("datanode/model_signature/bundle_writer.py",),
    "ml_dtypes": ("datanode/reader/arrays.py",),
    "pytest": ("datanode/localnet/fixtures.py",),
    "blake3": ("datanode/digest.py",),
    "zstandard": ("datanode/codec/",),
    "boto3": ("uploader/source/s3.py",),
    "botocore": ("uploader/source/s3.py", "uploader/source/s3_errors.py"),
    "safetensors": ("uploader/source/safetensors.py",),
    "sqlalchemy": ("uploader/state/",),
    "alembic": ("uploader/state/",),
    "rich": ("uploader/cli/", "uploader/progress.py"),
    "typer": ("uploader/cli/",),
}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "core", "manager"}
MAX_LINES = 500


def _tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_each_vendor_is_imported_in_one_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {vendor}"
        for path in CODE
        for vendor in set(_imports(path)) & HOMES.keys()
        if not str(path.relative_to(ROOT)).startswith(HOMES[vendor])
    ]
    assert not wrong


def test_files_are_short_and_have_specific_names() -> None:
    assert not [path for path in CODE if path.stem in BANNED_NAMES]
    assert not [path for path in CODE if len(path.read_text().splitlines()) > MAX_LINES]


def test_every_file_has_a_docstring() -> None:
    silent = [path for path in CODE if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not [path for path in silent if path.read_text().strip()]


def test_no_package_host_or_local_path_is_committed() -> None:
    host = re.compile(
        r"https?://[a-z0-9.-]*(pypi|pythonhosted|crates\.io|npmjs|proxy|mirror|registry)"
        r"|/(root|home/[a-z]+)/",
        re.IGNORECASE,
    )
    allowed = {"Cargo.lock", "test_house.py", "LICENSE"}
    found = []
    for path in _tracked():
        if path.name in allowed or path.suffix in {".gz", ".bin", ".db"}:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}: {match.group(0)}" for match in host.finditer(text)]
    assert not found


def test_cargo_lock_names_only_the_index() -> None:
    sources = set(
        re.findall(r'^source = "(.*)"$', (ROOT / "canisters/Cargo.lock").read_text(), re.MULTILINE)
    )
    assert sources <= {"registry+https://github.com/rust-lang/crates.io-index"}


def test_no_todo_marks() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|unimplemented!|todo!\(")
    texts = [p for p in _tracked() if p.suffix in {".py", ".rs"} and p.name != "test_house.py"]
    assert not [path.name for path in texts if marks.search(path.read_text())]


TWICE = {
    "__main__": "an entry point",
    "api": "the front door of a package, and of the embedded network alone",
    "client": "speaks to the network, and to an inference canister",
    "command_context": "what a command works with: here to read, there to upload",
    "identity": "keys, and the commands for them",
    "batch": "a list of uploads, and its command",
    "copy": "a copy between nodes, and its command",
    "upload": "an upload, and its command",
    "signing": "a signature, and the function that makes one",
}
"""File names that stand more than once, and what they mean everywhere."""


def test_file_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = {}
    for path in CODE:
        homes.setdefault(path.stem, []).append(str(path.relative_to(ROOT)))
    several = {name: where for name, where in homes.items() if len(where) > 1}
    assert {name: several[name] for name in several.keys() - TWICE.keys() - {"__init__"}} == {}
    assert several.keys() >= TWICE.keys()  # an entry that is not needed goes


def test_class_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = {}
    for path in CODE:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}
