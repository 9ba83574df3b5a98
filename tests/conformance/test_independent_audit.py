"""The audit in JavaScript, written from the published documents alone: believes what is proven."""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from datanode.agent import identity as identities
from datanode.limits import MAX_TENSORS_A_PAGE
from datanode.localnet.api import LocalNetwork
from datanode.model import ElementType
from datanode.node.port import Grant, ManifestPart, Role, Visibility
from tests.conformance.sealed_model import (
    Maker,
    maker,
    one_symbol_frame,
    sha256s,
    write_everything,
    write_small,
)

pytestmark = pytest.mark.conformance
PROGRAM = Path(__file__).with_name("independent")
DESK = Path(__file__).with_name("independent_desk.mjs")
GOLDEN = Path(__file__).parents[1] / "golden"
WHOLE, DAMAGED, REFUSED = 0, 1, 2
WITNESS_END = -(1 + 4 + 33)
"""The last byte of the tree in a reply of `witness`; version and manifest digest follow."""

LIES = 8
"""How many lies in the answers of one method are tried."""


@dataclass(frozen=True, slots=True)
class Audited:
    """Exit code and output of the audit."""

    code: int
    report: dict[str, Any]

    @property
    def sha256s(self) -> dict[str, str | None]:
        """The SHA-256 of each file."""
        return {file["path"]: file["sha256"] for file in self.report["files"]}


@dataclass(frozen=True, slots=True)
class Auditor:
    """The program, about one node."""

    made: Maker
    desk: "subprocess.Popen[str]"

    def command(self, model: str, *options: object) -> list[str]:
        """The arguments of an audit."""
        where = ("--url", self.made.net.url, "--root-key", self.made.net.root_key.hex())
        which = ("--canister", self.made.node.principal.text, "--model", model)
        # What comes last counts, so that a test can name another key.
        return [*where, *which, *map(str, options)]

    def __call__(self, model: str, *options: object) -> Audited:
        assert self.desk.stdin is not None
        assert self.desk.stdout is not None
        print(json.dumps(self.command(model, *options)), file=self.desk.stdin, flush=True)
        done = json.loads(self.desk.stdout.readline())
        return Audited(done["code"], done["report"])


@pytest.fixture(scope="module")
def program() -> Path:
    """The program with what its lock names, fetched once."""
    folder = Path(__file__).parents[2] / "build/conformance/npm_independent"
    lock = (PROGRAM / "package-lock.json").read_bytes()
    stamp = folder / "installed.json"
    if not stamp.exists() or stamp.read_bytes() != lock:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(PROGRAM, folder)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        stamp.write_bytes(lock)
    for script in (*PROGRAM.glob("*.mjs"), DESK):
        shutil.copy(script, folder)
    return folder


@pytest.fixture(scope="module")
def desk(program: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that audits on demand: starting one and reading the SDK takes most of the time."""
    pipe = subprocess.PIPE
    command = ["node", DESK.name]
    with subprocess.Popen(command, cwd=program, text=True, stdin=pipe, stdout=pipe) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def made(net: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    """A node with a small public model."""
    with maker(net, tmp_path_factory.mktemp("maker")) as made:
        made.seal(write_small(made.folder / "small"), "small")
        made.node.set_visibility("small", Visibility.PUBLIC)
        yield made


@pytest.fixture
def audit(made: Maker, desk: "subprocess.Popen[str]") -> Iterator[Auditor]:
    """The program, on a network without faults."""
    yield Auditor(made, desk)
    made.net.faults.clear()


@pytest.fixture(scope="module")
def everything(made: Maker) -> Path:
    """A public model with tensors of every kind; its source."""
    source = write_everything(made.folder / "everything")
    made.seal(source, "everything")
    made.node.set_visibility("everything", Visibility.PUBLIC)
    return source


def test_somebody_who_trusts_nobody_rebuilds_every_file(
    audit: Auditor, program: Path, everything: Path, tmp_path: Path
) -> None:
    command = ["node", "audit.mjs", *audit.command("everything", "--out", tmp_path)]
    done = subprocess.run(command, cwd=program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (WHOLE, "")
    found = Audited(done.returncode, json.loads(done.stdout))
    version = audit.made.version("everything")
    assert found.sha256s == sha256s(everything) == sha256s(tmp_path)
    assert found.report["damaged"] == []
    assert found.report["manifest"] == version.manifest.hex()
    assert found.report["chunks"] == version.head.chunk_count
    assert found.report["tensors"] == version.head.tensor_count > MAX_TENSORS_A_PAGE
    kinds = {(record.codec_id, record.element) for record in version.records()}
    split = {(2, ElementType.F16), (2, ElementType.BF16), (2, ElementType.F32)}
    assert kinds > {(0, ElementType.BYTES), (1, ElementType.BYTES), *split}


def test_every_golden_frame_and_every_width_of_a_raw_plane_is_decoded(
    program: Path, tmp_path: Path
) -> None:
    # `decoded` holds the raw bytes to the frame's content digest.
    script = """
        import { readFileSync } from "node:fs";
        import { blake3 } from "@noble/hashes/blake3.js";
        import { decoded, frame } from "./formats.mjs";
        for (const path of process.argv.slice(1)) {
          const bytes = readFileSync(path);
          decoded(frame(bytes, blake3(bytes)));
        }
    """
    frames = sorted(GOLDEN.glob("frame_*.bin"))
    assert len(frames) == 9
    for width in range(16):  # of 16 bits is the lower half of a golden F32
        path = tmp_path / f"plane_{width}.bin"
        path.write_bytes(one_symbol_frame(width))
        frames.append(path)
    command = ["node", "--input-type=module", "--eval", script, *map(str, frames)]
    done = subprocess.run(command, cwd=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_flipped_byte_is_named_and_nothing_else(
    audit: Auditor, everything: Path, tmp_path: Path
) -> None:
    version = audit.made.version("everything")
    shard = next(file for file in version.head.files if file.path.endswith(".safetensors"))
    chunk = shard.first_chunk + 2
    (frame,) = audit.made.node.get_frames("everything", version.manifest, [chunk])
    assert isinstance(frame, bytes)
    with audit.made.flipped(frame):
        found = audit("everything", "--out", tmp_path)
    assert found.code == DAMAGED
    (damaged,) = found.report["damaged"]
    assert (damaged["chunk"], damaged["file"]) == (chunk, shard.path)
    assert damaged["frame"] == version.record(chunk).frame.hex()
    others = {path: sha256 for path, sha256 in sha256s(everything).items() if path != shard.path}
    assert found.sha256s == {**others, shard.path: None}
    assert not (tmp_path / shard.path).exists()


@pytest.mark.parametrize("part", list(ManifestPart))
def test_a_flipped_byte_of_a_manifest_proves_nothing(audit: Auditor, part: ManifestPart) -> None:
    frame = audit.made.version("small").part_frame(part)
    with audit.made.flipped(frame):
        found = audit("small")
    assert found.code == REFUSED
    assert found.report["refused"].startswith(f"{part} of the manifest: its BLAKE3 is not")


@pytest.mark.parametrize(
    ("fault", "parameters", "says"),
    [
        ("foreign-certificate", {}, "does not include the canister"),
        ("old-certificate", {"age_s": 900}, "more than 5 minutes in the past"),
        ("pruned-certificate", {}, "does not show canister/.../certified_data"),
        ("lie", {"method": "witness", "at": 300}, "Certificate verification error"),
        ("lie", {"method": "witness", "at": WITNESS_END}, "not what the subnet certified"),
        ("lie", {"method": "get_manifest"}, "its BLAKE3 is not its address"),
        ("skew", {"s": 600}, "more than 5 minutes in the future"),
        ("skew", {"s": -600}, "more than 5 minutes in the past"),
    ],
)
def test_an_answer_that_lies_is_refused(
    audit: Auditor, fault: str, parameters: dict[str, Any], says: str
) -> None:
    scope: dict[str, Any] = {} if fault == "skew" else {"canister": audit.made.node.principal}
    audit.made.net.faults.set(fault, **scope, **parameters)
    found = audit("small")
    assert found.code == REFUSED
    assert says in found.report["refused"]


@pytest.mark.parametrize("method", ["witness", "get_manifest", "get_frames"])
def test_no_lie_changes_what_is_believed(audit: Auditor, method: str) -> None:
    net, node = audit.made.net, audit.made.node.principal
    draw = random.Random(method)
    truth = audit("small").report
    for _ in range(LIES):
        at, xor = draw.randrange(1 << 22), draw.randrange(1, 256)
        net.faults.set("lie", canister=node, method=method, at=at, xor=xor, count=1)
        found = audit("small")
        assert net.faults.struck_count() == 1
        net.faults.clear()
        if found.code == WHOLE:
            assert {**found.report, "certified": None} == {**truth, "certified": None}, (at, xor)
        else:
            assert found.code in {DAMAGED, REFUSED}


def test_what_stands_beside_the_proof_is_not_believed(audit: Auditor) -> None:
    node = audit.made.node.principal
    audit.made.net.faults.set("lie", canister=node, method="witness", at=-1)
    assert audit("small").code == WHOLE
    assert audit.made.net.faults.struck_count() == 1


def test_a_frame_that_a_node_lies_about_is_named(audit: Auditor) -> None:
    assert audit("small").code == WHOLE
    node = audit.made.node.principal
    audit.made.net.faults.set("lie", canister=node, method="get_frames")
    found = audit("small")
    assert found.code == DAMAGED
    last = found.report["chunks"] - 1
    assert [damaged["chunk"] for damaged in found.report["damaged"]] == [last]


def test_another_root_key_makes_every_certificate_a_forgery(audit: Auditor) -> None:
    other = bytearray(audit.made.net.root_key)
    other[-1] ^= 1
    found = audit("small", "--root-key", other.hex())
    assert found.code == REFUSED
    assert "Signature verification failed" in found.report["refused"]


def test_a_state_that_was_put_back_is_refused_by_who_has_seen_more(audit: Auditor) -> None:
    made = audit.made
    made.seal(write_small(made.folder / "first", 1), "growing")
    made.node.set_visibility("growing", Visibility.PUBLIC)
    made.net.faults.mark(made.node.principal, "early")
    made.seal(write_small(made.folder / "second", 2), "growing")
    assert audit("growing", "--seen", 2).report["version"] == 2
    assert audit("growing", "--version", 1, "--seen", 2).sha256s == sha256s(made.folder / "first")
    made.net.faults.set("stale-query", canister=made.node.principal, mark="early")
    assert audit("growing").report["version"] == 1
    found = audit("growing", "--seen", 2)
    assert found.code == REFUSED
    assert found.report["refused"] == "the latest version is 1, and 2 was seen before"


@pytest.mark.parametrize(("lie", "code"), [("content", DAMAGED), ("sha256", REFUSED)])
def test_what_the_maker_claims_is_not_believed_either(audit: Auditor, lie: str, code: int) -> None:
    audit.made.seal_claims(f"claims/{lie}", b"as it is", **{lie: b"as it is said to be"})
    audit.made.node.set_visibility(f"claims/{lie}", Visibility.PUBLIC)
    found = audit(f"claims/{lie}")
    assert found.code == code
    if lie == "content":
        (damaged,) = found.report["damaged"]
        assert damaged["reason"] == "its raw bytes are not its content"
    else:
        assert found.report["refused"] == "the SHA-256 of claims.txt is not the manifest's"


@pytest.mark.parametrize("curve", ["ed25519", "secp256k1"])
def test_a_private_model_is_there_for_its_readers_alone(
    audit: Auditor, tmp_path: Path, curve: str
) -> None:
    made, model = audit.made, f"private/{curve}"
    source = write_small(made.folder / model, 3)
    made.seal(source, model)
    pem = tmp_path / "reader.pem"
    if curve == "ed25519":
        identities.generate(pem)
    else:
        key = ec.generate_private_key(ec.SECP256K1())
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    reader = identities.load(pem).principal
    hidden = audit(model).report["refused"]
    assert hidden == audit("absent").report["refused"].replace("absent", model)
    assert audit(model, "--identity", pem).report["refused"] == hidden
    made.node.grant(Grant(to=reader, role=Role.READER, model=model))
    found = audit(model, "--identity", pem)
    assert (found.code, found.sha256s) == (WHOLE, sha256s(source))
    made.node.revoke(reader, Role.READER, model)
    assert audit(model, "--identity", pem).report["refused"] == hidden
