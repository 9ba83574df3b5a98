"""Byte tables of the formats, from the docstrings of the files that own them."""

import ast
from typing import Final

from tests.documents.sections import ROOT

OWNERS: Final = {
    "frame": "datanode/frame.py",
    "zstd": "datanode/codec/zstd.py",
    "mask-split": "datanode/codec/masksplit.py",
    "raw-plane": "datanode/codec/bits.py",
    "manifest": "datanode/manifest/head.py",
    "pages": "datanode/manifest/pages.py",
    "placement": "datanode/placement.py",
    "fleet-index": "datanode/fleet_index.py",
}


def description(owner: str) -> str:
    """Turn the docstring of a format's owner into Markdown; literal blocks stay as they are."""
    docstring = ast.get_docstring(ast.parse((ROOT / owner).read_text())) or ""
    parts = [f"Owner: `{owner}`."]
    # The first line is the page's heading.
    for block in docstring.split("\n\n")[1:]:
        if block.startswith("    "):
            lines = "\n".join(line.removeprefix("    ") for line in block.splitlines())
            joined = parts[-1].endswith("```")
            parts[-1:] = (
                [f"{parts[-1].removesuffix('```')}\n{lines}\n```"]
                if joined
                else [parts[-1], f"```text\n{lines}\n```"]
            )
        elif block.startswith(("- ", "| ")):
            parts.append(block)
        else:
            parts.append(" ".join(block.split()).replace("::", ":").replace("<", "&lt;"))
    return "\n\n".join(parts)
