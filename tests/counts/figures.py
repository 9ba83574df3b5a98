"""Counts that must repeat exactly: what the network bills for a put, and for a real model.

`tests/golden/counts.json` holds them under the digest of the storage canister's module, so that a
rebuilt module changes them consciously, and under each metering version:
`python -m tests.counts.make`.

Exact everywhere: instructions of puts of fixed bytes, and of the calls of `calls.py`. Exact with
the zstandard of the golden file, within `ZSTD_TOLERANCE` with another one: messages, bytes and
ingress cycles of MiniLM, because the frames of its weights contain zstd streams. Instructions of
MiniLM's puts depend a little on the order in which messages in flight arrive, since an index grows
by insertion: `ORDER_TOLERANCE`.
"""

import hashlib
import json
from pathlib import Path
from typing import Final, TypedDict

import zstandard

from datanode.fees import FeeSchedule
from datanode.node import deploy
from tests.bench import instructions
from tests.bench.rig import PUT, Rig, rigged, timeless_cycles
from tests.counts import calls
from tests.counts.calls import Call
from tests.demo.minilm import make_checkpoint
from tests.fakes.ledger_judge import paid

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "counts.json"
ZSTD_TOLERANCE: Final = 0.005
ORDER_TOLERANCE: Final = 0.01


class Put(TypedDict):
    """One message of so many frames."""

    stored_bytes: int
    instructions: int
    envelope_bytes: int
    cycles: int


class Model(TypedDict):
    """MiniLM as BF16-origin F16, a hub folder, uploaded by the session."""

    messages: int
    frames: int
    envelope_bytes: int
    ingress_cycles: int
    estimated_cycles: int
    instructions: int
    cycles: int


class Counts(TypedDict):
    """Everything that is held."""

    zstd: str
    puts: dict[str, Put]
    minilm: Model
    calls: dict[str, Call]


def module_digest() -> str:
    """Name the module that the counts are of."""
    return hashlib.sha256(deploy.storage_wasm()).hexdigest()


def zstd_version() -> str:
    """Name the library whose streams are inside the frames."""
    return ".".join(map(str, zstandard.ZSTD_VERSION))


def of_puts(rig: Rig) -> dict[str, Put]:
    """Count messages of 1.9 MB of bytes that do not compress."""
    return {count: _put(found) for count, found in instructions.of_puts(rig).items()}


def _put(found: instructions.Put) -> Put:
    return Put(
        stored_bytes=found.stored_bytes,
        instructions=found.instructions,
        envelope_bytes=found.envelope_bytes,
        cycles=found.cycles,
    )


def of_minilm(rig: Rig, folder: Path) -> Model:
    """Upload a real model and add up the ledger."""
    source = make_checkpoint(folder / "minilm", through_bf16=True)
    last = rig.last()
    summary = rig.upload(source, "minilm")
    puts = rig.entries(PUT, after=last)
    verdict = paid(puts)
    ingress = FeeSchedule.load().ingress_cycles
    return Model(
        messages=verdict.messages_count,
        frames=verdict.stored_count,
        envelope_bytes=verdict.envelope_bytes,
        ingress_cycles=sum(ingress(entry.envelope_bytes) for entry in puts),
        estimated_cycles=summary.cycles,
        instructions=sum(entry.instructions for entry in puts),
        cycles=sum(map(timeless_cycles, puts)),
    )


def of_metering(metering: str, folder: Path) -> Counts:
    """Count everything on fresh networks."""
    (folder / "calls").mkdir()
    with rigged(folder, metering) as rig:
        puts, minilm = of_puts(rig), of_minilm(rig, folder)
    counted = calls.of_calls(folder / "calls", metering)
    return Counts(zstd=zstd_version(), puts=puts, minilm=minilm, calls=counted)


def golden() -> dict[str, dict[str, Counts]]:
    """Read the committed counts, by module and metering version."""
    read: dict[str, dict[str, Counts]] = json.loads(GOLDEN.read_text())
    return read
