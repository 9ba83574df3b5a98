"""A report is believed offline for what it proves, and refused when it was altered."""

import base64
import copy
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from datanode.agent import identity
from datanode.auditing import Mode, Outcome, Sample, audit_model, verify_report
from datanode.auditing.modes import sentence
from datanode.auditing.report import SIGNATURE_DOMAIN, body_digest
from datanode.errors import CertificateError, DataNodeError, FormatError, UnsupportedVersionError
from datanode.principal import Principal
from datanode.reader import Reader
from tests.fakes.certifier import Certifier
from tests.fakes.checkpoints import CHUNK_BYTES, sealed, some_bytes
from tests.fakes.memory_node import MemoryNode

Report: TypeAlias = Any
"""Parsed JSON, to be bent."""

FILES = {"a.bin": some_bytes(30 * CHUNK_BYTES), "c.json": b"{}"}


@pytest.fixture
def node() -> MemoryNode:
    node = MemoryNode()
    model = sealed(node, "llama", FILES)
    sealed(node, "llama", {"a.bin": b"two"})
    node.world.corrupt(model.records[3].frame)
    return node


def report_of(node: MemoryNode, signer: identity.Identity | None, mode: Mode | None = None) -> str:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    report = audit_model(
        reader, "llama", mode, version=1, prover=node.world, clock_ns=node.world.clock
    )
    return report.to_json(signer)


@pytest.fixture
def auditor(tmp_path: Path) -> identity.Identity:
    return identity.generate(tmp_path / "auditor.pem")


def forge(text: str, change: Callable[[Report], None], *, reseal: bool = True) -> str:
    """Alter a report as somebody would who knows the format, the digest included."""
    content = json.loads(text)
    change(content)
    if reseal:
        seal = content.pop("seal")
        seal["digest"] = body_digest(content).hex()
        content["seal"] = seal
    return json.dumps(content)


def test_a_report_is_verified_with_nothing_but_the_root_key(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    text = report_of(node, auditor)
    node.world.down = True
    verdict = verify_report(text, root_key=node.root_key)
    assert verdict.auditor == auditor.principal
    assert verdict.report.counts[Outcome.CORRUPT] == 1
    assert verdict.report.model == "llama"
    assert verdict.error() is not None
    assert verdict.report.to_json(auditor) == text


def test_a_sample_is_verified_too(node: MemoryNode, auditor: identity.Identity) -> None:
    text = report_of(node, auditor, Sample(10))
    assert sum(verify_report(text, root_key=node.root_key).report.counts.values()) == 10


def test_a_report_of_another_network_proves_nothing(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    other = Certifier(node.world.clock, secret=5).root_key
    text = report_of(node, auditor)
    with pytest.raises(CertificateError, match="another network"):
        verify_report(text, root_key=other)
    with pytest.raises(CertificateError):
        verify_report(
            forge(text, lambda report: report.update(root_key=other.hex(), seal=unsigned(report))),
            root_key=other,
        )


def unsigned(report: Report) -> Report:
    return report["seal"] | {"signature": None, "public_key": None, "auditor": None}


def test_any_change_breaks_the_digest(node: MemoryNode) -> None:
    text = report_of(node, None)
    with pytest.raises(FormatError, match="altered"):
        verify_report(
            forge(text, lambda report: report.update(freezing=1), reseal=False),
            root_key=node.root_key,
        )


def test_any_change_breaks_the_signature(node: MemoryNode, auditor: identity.Identity) -> None:
    text = report_of(node, auditor)
    forged = forge(text, lambda report: report["status"].update(freezing_days=9_999))
    with pytest.raises(FormatError, match="signature"):
        verify_report(forged, root_key=node.root_key)


def test_another_auditor_cannot_be_named(node: MemoryNode, auditor: identity.Identity) -> None:
    text = report_of(node, auditor)
    with pytest.raises(FormatError, match="another auditor"):
        verify_report(
            forge(text, lambda r: r["seal"].update(auditor=Principal(b"\1").text), reseal=False),
            root_key=node.root_key,
        )


def set_in(*path: str | int, to: object) -> Callable[[Report], None]:
    def change(report: Report) -> None:
        for name in path[:-1]:
            report = report[name]
        report[path[-1]] = to

    return change


def drop_finding(report: Report) -> None:
    """Make an unpleasant finding go away, consistently."""
    report["findings"] = []
    report["checks"] = [check for check in report["checks"] if check[0] != "chunk"]
    report["checks"].insert(0, ["chunk", 0, 31, "ok"])
    report["counts"] = dict.fromkeys(report["counts"], 0) | {"ok": 31}
    report["verdict"] = "ok"


def drawn_nothing(report: Report) -> None:
    """Claim a sample and look at nothing, consistently."""
    report["mode"] = {"kind": "sample", "count": 20}
    report["checks"] = [check for check in report["checks"] if check[0] != "chunk"]
    report["findings"] = []
    report["counts"] = dict.fromkeys(report["counts"], 0)
    report["verdict"] = "ok"
    report["sentence"] = sentence(Sample(20), 31, 0)


LIES: dict[str, Callable[[Report], None]] = {
    "another version": set_in("version", to=2),
    "another latest": set_in("latest", to=1),
    "another model": set_in("model", to="phi"),
    "another node": set_in("node", to="aaaaa-aa"),
    "another manifest": set_in("manifest", to="00" * 32),
    "another placement": set_in("placement", to="00" * 32),
    "another time of the certificate": set_in("certified_ns", to=1),
    "made an hour later": lambda r: r.update(made_ns=r["made_ns"] + 3_600 * 10**9),
    "fewer chunks": set_in("chunk_count", to=30),
    "another verdict": set_in("verdict", to="ok"),
    "another sentence": set_in("sentence", to="all is well"),
    "other counts": set_in("counts", "ok", to=31),
    "a check left out": lambda r: r["checks"].pop(0),
    "a check of another chunk": set_in("checks", 0, 1, to=1),
    "a check beyond the end": lambda r: r["checks"].append(["chunk", 31, 5, "ok"]),
    "a finding left out": set_in("findings", to=[]),
    "a finding elsewhere": set_in("findings", 0, "index", to=4),
    "a finding in another file": set_in("findings", 0, "file", to="c.json"),
    "a finding of another frame": set_in("findings", 0, "frame", to="00" * 32),
    "a finding twice": lambda r: r["findings"].append(copy.deepcopy(r["findings"][0])),
    "a page left out": set_in("proof", "chunk_pages", to={}),
    "a page too many": lambda r: r["proof"]["chunk_pages"].update(
        {"7": r["proof"]["chunk_pages"]["0"]}
    ),
    "another module": set_in("canister", "module_hash", to="00" * 32),
    "other controllers": set_in("canister", "controllers", to=["aaaaa-aa"]),
    "another mode": set_in("mode", to={"kind": "sample", "count": 5}),
    "a sample that was not drawn": drawn_nothing,
    "chunks without end": set_in("checks", 0, 2, to=2**62),
    "pages without end": lambda r: r["checks"].append(["tensor_page", 0, 2**62, "ok"]),
    "a placement left out": lambda r: r["checks"].remove(["placement", 0, 1, "ok"]),
    "a mode of more": set_in("mode", to={"kind": "rolling", "part": 1, "parts": 2}),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_lie_about_what_is_provable_is_refused_even_with_a_new_digest(
    node: MemoryNode, lie: str
) -> None:
    forged = forge(report_of(node, None), LIES[lie])
    with pytest.raises((FormatError, CertificateError)):
        verify_report(forged, root_key=node.root_key)


def test_the_outcomes_are_the_word_of_whoever_signed(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    """What was seen cannot be proven later; a signature says who says so."""
    whitewashed = forge(report_of(node, auditor), drop_finding)
    with pytest.raises(FormatError, match="signature"):
        verify_report(whitewashed, root_key=node.root_key)
    anonymous = forge(whitewashed, lambda r: r.update(seal=unsigned(r)))
    assert verify_report(anonymous, root_key=node.root_key).auditor is None


def test_a_signature_over_something_else_is_refused(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    def change(report: Report) -> None:
        digest = bytes.fromhex(report["seal"]["digest"])
        report["seal"]["signature"] = auditor.sign(digest).hex()

    text = report_of(node, auditor)
    with pytest.raises(FormatError, match="signature"):
        verify_report(forge(text, change, reseal=False), root_key=node.root_key)
    assert SIGNATURE_DOMAIN[0] == len(SIGNATURE_DOMAIN) - 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "datanode-audit"}', "[" * 10**5])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        verify_report(text, root_key=b"")


def test_a_report_of_a_newer_release_is_told_from_a_broken_one(node: MemoryNode) -> None:
    with pytest.raises(UnsupportedVersionError):
        verify_report(forge(report_of(node, None), set_in("v", to=2)), root_key=node.root_key)


def test_a_page_that_inflates_beyond_a_frame_is_refused(node: MemoryNode) -> None:
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(50_000_000))).decode()
    forged = forge(report_of(node, None), set_in("proof", "chunk_pages", "0", to=bomb))
    with pytest.raises(FormatError, match="longer than a frame"):
        verify_report(forged, root_key=node.root_key)


def test_a_report_of_another_zlib_is_not_an_altered_one(node: MemoryNode) -> None:
    """Compressors differ in their bytes, and a report outlives them."""
    import zlib

    def recompress(report: Report) -> None:
        pages = report["proof"]["chunk_pages"]
        page = zlib.decompress(base64.b64decode(pages["0"]))
        pages["0"] = base64.b64encode(zlib.compress(page, 0)).decode()

    forged = forge(report_of(node, None), recompress)
    assert verify_report(forged, root_key=node.root_key).report.chunk_count == 31


def test_many_pages_that_inflate_a_thousandfold_are_not_all_inflated(node: MemoryNode) -> None:
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(2_000_000))).decode()
    bombs = {str(index): bomb for index in range(100)}
    forged = forge(report_of(node, None), set_in("proof", "chunk_pages", to=bombs))
    tracemalloc.start()
    with pytest.raises((FormatError, CertificateError)):
        verify_report(forged, root_key=node.root_key)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_random_damage_gives_a_typed_error(node: MemoryNode) -> None:
    text = report_of(node, None, Sample(3))
    draw = random.Random(7)
    for _ in range(300):
        damaged = bytearray(text.encode())
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(32, 127)
        try:
            verify_report(damaged.decode(), root_key=node.root_key)
        except DataNodeError:
            continue
        # Only white space may change without a trace.
        assert json.loads(damaged) == json.loads(text)
