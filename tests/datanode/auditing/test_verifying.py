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
from datanode.auditing import Expectation, Full, Mode, Outcome, Sample, audit_model, verify_report
from datanode.auditing.modes import sentence
from datanode.auditing.report import SIGNATURE_DOMAIN, body_digest
from datanode.auditing.verifying import open_report
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
    verdict = verify_report(text, root_key=node.root_key, auditors={auditor.principal})
    assert verdict.auditor == auditor.principal
    assert verdict.report.counts[Outcome.CORRUPT] == 1
    assert verdict.report.model == "llama"
    assert verdict.error() is not None
    assert verdict.report.to_json(auditor) == text


def test_a_sample_is_verified_too(node: MemoryNode, auditor: identity.Identity) -> None:
    text = report_of(node, auditor, Sample(10))
    assert sum(open_report(text, root_key=node.root_key)[0].counts.values()) == 10


def test_a_report_of_another_network_proves_nothing(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    other = Certifier(node.world.clock, secret=5).root_key
    text = report_of(node, auditor)
    with pytest.raises(CertificateError, match="another network"):
        open_report(text, root_key=other)
    with pytest.raises(CertificateError):
        open_report(
            forge(text, lambda report: report.update(root_key=other.hex(), seal=unsigned(report))),
            root_key=other,
        )


def unsigned(report: Report) -> Report:
    return report["seal"] | {"signature": None, "public_key": None, "auditor": None}


def test_any_change_breaks_the_digest(node: MemoryNode) -> None:
    text = report_of(node, None)
    with pytest.raises(FormatError, match="altered"):
        open_report(
            forge(text, lambda report: report.update(freezing=1), reseal=False),
            root_key=node.root_key,
        )


def test_any_change_breaks_the_signature(node: MemoryNode, auditor: identity.Identity) -> None:
    text = report_of(node, auditor)
    forged = forge(text, lambda report: report["status"].update(freezing_days=9_999))
    with pytest.raises(FormatError, match="signature"):
        open_report(forged, root_key=node.root_key)


def test_another_auditor_cannot_be_named(node: MemoryNode, auditor: identity.Identity) -> None:
    text = report_of(node, auditor)
    with pytest.raises(FormatError, match="another auditor"):
        open_report(
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
    report["checks"] = [["file", 0, 2, "ok"] if c[0] == "file" else c for c in report["checks"]]
    report["checks"].insert(2, ["chunk", 0, 31, "ok"])
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
    "a check left out": lambda r: r["checks"].pop(2),
    "a check of another chunk": set_in("checks", 2, 1, to=1),
    "a head left out": lambda r: r["checks"].remove(["head", 0, 1, "ok"]),
    "a file left out": lambda r: r["checks"].remove(["file", 1, 1, "ok"]),
    "a file that could not be read": lambda r: r["checks"].insert(1, ["file", 0, 1, "ok"]),
    "a chunk page left out": lambda r: r["checks"].remove(["chunk_page", 0, 1, "ok"]),
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
    "chunks without end": set_in("checks", 2, 2, to=2**62),
    "an older format": set_in("v", to=1),
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
        open_report(forged, root_key=node.root_key)


def test_the_outcomes_are_the_word_of_whoever_signed(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    """A report's outcomes are unproven statements; the signature names who made them."""
    whitewashed = forge(report_of(node, auditor), drop_finding)
    with pytest.raises(FormatError, match="signature"):
        open_report(whitewashed, root_key=node.root_key)
    anonymous = forge(whitewashed, lambda r: r.update(seal=unsigned(r)))
    assert open_report(anonymous, root_key=node.root_key)[1] is None
    with pytest.raises(CertificateError, match="not signed"):
        verify_report(anonymous, root_key=node.root_key, auditors={auditor.principal})


def test_a_signature_over_something_else_is_refused(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    def change(report: Report) -> None:
        digest = bytes.fromhex(report["seal"]["digest"])
        report["seal"]["signature"] = auditor.sign(digest).hex()

    text = report_of(node, auditor)
    with pytest.raises(FormatError, match="signature"):
        open_report(forge(text, change, reseal=False), root_key=node.root_key)
    assert SIGNATURE_DOMAIN[0] == len(SIGNATURE_DOMAIN) - 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "datanode-audit"}', "[" * 10**5])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        open_report(text, root_key=b"")


def test_a_report_of_a_newer_release_is_told_from_a_broken_one(node: MemoryNode) -> None:
    with pytest.raises(UnsupportedVersionError):
        open_report(forge(report_of(node, None), set_in("v", to=3)), root_key=node.root_key)


def test_a_page_that_inflates_beyond_a_frame_is_refused(node: MemoryNode) -> None:
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(50_000_000))).decode()
    forged = forge(report_of(node, None), set_in("proof", "chunk_pages", "0", to=bomb))
    with pytest.raises(FormatError, match="longer than a frame"):
        open_report(forged, root_key=node.root_key)


def test_a_report_of_another_zlib_is_not_an_altered_one(node: MemoryNode) -> None:
    """Compressors differ in their bytes, and a report outlives them."""
    import zlib

    def recompress(report: Report) -> None:
        pages = report["proof"]["chunk_pages"]
        page = zlib.decompress(base64.b64decode(pages["0"]))
        pages["0"] = base64.b64encode(zlib.compress(page, 0)).decode()

    forged = forge(report_of(node, None), recompress)
    assert open_report(forged, root_key=node.root_key)[0].chunk_count == 31


def test_many_pages_that_inflate_a_thousandfold_are_not_all_inflated(node: MemoryNode) -> None:
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(2_000_000))).decode()
    bombs = {str(index): bomb for index in range(100)}
    forged = forge(report_of(node, None), set_in("proof", "chunk_pages", to=bombs))
    tracemalloc.start()
    with pytest.raises((FormatError, CertificateError)):
        open_report(forged, root_key=node.root_key)
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
            open_report(damaged.decode(), root_key=node.root_key)
        except DataNodeError:
            continue
        # Only white space may change without a trace.
        assert json.loads(damaged) == json.loads(text)


def whitewash(report: Report) -> None:
    drop_finding(report)
    report["sentence"] = sentence(Full(), 31, 31)


def test_report_signed_by_somebody_else_is_refused(
    node: MemoryNode, auditor: identity.Identity, tmp_path: Path
) -> None:
    """The seal of a doctored report can be made anew by anybody, in his own name only."""
    text = report_of(node, auditor)
    forger = identity.generate(tmp_path / "forger.pem")
    content = json.loads(text)
    del content["seal"]
    whitewash(content)
    digest = body_digest(content)
    assert forger.public_key_der is not None
    content["seal"] = {
        "digest": digest.hex(),
        "auditor": forger.principal.text,
        "public_key": forger.public_key_der.hex(),
        "signature": forger.sign(SIGNATURE_DOMAIN + digest).hex(),
    }
    doctored = json.dumps(content)
    report, signer = open_report(doctored, root_key=node.root_key)
    assert (report.verdict, signer) == ("ok", forger.principal)
    for trusted in ({auditor.principal}, set()):
        with pytest.raises(CertificateError, match="not a trusted auditor"):
            verify_report(doctored, root_key=node.root_key, auditors=trusted)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (Expectation(model="phi"), "about model llama, not phi"),
        (Expectation(node=Principal(b"\1")), "about node"),
        (Expectation(version=2), "about version 1, not 2"),
        (Expectation(oldest_ns=2**63), "older than allowed"),
        (Expectation(newest_ns=1), "in the future"),
    ],
)
def test_report_about_something_else_is_refused(
    node: MemoryNode, auditor: identity.Identity, expected: Expectation, words: str
) -> None:
    text = report_of(node, auditor)
    with pytest.raises(CertificateError, match=words):
        verify_report(text, root_key=node.root_key, auditors={auditor.principal}, expected=expected)


def test_report_about_what_is_expected_is_accepted(
    node: MemoryNode, auditor: identity.Identity
) -> None:
    now_ns = node.world.clock()
    expected = Expectation(
        model="llama", node=node.principal, version=1, oldest_ns=now_ns - 1, newest_ns=now_ns + 1
    )
    text = report_of(node, auditor)
    verdict = verify_report(
        text, root_key=node.root_key, auditors={auditor.principal}, expected=expected
    )
    assert verdict.report.model == "llama"
