"""An audit judges the model's signature, and its report proves the outcome offline."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest

from datanode.auditing import AuditReport, Expectation, Outcome, Sample, audit_model, verify_report
from datanode.auditing.report import body_digest
from datanode.auditing.verifying import open_report
from datanode.errors import CertificateError, CorruptionError, FormatError, SignatureError
from datanode.model_signature import ExpectedSigner, SignedFiles
from datanode.reader import Reader
from tests.fakes.checkpoints import sealed
from tests.fakes.memory_node import MemoryNode
from tests.fakes.model_signer import ModelSigner, statement

Report: TypeAlias = Any
"""Parsed JSON, to be bent."""

FILES = {"a.bin": b"weights", "c.json": b"{}"}
SIGNER = ModelSigner()
SIGNED = {**FILES, "model.sig": SIGNER.sign_files(FILES)}
KEY = ExpectedSigner(key=SIGNER.public_key)


def audited(node: MemoryNode, signer: ExpectedSigner | None = KEY) -> AuditReport:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    return audit_model(reader, "llama", Sample(1), clock_ns=node.world.clock, signer=signer)


def node_with(files: Mapping[str, bytes]) -> MemoryNode:
    node = MemoryNode()
    sealed(node, "llama", files)
    return node


def forge(report: AuditReport, change: Callable[[Report], object]) -> str:
    """Alter a report, the digest included."""
    content = json.loads(report.to_json())
    change(content)
    seal = content.pop("seal")
    return json.dumps({**content, "seal": {**seal, "digest": body_digest(content).hex()}})


def test_report_proves_signature() -> None:
    node = node_with(SIGNED)
    report = audited(node)
    assert (report.verdict, report.error(), report.findings) == ("ok", None, ())
    assert report.signature is not None
    assert "model.sig covers 2 files" in report.signature.detail
    again, _ = open_report(report.to_json(), root_key=node.root_key)
    assert again == report


def test_signature_that_is_not_asked_for_leaves_no_trace() -> None:
    report = audited(node_with(SIGNED), None)
    assert '"signature"' not in json.dumps(json.loads(report.to_json())["checks"])
    assert "unsigned" not in report.to_json()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (FILES, "has no bundle"),
        ({**SIGNED, "c.json": b"{} "}, "differs from what was signed: c.json"),
        ({**SIGNED, "evil.py": b""}, "not signed: evil.py"),
    ],
)
def test_failure_is_a_finding_with_its_own_error(files: dict[str, bytes], words: str) -> None:
    node = node_with(files)
    report = audited(node)
    (finding,) = report.findings
    assert (finding.part, finding.outcome) == ("signature", Outcome.UNSIGNED)
    assert words in finding.detail
    error = report.error()
    assert isinstance(error, SignatureError)
    assert words in error.what
    assert report.verdict == "unsigned"
    again, _ = open_report(report.to_json(), root_key=node.root_key)
    assert again.verdict == "unsigned"


def test_damage_weighs_more_than_a_missing_signature() -> None:
    node = MemoryNode()
    model = sealed(node, "llama", {"a.bin": b"weights"})
    node.world.corrupt(model.records[0].frame)
    report = audited(node)
    assert {finding.outcome for finding in report.findings} == {Outcome.CORRUPT, Outcome.UNSIGNED}
    assert isinstance(report.error(), CorruptionError)
    assert report.verdict == "corrupt"


def test_bundle_that_cannot_be_read_is_unknown_not_wrong() -> None:
    node = MemoryNode()
    model = sealed(node, "llama", {"model.sig": SIGNED["model.sig"], "z.bin": b"weights"})
    node.world.corrupt(model.records[0].frame)
    report = audited(node)
    (finding,) = [each for each in report.findings if each.part == "signature"]
    assert (finding.outcome, finding.detail) == (Outcome.UNKNOWN, "not read: model.sig")
    open_report(report.to_json(), root_key=node.root_key)


def test_bundle_from_elsewhere() -> None:
    bundle = SignedFiles(name="x.sig", content=SIGNED["model.sig"], travels=False)
    node = node_with(FILES)
    report = audited(node, ExpectedSigner(key=SIGNER.public_key, bundle=bundle))
    assert report.verdict == "ok"
    open_report(report.to_json(), root_key=node.root_key)


def set_bundle(content: bytes, source: str = "model") -> Callable[[Report], object]:
    def change(report: Report) -> None:
        report["signature"]["source"] = source
        report["signature"]["bundles"] = {"model.sig": base64.b64encode(content).decode()}

    return change


FORGERIES: list[tuple[Callable[[Report], object], str]] = [
    (lambda report: report.pop("signature"), "does not carry"),
    (set_bundle(SIGNER.sign(statement({**FILES, "c.json": b"{} "}))), "not a file of its version"),
    (set_bundle(b"{}", source="file"), "not that of its bundles"),
    (lambda report: report["signature"].update(bundles={}), "not that of its bundles"),
    (lambda report: report["signature"].update(public_key="00"), "public key"),
    (lambda report: report["signature"].update(source="elsewhere"), "altered"),
    (
        lambda report: report["signature"].update(public_key=ModelSigner().public_key.der.hex()),
        "not that of its bundles",
    ),
]


@pytest.mark.parametrize(("change", "words"), FORGERIES)
def test_forged_signature_is_found_out(change: Callable[[Report], object], words: str) -> None:
    node = node_with(SIGNED)
    with pytest.raises(FormatError, match=words):
        open_report(forge(audited(node), change), root_key=node.root_key)


def test_verifier_expects_a_signer() -> None:
    from datanode.agent import identity

    auditor = identity.of_seed(bytes(32))
    node = node_with(SIGNED)
    expected = Expectation(signer=SIGNER.public_key.der)
    auditors = {auditor.principal}
    text = audited(node).to_json(auditor)
    verify_report(text, root_key=node.root_key, auditors=auditors, expected=expected)
    for other, wanted in [
        (text, Expectation(signer=ModelSigner().public_key.der)),
        (audited(node, None).to_json(auditor), expected),
    ]:
        with pytest.raises(CertificateError, match="does not say whether the given key signed"):
            verify_report(other, root_key=node.root_key, auditors=auditors, expected=wanted)
