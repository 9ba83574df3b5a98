"""Reports of audits: one that is not what it seems never ends in exit code 0, nor reads as ok."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from datanode.agent import identity as identities
from datanode.agent.network import MAINNET_ROOT_KEY
from datanode.auditing import Full
from datanode.auditing.modes import sentence
from datanode.auditing.report import SIGNATURE_DOMAIN, body_digest
from tests.cli.stage import User, checkpoint

MADE: Final = "r.json"
REFUSED: Final = {2, 23, 34, 35}


@pytest.fixture
def bad_report(user: User) -> dict[str, Any]:
    """The report of an audit that found a damaged chunk, signed by the user."""
    source = checkpoint(user.home / "m.safetensors", 980, tensors=2)
    user.ok("upload", source, "--as", "bad")
    user.flip("bad", chunk=1)
    assert user.run("audit", "bad", "--report", MADE).code == 40
    report: dict[str, Any] = json.loads((user.home / MADE).read_text())
    return report


@pytest.fixture
def good_report(user: User) -> dict[str, Any]:
    """The report of an audit that found nothing, signed by the user."""
    source = checkpoint(user.home / "m.safetensors", 981, tensors=2)
    user.ok("upload", source, "--as", "good")
    user.ok("audit", "good", "--report", MADE)
    report: dict[str, Any] = json.loads((user.home / MADE).read_text())
    return report


def whitewashed(report: dict[str, Any]) -> dict[str, Any]:
    """Let the findings vanish, as consistently as a forger can."""
    count = report["chunk_count"]
    parts = {name for name, *_ in report["checks"]}
    runs = [["chunk", 0, count, "ok"], ["file", 0, 1, "ok"]]
    kept = [run for run in report["checks"] if run[0] not in {"chunk", "file"}]
    order = ["head", "file", "chunk", "chunk_page", "tensor_page", "placement"]
    assert parts <= set(order)
    return {
        **report,
        "checks": sorted([*kept, *runs], key=lambda run: order.index(run[0])),
        "findings": [],
        "counts": dict.fromkeys(report["counts"], 0) | {"ok": count},
        "verdict": "ok",
        "sentence": sentence(Full(), count, count),
    }


def resealed(report: dict[str, Any], signer: identities.Identity | None) -> dict[str, Any]:
    """Seal a report anew, in the name of a signer or of none."""
    body = {name: value for name, value in report.items() if name != "seal"}
    digest = body_digest(body)
    seal = {"digest": digest.hex(), "auditor": None, "public_key": None, "signature": None}
    if signer is not None and signer.public_key_der is not None:
        seal |= {
            "auditor": signer.principal.text,
            "public_key": signer.public_key_der.hex(),
            "signature": signer.sign(SIGNATURE_DOMAIN + digest).hex(),
        }
    return {**body, "seal": seal}


def forged_by_nobody(report: dict[str, Any], _user: User) -> dict[str, Any]:
    return resealed(whitewashed(report), None)


def forged_by_somebody(report: dict[str, Any], user: User) -> dict[str, Any]:
    return resealed(whitewashed(report), identities.generate(user.home / "forger.pem"))


def forged_under_the_old_signature(report: dict[str, Any], _user: User) -> dict[str, Any]:
    return whitewashed(report)


def forged_in_the_name_of_the_auditor(report: dict[str, Any], user: User) -> dict[str, Any]:
    forged = resealed(whitewashed(report), identities.generate(user.home / "forger.pem"))
    forged["seal"]["auditor"] = report["seal"]["auditor"]
    return forged


def of_an_older_format(report: dict[str, Any], _user: User) -> dict[str, Any]:
    return resealed({**whitewashed(report), "v": 1}, None)


FORGERIES: Final[list[Callable[[dict[str, Any], User], dict[str, Any]]]] = [
    forged_by_nobody,
    forged_by_somebody,
    forged_under_the_old_signature,
    forged_in_the_name_of_the_auditor,
    of_an_older_format,
]


def refuse(user: User, report: object, *args: object) -> None:
    """Verify a report that is to be refused, for people and for programs."""
    path = user.home / "forged.json"
    path.write_text(report if isinstance(report, str) else json.dumps(report))
    for more in ([], ["--json"]):
        done = user.run("audit", "--verify", path, *args, *more)
        assert done.code in REFUSED, (done.code, done.err)
        assert done.out == "", "a report that is refused says nothing for itself"
        assert ": ok" not in done.err


@pytest.mark.parametrize("forge", FORGERIES)
def test_forged_report_is_refused(
    user: User,
    bad_report: dict[str, Any],
    forge: Callable[[dict[str, Any], User], dict[str, Any]],
) -> None:
    forged = forge(bad_report, user)
    refuse(user, forged)
    refuse(user, forged, "bad", "--auditor", bad_report["seal"]["auditor"])


def test_genuine_report_of_damage_keeps_its_exit_code(
    user: User, bad_report: dict[str, Any]
) -> None:
    done = user.run("audit", "bad", "--verify", MADE, "--json")
    assert done.code == 40
    assert done.summary["verdict"] == "corrupt"


def test_every_edited_field_is_refused(user: User, good_report: dict[str, Any]) -> None:
    for name, value in good_report.items():
        refuse(user, {**good_report, name: _changed(value)})
    text = (user.home / MADE).read_text()
    for broken in ("", "{}", "[]", text[:-20], "\x00", '{"v": 99}', "9" * 5_000, "[" * 50_000):
        refuse(user, broken)


def _changed(value: object) -> object:
    match value:
        case bool() | None:
            return "x"
        case int():
            return value + 1
        case str():
            return ("0" if value[:1] != "0" else "1") + value[1:]
        case list():
            return [*value, {"x": 1}]
        case dict():
            return {**value, next(iter(value), "x"): "00"}
    return None


def test_report_of_another_network_is_refused(user: User, good_report: dict[str, Any]) -> None:
    refuse(user, good_report, "--root-key", MAINNET_ROOT_KEY.hex())


def test_own_report_is_accepted_and_tells_whose_it_is(
    user: User, good_report: dict[str, Any]
) -> None:
    said = user.ok("audit", "--verify", MADE)
    assert said["auditor"] == user.principal.text
    assert (said["made_ns"], said["certified_ns"]) == (
        good_report["made_ns"],
        good_report["certified_ns"],
    )
    assert said["made"].startswith("20")
    assert said["certified"].startswith("20")
    done = user.run("audit", "--verify", MADE)
    assert done.says(f"audited by {user.principal}", "by a certificate of")


def test_report_of_another_auditor_needs_to_be_trusted(
    user: User, good_report: dict[str, Any]
) -> None:
    mine = good_report["seal"]["auditor"]
    user.pem.rename(user.home / "mine.pem")
    other = identities.generate(user.home / "other.pem").principal.text
    refuse(user, good_report)
    refuse(user, good_report, "--auditor", other)
    refuse(user, good_report, "--identity", user.home / "other.pem")
    refuse(user, good_report, "--identity", "anonymous")
    assert user.ok("audit", "--verify", MADE, "--auditor", mine)["auditor"] == mine
    assert user.ok("audit", "--verify", MADE, "--auditor", other, "--auditor", mine)
    user.patch.setenv("DATANODE_AUDITOR", f"{other} {mine}")
    assert user.ok("audit", "--verify", MADE)["auditor"] == mine
    refuse(user, good_report, "--auditor", other)
    (user.home / "mine.pem").rename(user.pem)
    user.patch.delenv("DATANODE_AUDITOR")
    refuse(user, good_report, "--auditor", other)


def test_report_is_compared_with_what_is_asked_for(user: User, good_report: dict[str, Any]) -> None:
    version = good_report["version"]
    right: list[object] = ["good", "--node", "main", "--version", version, "--max-age", "1h"]
    assert user.ok("audit", *right, "--verify", MADE)["model"] == "good"
    assert user.ok("audit", "--node", user.canister, "--verify", MADE)
    refuse(user, good_report, "bad")
    refuse(user, good_report, "--node", "aaaaa-aa")
    refuse(user, good_report, "--version", version + 1)
    refuse(user, good_report, "--max-age", "0s")
    assert user.run("audit", "--verify", MADE, "--node", "unknown").code == 10


@pytest.mark.parametrize(
    "args",
    [
        ["--verify", MADE, "--max-age", "soon"],
        ["--verify", MADE, "--auditor", "me"],
        ["--verify", MADE, "--scrub"],
        ["--verify", MADE, "--sample", "3"],
        ["--verify", MADE, "--report", "x.json"],
        ["--verify", MADE, "--repair", "m.safetensors"],
        ["m", "--auditor", "aaaaa-aa"],
        ["m", "--max-age", "1d"],
    ],
)
def test_options_that_do_not_go_together_are_refused(user: User, args: list[str]) -> None:
    Path(MADE).write_text("{}")
    assert user.fails(2, "audit", *args).says("error:")


def test_unsigned_report_is_announced(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 982)
    user.ok("upload", source, "--as", "open")
    user.ok("publish", "open")
    done = user.run("audit", "open", "--report", "u.json", "--identity", "anonymous")
    assert done.code == 0, done.err
    assert done.says("it is not signed")
    refuse(user, (user.home / "u.json").read_text())
