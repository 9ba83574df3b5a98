"""Reads a report's JSON strictly: known fields of known types, bounded, nothing else."""

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from datanode.auditing.modes import Full, Mode, Rolling, Sample, Scrub
from datanode.auditing.outcomes import AuditedPart, Finding, FindingRun, Outcome
from datanode.auditing.report import (
    KIND,
    REPORT_VERSION,
    AuditReport,
    CanisterFacts,
    Proof,
)
from datanode.auditing.signature_check import SignatureEvidence
from datanode.errors import FormatError, UnsupportedVersionError, UsageError
from datanode.limits import MAX_FRAME_BYTES
from datanode.principal import Principal
from datanode.units import MIB

MAX_REPORT_BYTES: Final = 512 * MIB

_T = TypeVar("_T")
_MAX_NUMBER: Final = 2**64 - 1


def load(text: str) -> dict[str, object]:
    """Parse the JSON and check that it is a report of a version that this release reads.

    Raises:
        FormatError: It is not.
        UnsupportedVersionError: It is one of a newer release.
    """
    if len(text) > MAX_REPORT_BYTES:
        raise FormatError(f"a report of {len(text)} bytes")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the report is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise FormatError("this is not a report of an audit")
    version = JsonFields(content).number("v")
    if version > REPORT_VERSION:
        raise UnsupportedVersionError(
            f"report version {version}, this release reads {REPORT_VERSION}"
        )
    if version < REPORT_VERSION:
        raise FormatError(
            f"report version {version} accounts for neither head nor files; "
            f"this release reads {REPORT_VERSION}",
            hint="Audit the model again.",
        )
    return content


class JsonFields:
    """A JSON object, read field by field; `FormatError` for what is not as it should be."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, Mapping):
            raise FormatError("the report lacks an object")
        self._fields = value

    def take(self, name: str, kind: type[_T]) -> _T:
        """A field of a JSON type."""
        value = self._fields.get(name)
        # True is an int to Python, and not to us.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise FormatError(f"the report's {name!r} is not what it should be")
        return value

    def number(self, name: str) -> int:
        """A number that is not negative."""
        value = self.take(name, int)
        if not 0 <= value <= _MAX_NUMBER:
            raise FormatError(f"the report's {name!r} is out of range")
        return value

    def text(self, name: str) -> str:
        """A text."""
        return self.take(name, str)

    def hex(self, name: str) -> bytes:
        """Bytes, as hexadecimal digits."""
        try:
            return bytes.fromhex(self.text(name))
        except ValueError:
            raise FormatError(f"the report's {name!r} is not hexadecimal") from None

    def base64(self, name: str) -> bytes:
        """Bytes, as base64."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise FormatError(f"the report's {name!r} is not base64") from None

    def items(self, name: str) -> list[object]:
        """A list."""
        return self.take(name, list)

    def inner(self, name: str) -> "JsonFields":
        """An object inside this one."""
        return JsonFields(self._fields.get(name))

    def names(self) -> list[str]:
        """The names of all fields."""
        return list(self._fields)

    def optional(self, name: str, read: Callable[[str], _T]) -> _T | None:
        """A field that may be null."""
        return None if self._fields.get(name) is None else read(name)


def parse(content: Mapping[str, object]) -> AuditReport:
    """Read a report's body.

    Raises:
        FormatError: A field is missing or of another type.
    """
    fields = JsonFields(content)
    status, proof = fields.inner("status"), fields.inner("proof")
    pages = proof.inner("chunk_pages")
    return AuditReport(
        datanode=fields.text("datanode"),
        made_ns=fields.number("made_ns"),
        root_key=fields.hex("root_key"),
        node=Principal.parse(fields.text("node")),
        model=fields.text("model"),
        version=fields.number("version"),
        latest=fields.number("latest"),
        manifest=fields.hex("manifest"),
        placement=fields.hex("placement"),
        certified_ns=fields.number("certified_ns"),
        mode=_mode_fields(fields.inner("mode")),
        chunk_count=fields.number("chunk_count"),
        checks=tuple(map(_check, fields.items("checks"))),
        findings=tuple(_finding(JsonFields(item)) for item in fields.items("findings")),
        sentence=fields.text("sentence"),
        canister=fields.optional("canister", lambda name: _canister(fields.inner(name))),
        interface_version=status.number("interface_version"),
        store_version=status.number("store_version"),
        freezing_days=status.optional("freezing_days", status.number),
        proof=Proof(
            certificate=proof.base64("certificate"),
            witness=proof.base64("witness"),
            head=proof.base64("head"),
            chunk_pages={_index(name): pages.base64(name) for name in pages.names()},
        ),
        signature=fields.optional("signature", lambda name: parse_signature(fields.inner(name))),
    )


def mode_of(described: Mapping[str, str | int]) -> Mode:
    """Read a mode back.

    Raises:
        FormatError: There is no such mode.
    """
    try:
        match described:
            case {"kind": "full"}:
                return Full()
            case {"kind": "scrub"}:
                return Scrub()
            case {"kind": "sample", "count": int(count)}:
                return Sample(count)
            case {"kind": "rolling", "part": int(part), "parts": int(parts)}:
                return Rolling(part, parts)
    except UsageError as error:
        raise FormatError(f"the report's mode: {error.what}") from error
    raise FormatError("the report's mode is not known")


def _mode_fields(fields: JsonFields) -> dict[str, str | int]:
    return {
        name: fields.text(name) if name == "kind" else fields.number(name)
        for name in fields.names()
    }


def _canister(fields: JsonFields) -> CanisterFacts:
    return CanisterFacts(
        module_hash=fields.hex("module_hash"),
        controllers=tuple(
            Principal.parse(item) for item in fields.items("controllers") if isinstance(item, str)
        ),
        certificate=fields.base64("certificate"),
    )


def parse_signature(fields: JsonFields) -> SignatureEvidence:
    """Read evidence for a model's signature.

    Raises:
        FormatError: Fields are missing, or of another type.
    """
    bundles = fields.inner("bundles")
    return SignatureEvidence(
        public_key=fields.hex("public_key"),
        travels=fields.text("source") == "model",
        bundles={name: bundles.base64(name) for name in bundles.names()},
        detail=fields.text("detail"),
    )


def _check(item: object) -> tuple[AuditedPart, FindingRun]:
    match item:
        case [str(part), int(first), int(count), str(outcome)] if first >= 0 < count:
            try:
                return AuditedPart(part), FindingRun(first, count, Outcome(outcome))
            except ValueError:
                pass
    raise FormatError("the report's checks are not what they should be")


def _finding(fields: JsonFields) -> Finding:
    try:
        part, outcome = AuditedPart(fields.text("part")), Outcome(fields.text("outcome"))
    except ValueError as error:
        raise FormatError(f"the report's findings: {error}") from None
    return Finding(
        part=part,
        index=fields.number("index"),
        outcome=outcome,
        detail=fields.text("detail"),
        file=fields.optional("file", fields.text),
        tensor=fields.optional("tensor", fields.text),
        offset_bytes=fields.optional("offset_bytes", fields.number),
        content=fields.optional("content", fields.text),
        frame=fields.optional("frame", fields.text),
    )


def _index(name: str) -> int:
    if not name.isascii() or not name.isdecimal() or len(name) > len(str(2**32)):
        raise FormatError("the report's chunk pages are not numbered")
    return int(name)


def inflate(data: bytes) -> bytes:
    """Inflate a page: a raw frame, beyond whose length a bomb is not inflated.

    Raises:
        FormatError: It is none.
    """
    inflater = zlib.decompressobj()
    try:
        page = inflater.decompress(data, MAX_FRAME_BYTES)
    except zlib.error as error:
        raise FormatError(
            "the report's chunk pages are not compressed as they should be"
        ) from error
    if not inflater.eof or inflater.unused_data:
        raise FormatError("the report's chunk pages are longer than a frame")
    return page
