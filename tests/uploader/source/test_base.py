"""uploader.source.base: paths that a manifest may carry, and text that a terminal may show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import SourceError
from uploader.source.base import check_path, shown


@pytest.mark.parametrize("path", ["a", "a/b.json", "1_Pooling/config.json", "-x", "n" * 512])
def test_plain_relative_paths_pass(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a/", "a//b", "./a", "a/./b", "..", "a/../b", "a b", "a\n", "n" * 513, "a\\b"],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(SourceError):
        check_path(path)


@given(st.text())
def test_shown_text_is_short_and_printable(text: str) -> None:
    result = shown(text)
    assert result.isascii()
    assert result.isprintable()
    assert len(result) <= 12 * 83
