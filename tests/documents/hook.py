"""mkdocs hook: add decision records that the index does not list yet, so that none is lost."""

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

_INDEX: Final = "decisions/index.md"


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Append the unlisted records to the index of decisions."""
    if page.file.src_uri != _INDEX:
        return markdown
    folder = Path(config.docs_dir) / "decisions"
    listed = set(re.findall(r"\]\(([a-z0-9-]+\.md)\)", markdown)) | {"index.md"}
    others = sorted(path for path in folder.glob("*.md") if path.name not in listed)
    if not others:
        return markdown
    lines = [f"- [{path.read_text().splitlines()[0][2:]}]({path.name})" for path in others]
    return "\n".join([markdown.rstrip(), "", "## Others", *lines, ""])
