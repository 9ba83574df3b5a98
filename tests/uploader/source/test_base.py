"""uploader.source.base: paths that a manifest may carry, and text that a terminal may show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import SourceError
from datanode.text import shown
from uploader.source.base import check_path, check_together


@pytest.mark.parametrize(
    "path", ["a", "a/b.json", "1_Pooling/config.json", "-x", "n" * 255, "/".join(["n" * 255] * 2)]
)
def test_plain_relative_paths_pass(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "./a",
        "a/./b",
        "..",
        "a/../b",
        "a b",
        "a\n",
        "n" * 256,
        "a/" * 256 + "a",
        "a\\b",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(SourceError):
        check_path(path)


@pytest.mark.parametrize("paths", [{"a", "a/b"}, {"a/b", "c", "a/b/c/d"}])
def test_a_file_that_is_a_folder_too_is_refused(paths: set[str]) -> None:
    with pytest.raises(SourceError, match="also the folder of"):
        check_together(paths)
    check_together({"a/b", "a.b", "a-b/c", "ab"})


@given(st.text())
def test_shown_text_is_short_and_printable(text: str) -> None:
    result = shown(text)
    assert result.isascii()
    assert result.isprintable()
    assert len(result) <= 12 * 83
