"""Documents that can be wrong are held to the code."""

import re
import tomllib
from pathlib import Path

import pytest
import typer

from tests.documents.figures import RECORDS, llama_cost
from tests.documents.generators import GENERATORS
from tests.documents.sections import filled, pages
from uploader.cli import main
from uploader.cli.commands import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = list(pages())
LINKED = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    ROOT / "datanode" / "localnet" / "README.md",
    ROOT / "canisters" / "inference" / "INTERFACE.md",
]
GENERATED = re.compile(r"<!-- generated: .*?<!-- end -->", re.DOTALL)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _commands() -> set[str]:
    command = typer.main.get_command(app)
    names: set[str] = set()

    def walk(group: object, prefix: str) -> None:
        for name, sub in group.commands.items():  # type: ignore[attr-defined]
            names.add(f"{prefix}{name}")
            if getattr(sub, "commands", None):
                walk(sub, f"{prefix}{name} ")

    walk(command, "")
    return names


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_generated_sections_are_current(page: Path) -> None:
    text = page.read_text()
    assert filled(text, GENERATORS) == text, "run `.venv/bin/python -m tests.documents`"


@pytest.mark.parametrize("page", LINKED, ids=_name)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [each for each in targets if not re.match(r"[a-z]+:", each)]
    assert not [each for each in local if not (page.parent / each).exists()]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_shown_exists(page: Path) -> None:
    text = GENERATED.sub("", page.read_text())
    fences = re.findall(r"^ *```(\w*).*?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    blocks = "\n".join(body for language, body in fences if not language)
    shown = re.findall(r"^ *datanode ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", blocks, re.MULTILINE)
    shown += re.findall(r"`datanode ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", text)
    known = _commands()
    groups = {name.partition(" ")[0] for name in known if " " in name}
    for words in map(str.split, shown):
        wanted = " ".join(words[: 2 if words[0] in groups and len(words) > 1 else 1])
        assert wanted in known, f"datanode {' '.join(words)}"


@pytest.mark.parametrize("page", LINKED, ids=_name)
def test_every_make_target_shown_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z][a-z-]*)", page.read_text())) <= targets


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_measured_figure_stands_in_generated_sections_only(page: Path) -> None:
    if page.parent.name == "decisions":
        pytest.skip("a record keeps the figures that decided it")
    bits = {str(each) for each in RECORDS["bits_a_weight"].values() if isinstance(each, float)}
    owned = bits | {
        f"{RECORDS['llama']['loaded_by_hand_tc']} TC",
        f"{llama_cost().cycles / 10**12:.1f} TC",
    }
    text = GENERATED.sub("", page.read_text())
    assert not [figure for figure in owned if figure in text]


FIGURE = re.compile(
    r"(?<![\w.,-])(\d[\d,.]*(?:e\d+)?(?: million| billion)?)[ -]?"
    r"(TC|XDR|[GMk]B|[GMK]iB|bytes|bits|%|m?s|seconds|minutes|h|hours|days|years|cycles|instructions"
    r"|frames|messages|chunks|versions|models|nodes|canisters|files|lines|pages|words)\b"
)
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
ANOTHER = {("16", "MiB")}  # the largest signature bundle, and by how much a region grows


def test_no_figure_stands_by_hand_in_two_documents() -> None:
    homes: dict[tuple[str, str], set[Path]] = {}
    for page in LINKED:
        if page.parent.name == "decisions" or page.name == "CHANGELOG.md":
            continue  # records of what decided, or changed, at their time
        text = FENCE.sub("", GENERATED.sub("", page.read_text()))
        for number, unit in FIGURE.findall(text):
            homes.setdefault((number.rstrip(".,"), unit), set()).add(page.relative_to(ROOT))
    assert len(homes) > 20
    assert {each: where for each, where in homes.items() if len(where) > 1}.keys() <= ANOTHER


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_readme_is_short_and_shows_the_demo() -> None:
    prose = re.sub(r"```.*?```|<!--.*?-->|\|", " ", README, flags=re.DOTALL)
    assert len(prose.split()) <= 800
    assert "docs/assets/demo.svg" in README


def test_the_picture_of_the_demo_loads_nothing() -> None:
    picture = (ROOT / "docs" / "assets" / "demo.svg").read_text()
    assert "what&#160;the&#160;demo&#160;showed" in picture
    assert not re.search(r"url\((?!#)|href=|src:", picture)


def test_navigation_names_pages_that_exist() -> None:
    config = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r": ([a-z/-]+\.md)$", config, re.MULTILINE)
    assert named
    assert not [each for each in named if not (ROOT / "docs" / each).exists()]
    top = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert not top - {Path(each).name for each in named}


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in README
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_supported_pythons_are_said_as_they_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [each[-4:] for each in project["classifiers"] if "Python :: 3." in each]
    assert f"Python {versions[0]} to {versions[-1]}" in README
