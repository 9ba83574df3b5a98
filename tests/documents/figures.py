"""Tables of figures, from the golden counts and from the records of `make bench`."""

import tomllib
from typing import Final, NamedTuple

from datanode.metering import DEFAULT_METERING
from tests.counts.figures import Counts, golden, module_digest
from tests.documents.sections import ROOT, table

RECORDS: Final = tomllib.loads((ROOT / "tests" / "bench" / "records.toml").read_text())
_COUNTS_COMMAND: Final = "`.venv/bin/python -m tests.counts.make`"
_F16_BITS: Final = 16
_TC: Final = 10**12


class Cost(NamedTuple):
    """The estimate for the Llama checkpoint."""

    sent_bytes: float
    cycles: float


def counts() -> Counts:
    """Read the golden counts of the committed module; the newest metering version."""
    return golden()[module_digest()][DEFAULT_METERING]


def llama_cost() -> Cost:
    """Price the Llama checkpoint: its weights at MiniLM's bits a weight and cycles a byte."""
    weights = RECORDS["llama"]["raw_bytes"] * 8 / _F16_BITS
    sent = weights * RECORDS["bits_a_weight"]["f16_bf16_origin"] / 8
    model = counts()["minilm"]
    return Cost(sent, sent * model["cycles"] / model["envelope_bytes"])


def like_with_like() -> str:
    """Compare one checkpoint by hand and here, and plain zstd with bits a weight."""
    llama, bits, cost = RECORDS["llama"], RECORDS["bits_a_weight"], llama_cost()
    return (
        table(
            ("Llama 3 8B as F16 (BF16 weights)", "bits a weight", "bytes sent", "cycles"),
            [
                (
                    "first on-chain load, by hand",
                    f"{_F16_BITS}",
                    f"{llama['raw_bytes'] / 1e9:.1f} GB",
                    f"{llama['loaded_by_hand_tc']} TC",
                ),
                (
                    "plain zstd (bits measured on MiniLM)",
                    f"{bits['plain_zstd_f16_bf16_origin']}",
                    f"{_zstd_bytes() / 1e9:.1f} GB",
                    f"{_zstd_bytes() / cost.sent_bytes * cost.cycles / _TC:.1f} TC, estimated",
                ),
                (
                    "datanode (bits measured on MiniLM)",
                    f"**{bits['f16_bf16_origin']}**",
                    f"{cost.sent_bytes / 1e9:.1f} GB",
                    f"**{cost.cycles / _TC:.1f} TC**, estimated",
                ),
            ],
        )
        + "\n\n1 TC is 1e12 cycles and costs 1 XDR."
    )


def _zstd_bytes() -> float:
    bits = RECORDS["bits_a_weight"]
    share: float = bits["plain_zstd_f16_bf16_origin"] / bits["f16_bf16_origin"]
    return llama_cost().sent_bytes * share


def instruction_counts() -> str:
    """Tell instructions a stored byte of `put_frames`, from the golden counts."""
    found = counts()
    rows = [
        (
            f"one message of 1.9 MB in {count} frame{'s' * (count != '1')}",
            f"{put['instructions'] / put['stored_bytes']:.2f}",
            f"{put['cycles']:,}",
        )
        for count, put in found["puts"].items()
    ]
    model = found["minilm"]
    rows.append(
        (
            f"MiniLM: {model['frames']} frames in {model['messages']} messages",
            f"{model['instructions'] / model['envelope_bytes']:.2f}",
            f"{model['cycles']:,}",
        )
    )
    return f"Metering {DEFAULT_METERING}; exact, made by {_COUNTS_COMMAND}.\n\n" + table(
        ("`put_frames`", "instructions a stored byte", "cycles"), rows
    )


_PUT_ROWS: Final = {
    "1": "`put_frames`, one frame of 1.9 MB",
    "30": "`put_frames`, 30 frames of 63 kB",
    "95": "`put_frames`, 95 frames of 20 kB",
}
_CALL_ROWS: Final = {
    "put_frames": ("`put_frames`, 256 frames of 1 KiB", "frame"),
    "put_frames again": ("`put_frames`, the same 256 frames again", "frame"),
    "get_frames": ("`get_frames`, a frame of 1.9 MB for a canister", "frame"),
    "seal_model": ("`seal_model`, 1,000 chunks, all steps", "chunk"),
    "find_contents": ("`find_contents`, 1,000 digests", "digest"),
    "missing_frames": ("`missing_frames`, 1,000 digests", "digest"),
    "pin_frames": ("`pin_frames`, 1,000 digests", "digest"),
    "scrub": ("`scrub`, 1,256 small frames", "frame"),
    "delete_model": ("`delete_model`, 1,000 chunks, all steps", "chunk"),
    "collect_garbage": ("`collect_garbage`, 1,256 frames freed", "frame"),
}


def call_costs() -> str:
    """List what calls of the storage canister cost, a column for each metering version."""
    found = golden()[module_digest()]
    meterings = sorted(found, reverse=True)
    rows: list[tuple[str, ...]] = []
    for count, title in _PUT_ROWS.items():
        puts = [found[metering]["puts"][count] for metering in meterings]
        told = (f"{put['instructions'] / put['stored_bytes']:.2f}" for put in puts)
        rows.append((title, "stored byte", *told))
    for name, (title, unit) in _CALL_ROWS.items():
        calls = [found[metering]["calls"][name] for metering in meterings]
        costs = (f"{call['instructions'] / call['frames']:,.0f}" for call in calls)
        rows.append((title, unit, *costs))
    return table(("call", "unit", *(f"metering {each}" for each in meterings)), rows)


def measured() -> str:
    """List every recorded figure with its command."""
    bits = RECORDS["bits_a_weight"]
    head = [
        (
            f"bits a weight, MiniLM ({bits['weights']:,} weights): BF16-origin F16, native F16",
            f"{bits['f16_bf16_origin']}, {bits['f16_native']}",
            f"`{bits['command']}`",
        ),
        (
            "plain zstd, level 3, over the same weights",
            f"{bits['plain_zstd_f16_bf16_origin']}, {bits['plain_zstd_f16_native']}",
            f"`{bits['command']}`",
        ),
    ]
    rows = [(each["what"], each["figure"], f"`{each['command']}`") for each in RECORDS["measured"]]
    return f"Timings are of {RECORDS['machine']}.\n\n" + table(
        ("what", "figure", "command"), head + rows
    )


def results() -> str:
    """List the figures that the README shows."""
    rows = [
        (each["what"], each["figure"], f"`{each['command']}`")
        for each in RECORDS["measured"]
        if each.get("result")
    ]
    return table(("what", "figure", "command"), rows)
