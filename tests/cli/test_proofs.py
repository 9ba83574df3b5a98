"""Corruption, rollback, and reports: each found, named, and where possible mended."""

import shutil

import pytest

from datanode.node import deploy
from datanode.node.port import ManifestPart
from datanode.principal import Principal
from datanode.reader import Reader
from tests.cli import canisters
from tests.cli.stage import User, checkpoint
from tests.fakes.ledger_judge import paid


@pytest.fixture
def own(user: User) -> User:
    """A controller whose node nobody else uses."""
    made = user.ok("node", "create", "own")
    user.patch.setenv("DATANODE_NODE", "own")
    user.canister = Principal.parse(made["canister"])
    return user


def _flip_part(user: User, model: str, part: ManifestPart) -> None:
    """Flip the last bit of a stored part of a manifest."""
    with user.node() as node:
        version = Reader(node, root_key=user.net.root_key).open_version(model)
        frame = version.part_frame(part)
    offset = user.net.find(user.canister, frame)
    assert offset is not None
    user.net.flip(user.canister, offset + len(frame) - 1, 1)


def test_a_corrupted_byte_is_found_fetched_around_and_mended(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 900, tensors=6, size=1_500_000)
    user.ok("upload", source, "--as", "hurt")
    user.flip("hurt", chunk=3)
    done = user.run("audit", "hurt", "--report", "r.json", "--json")
    assert done.code == 40, done.err
    findings = [item for item in done.results if item.get("kind") == "finding"]
    assert [(f["index"], f["outcome"]) for f in findings] == [(3, "corrupt")]
    assert findings[0]["file"] == source.name
    assert "--repair" in done.error["hint"]
    assert user.run("audit", "--verify", "r.json").code == 40
    done = user.fails(40, "fetch", "hurt", "out")
    assert done.says("chunk 3"), done.err
    assert not (user.home / "out" / source.name).exists()
    before = paid(user.net.ledger())
    user.ok("audit", "hurt", "--repair", source)
    assert paid(user.net.ledger()).frames_count == before.frames_count + 1
    assert user.ok("audit", "hurt")["verdict"] == "ok"
    user.ok("fetch", "hurt", "out")
    assert (user.home / "out" / source.name).read_bytes() == source.read_bytes()
    assert user.run("audit", "--verify", "r.json").code == 40, "the old report still proves"


def test_a_report_without_end_is_refused(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datanode.auditing.report_json.MAX_REPORT_BYTES", 1_000_000)
    assert user.fails(35, "audit", "--verify", "/dev/zero").says("1000001 bytes")


def test_a_scrub_finds_the_same_by_consensus(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 901, tensors=2)
    user.ok("upload", source, "--as", "scrubbed")
    user.flip("scrubbed")
    assert user.run("audit", "scrubbed", "--scrub", "--json").code == 40
    user.ok("audit", "scrubbed", "--repair", source)
    assert user.ok("audit", "scrubbed", "--scrub")["verdict"] == "ok"


def test_uploading_again_mends_what_the_node_lost(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 902, tensors=2)
    user.ok("upload", source, "--as", "again")
    user.flip("again")
    assert user.run("audit", "again", "--scrub").code == 40, "the node knows now"
    user.state.rename(user.home / "lost")
    done = user.ok("upload", source, "--as", "again")
    assert done["version"] == 1
    assert user.ok("audit", "again")["verdict"] == "ok"


@pytest.mark.parametrize("part", list(ManifestPart))
def test_a_corrupted_part_of_a_manifest_is_found_and_mended(user: User, part: ManifestPart) -> None:
    model = f"part-{part}"
    seed = 910 + list(ManifestPart).index(part)
    source = checkpoint(user.home / "m.safetensors", seed, tensors=2)
    user.ok("upload", source, "--as", model)
    _flip_part(user, model, part)
    done = user.run("audit", model, "--json")
    assert done.code == 40, (done.code, done.err)
    user.ok("audit", model, "--repair", source)
    assert user.ok("audit", model)["verdict"] == "ok"
    user.ok("fetch", model, "out")
    assert (user.home / "out" / source.name).read_bytes() == source.read_bytes()


def test_repair_from_another_source_is_refused(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 920)
    user.ok("upload", source, "--as", "wrongsource")
    user.flip("wrongsource", chunk=1)
    other = checkpoint(user.home / "n.safetensors", 921)
    done = user.run("audit", "wrongsource", "--repair", other)
    assert done.code == 31, done.err
    assert user.run("audit", "wrongsource").code == 40
    user.ok("audit", "wrongsource", "--repair", source)


def test_a_node_that_goes_back_is_found_out(own: User) -> None:
    first = checkpoint(own.home / "m.safetensors", 930)
    second = checkpoint(own.home / "n.safetensors", 931)
    own.ok("upload", first, "--as", "m")
    assert own.ok("upload", second, "--as", "m")["version"] == 2
    own.ok("audit", "m")
    seed = bytes(32)
    from datanode.agent.candid import encode
    from datanode.node.candid_interface import SETTINGS

    settings = encode((SETTINGS,), ({"blinding_seed": seed},))
    canisters.reinstall(own, own.canister, deploy.storage_wasm(), settings)
    own.fails(10, "audit", "m")
    (own.state / "seen").rename(own.home / "seen")
    own.state.rename(own.home / "other machine")
    assert own.ok("upload", first, "--as", "m")["version"] == 1
    shutil.rmtree(own.state / "seen")  # what this machine learnt from its upload
    (own.home / "seen").rename(own.state / "seen")
    for command in (["audit", "m"], ["fetch", "m", "out"], ["show", "m"]):
        done = own.fails(24, *command)
        assert done.says("version 1", "snapshot"), done.err
    assert not (own.home / "out").exists()


@pytest.mark.parametrize("part", list(ManifestPart))
def test_scrub_finds_and_repairs_a_damaged_part_of_a_manifest(
    user: User, part: ManifestPart
) -> None:
    model = f"scrubbed-{part}"
    seed = 960 + list(ManifestPart).index(part)
    source = checkpoint(user.home / "m.safetensors", seed, tensors=2)
    user.ok("upload", source, "--as", model)
    _flip_part(user, model, part)
    assert user.run("audit", model, "--scrub", "--json").code == 40
    user.ok("audit", model, "--scrub", "--repair", source)
    assert user.ok("audit", model, "--scrub")["verdict"] == "ok"


def _places(user: User, needle: bytes) -> list[int]:
    """Find every place where some bytes stand in the stable memory."""
    places: list[int] = []
    while (at := user.net.find(user.canister, needle)) is not None:
        user.net.flip(user.canister, at, 1)
        places.append(at)
    for at in places:
        user.net.flip(user.canister, at, 1)
    return places


def test_scrub_finds_and_repairs_damage_of_index_and_references(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 970, tensors=3)
    user.ok("upload", source, "--as", "indexed")
    with user.node() as node:
        digest = Reader(node, root_key=user.net.root_key).open_version("indexed").record(1).frame
    outcomes = set()
    for place in _places(user, digest):
        user.ok("localnet", "fault", "flip", user.canister, "--offset", place + 31)
        done = user.run("audit", "indexed", "--scrub", "--json")
        outcomes |= {item["outcome"] for item in done.results if item.get("kind") == "finding"}
        user.run("audit", "indexed", "--scrub", "--repair", source)
        assert user.ok("audit", "indexed", "--scrub")["verdict"] == "ok"
        user.ok("gc", "--force")
        assert user.ok("audit", "indexed")["verdict"] == "ok"
    assert outcomes >= {"missing", "unprotected", "corrupt"}, outcomes


def test_scrub_finds_and_repairs_a_frame_that_was_erased(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 971, tensors=3)
    user.ok("upload", source, "--as", "erased")
    with user.node() as node:
        version = Reader(node, root_key=user.net.root_key).open_version("erased")
        (frame,) = node.get_frames("erased", version.manifest, [1])
    assert isinstance(frame, bytes)
    offset = user.net.find(user.canister, frame)
    erased = ["--offset", offset, "--length", len(frame)]
    user.ok("localnet", "fault", "erase", user.canister, *erased)
    done = user.run("audit", "erased", "--scrub", "--json")
    assert done.code == 40
    found = [(f["index"], f["outcome"]) for f in done.results if f.get("kind") == "finding"]
    assert found == [(1, "corrupt")]
    user.ok("audit", "erased", "--scrub", "--repair", source)
    assert user.ok("audit", "erased")["verdict"] == "ok"
