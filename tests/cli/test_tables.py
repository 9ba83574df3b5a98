"""Tables fit the terminal, and what is copied or compared stays whole."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from datanode.principal import Principal
from tests.cli.stage import User, checkpoint
from uploader.cli.table_view import fitted

CANISTER = "bnz7o-iuaaa-aaaaa-qaaaa-cai"
PERSON = "umw7x-desky-xz34i-urtor-trbkp-r2aoo-tlxti-orhym-nhjix-ddk3b-yae"
NODE = "the-first-of-many-nodes-with-a-long-name"
MODEL = "a-model-of-somebody-who-likes-long-names"


def lines(columns: list[str], rows: list[list[str]], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, highlight=False)
    console.print(fitted(columns, rows, width))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_table_with_room_is_left_alone() -> None:
    assert lines(["a", "> b"], [[CANISTER, "1"], ["x", "20"]], 80) == [
        "a                             b",
        f"{CANISTER}   1",
        "x                            20",
    ]


def test_a_principal_without_room_is_shown_by_its_ends() -> None:
    shown = lines(["name", "> cycles", "owner"], [["m", "1,000", PERSON]], 45)
    assert shown[1] == "m      1,000  umw7x-…-yae"
    shown = lines(["name", "> cycles", "owner"], [["m", "1,000", f"{CANISTER} call"]], 40)
    assert shown[1] == "m      1,000  bnz7o-…-cai call"


def test_a_principal_with_room_for_two_lines_breaks_between_its_groups() -> None:
    shown = lines(["label", PERSON], [["controllers", f"{PERSON} {CANISTER}"]], 60)
    text = "".join(line[len("controllers") :].strip() for line in shown[2:])
    assert text == PERSON + CANISTER
    assert all(line.endswith(("-", "yae", "cai")) for line in shown)


def test_a_name_that_looks_like_a_principal_is_not_shortened() -> None:
    name = "llama-llama-llama-llama-cai"
    assert "…" not in "".join(lines(["name", "> n"], [[name, "1"]], 20))


def test_brackets_in_names_are_no_styles() -> None:
    assert lines(["tensor"], [["[red]w[/red]"], ["[/bold]"], ["[F32]"]], 80)[1:] == [
        "[red]w[/red]",
        "[/bold]",
        "[F32]",
    ]


@given(
    rows=st.lists(
        st.tuples(
            st.one_of(
                st.binary(min_size=1, max_size=29).map(lambda raw: Principal(raw).text),
                st.text(st.characters(categories=["L", "N", "P"]), max_size=90),
            ),
            st.integers(-(10**18), 10**18).map("{:,}".format),
            st.text("abc de-", max_size=40),
        ),
        min_size=1,
        max_size=5,
    ),
    width=st.integers(55, 200),
)
def test_no_line_is_wider_than_the_terminal_and_no_number_breaks(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    shown = lines(["who", "> cycles", "what"], [list(row) for row in rows], width)
    assert max(map(cell_len, shown)) <= width
    assert all(any(number in line for line in shown) for _, number, _ in rows)


def test_numbers_stay_whole_in_a_terminal_that_is_too_narrow() -> None:
    (line,) = lines(["> a", "> b"], [["100,000,000,000", "200,000,000,000"]], 20)[1:]
    assert line == "100,000,000,000  200,000,000,000"


@pytest.mark.parametrize("columns", ["", "0", "x", "-1", "1"])
def test_a_width_that_is_none_hides_nothing(
    user: User, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert user.run("node", "list").says("name", "main", "cai")


@pytest.fixture
def holder(user: User) -> User:
    """A user with long names and many uploads."""
    source = checkpoint(user.home / "a-folder-with-a-long-name" / f"{MODEL}.safetensors", 1)
    user.ok("node", "add", NODE, user.canister)
    user.ok("upload", source, "--as", MODEL, "--node", "main")
    user.ok("grant", "w7x7r-cok77-xa", "reader", "--model", MODEL, "--node", "main")
    return user


@pytest.mark.parametrize(
    "command",
    [
        "node list",
        "node status main",
        "plan a-folder-with-a-long-name --node main",
        "status --node main",
        "models --node main",
        f"show {MODEL} --tensors --node main",
        "cost",
        "doctor",
        "localnet ledger",
        "localnet fault list",
    ],
)
def test_every_table_fits_eighty_columns(
    holder: User, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    number = holder.ok(
        *("localnet", "fault", "set", "latency", "--ms", "1", "--count", "1", "--every", "1000"),
        *("--canister", holder.canister, "--method", "http_request", "--verb", "query"),
    )["number"]
    try:
        whole = holder.run(*command.split())
        monkeypatch.setenv("COLUMNS", "80")
        done = holder.run(*command.split())
    finally:
        holder.ok("localnet", "fault", "clear", number)
    assert whole.code == done.code == 0, done.err
    assert "…" not in whole.out, "what is piped is whole"
    # A sentence is wrapped by the terminal itself; the last line may be one.
    table = done.out.splitlines()[:-1]
    assert table
    assert max(map(cell_len, table)) <= 80


def test_the_findings_of_an_audit_fit_eighty_columns(
    holder: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.flip(MODEL)
    monkeypatch.setenv("COLUMNS", "80")
    done = holder.run("audit", MODEL, "--node", "main")
    assert done.code == 40
    table = done.out.splitlines()[:-1]
    assert len(table) > 1
    assert max(map(cell_len, table)) <= 80
