"""Access to models: granted, listed, published, transferred; nonsense is refused."""

import pytest

from datanode.principal import Principal
from tests.cli.stage import MakeUser, User, checkpoint

PRINCIPAL = Principal(b"\x01" * 29).text


def test_grants_are_listed_with_their_limits(user: User, stranger: MakeUser) -> None:
    user.ok("upload", checkpoint(user.home / "m.safetensors", 30), "--as", "shared")
    other = stranger("reader").principal
    user.arrive()
    user.ok("grant", other, "--model", "shared", "--days", 2)
    user.ok("grant", other, "uploader", "--model", "shared", "--quota", 5)
    done = user.run("grants", "shared", "--json")
    roles = {item["role"]: item for item in done.results[:-1]}
    assert {item["to"] for item in roles.values()} == {other.text}
    assert roles["reader"]["expires_ns"] > 0
    assert (roles["uploader"]["quota_bytes"], roles["uploader"]["expires_ns"]) == (5, None)
    assert done.summary["owner"] == user.principal.text
    shown = user.run("grants", "shared")
    assert shown.says("until 20", "at most 5 B of frames", "shared is private, owned by")
    user.ok("revoke", other, "uploader", "--model", "shared")
    assert [each["role"] for each in user.run("grants", "shared", "--json").results[:-1]] == [
        "reader"
    ]
    assert user.run("grants").code == 0, "controllers see the roles on all models"


def test_published_model_is_read_by_anyone_until_it_is_unpublished(user: User) -> None:
    user.ok("upload", checkpoint(user.home / "m.safetensors", 31), "--as", "open")
    anyone = ["show", "open", "--identity", "anonymous"]
    assert user.run(*anyone).code == 10
    assert user.ok("publish", "open")["visibility"] == "public"
    assert user.run(*anyone).code == 0
    assert user.run("grants", "open").says("open is public")
    assert user.ok("unpublish", "open")["visibility"] == "private"
    assert user.run(*anyone).code == 10


def test_transferred_model_belongs_to_its_new_owner(user: User, stranger: MakeUser) -> None:
    user.ok("upload", checkpoint(user.home / "m.safetensors", 32), "--as", "given")
    other = stranger("heir")
    heir = other.principal
    user.arrive()
    assert user.fails(2, "transfer", "given", heir).says("--yes", "nothing was changed")
    assert user.ok("transfer", "given", heir, "--yes")["owner"] == heir.text
    assert user.ok("show", "given")["owner"] == heir.text
    other.arrive()
    assert other.ok("publish", "given")["visibility"] == "public"
    user.arrive()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["grant", "public", "--model", "m"], "datanode publish MODEL"),
        (["grant", "public", "uploader", "--days", 1, "--quota", 5, "--model", "m"], "publish"),
        (["grant", "public"], "publish"),
        (["revoke", "public", "--model", "m"], "datanode unpublish MODEL"),
        (["transfer", "m", "public"], "publish"),
        (["grant", PRINCIPAL, "--quota", 5], "--quota limits uploaders"),
        (["grant", PRINCIPAL, "--days", 0], "--days takes"),
        (["grant", PRINCIPAL, "--days", -1], "--days takes"),
        (["grant", PRINCIPAL, "--days", "nan"], "--days takes"),
        (["grant", PRINCIPAL, "--days", "inf"], "--days takes"),
    ],
)
def test_grant_that_makes_no_sense_is_refused(user: User, args: list[object], words: str) -> None:
    assert user.fails(2, *args).says(words)


def test_similar_names_are_suggested(user: User) -> None:
    user.ok("upload", checkpoint(user.home / "m.safetensors", 33), "--as", "llama-3-8b")
    for command in (
        ["show", "llama-3-8"],
        ["fetch", "Llama-3-8B", "out"],
        ["audit", "lama-3-8b"],
        ["delete", "llama-38b", "--yes"],
        ["publish", "llama3-8b"],
        ["grants", "llama-3-8c"],
    ):
        done = user.fails(10, *command)
        assert done.says("Did you mean llama-3-8b?"), (command, done.err)
    assert not user.fails(10, "show", "quite-another").says("Did you mean")
    assert user.fails(10, "models", "--node", "mian").says("Did you mean main?")
    assert user.fails(10, "node", "remove", "mian").says("Did you mean main?")
