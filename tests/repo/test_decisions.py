"""Every decision is one page of one form, and the index links to pages that exist."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
RECORDS = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "index.md"})
MAX_WORDS = 600
PARTS = ["Context", "Decision", "Rejected", "Consequences"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_record_has_title_status_and_four_parts(record: Path) -> None:
    text = record.read_text()
    assert re.match(r"# \S.*\n+Status: (accepted|superseded by|proposed)\b", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    for part in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]:
        assert part.strip()


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_record_is_one_page(record: Path) -> None:
    assert len(record.read_text().split()) <= MAX_WORDS


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_record_refers_to_nothing_outside_the_repository(record: Path) -> None:
    text = record.read_text()
    assert not re.search(r"shared folder|design page|\bpage [01]\d\b", text)
    paths = set(re.findall(r"(?<![\w.)\]}*>:~/-])/(?:[\w.-]+/)+", text))
    assert paths <= {"/_/", "/proc/self/"}, "of a machine, and not of a network or of Linux"


def test_index_lists_records_that_exist() -> None:
    listed = re.findall(r"\]\(([a-z0-9-]+\.md)\)", (FOLDER / "index.md").read_text())
    assert len(listed) == len(set(listed))
    assert not set(listed) - {record.name for record in RECORDS}
