"""mkdocs hook: what a page shows on the site otherwise than in the repository."""

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

_INDEX: Final = "decisions/index.md"
_IN_REPOSITORY: Final = re.compile(r"^In the repository: .*\n+(?=--8<--)")


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Drop the link to a file that the site includes; list all decisions, so that none is lost."""
    if page.file.src_uri != _INDEX:
        return _IN_REPOSITORY.sub("", markdown)
    folder = Path(config.docs_dir) / "decisions"
    listed = set(re.findall(r"\]\(([a-z0-9-]+\.md)\)", markdown)) | {"index.md"}
    others = sorted(path for path in folder.glob("*.md") if path.name not in listed)
    if not others:
        return markdown
    lines = [f"- [{path.read_text().splitlines()[0][2:]}]({path.name})" for path in others]
    return "\n".join([markdown.rstrip(), "", "## Others", *lines, ""])
