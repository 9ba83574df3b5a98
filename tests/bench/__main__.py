"""`make bench`: measure, write build/bench.json, print a table.

Sections: codec (bits a weight, MB/s), message (processor time of a message of 1.9 MB on both sides,
and of a query), serving (start of the network, instrumenting), instructions (IC instructions a
stored byte, and of a seal), kernel (what SIMD kernels keep of their speed when pages are checked),
upload (2 GB of synthetic weights through the command: memory, speed,
cycles, a kill, a change), small (100,000 tensors of 64 bytes), growth (an upload into a node of 300
models against one of 3). Counts are exact wherever it runs;
timings are the best of some rounds, of the machine named beside them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from datanode.metering import DEFAULT_METERING
from tests.bench import (
    growth,
    instructions,
    kernel,
    machine,
    messages,
    serving,
    small_tensors,
    uploading,
)
from tests.bench.rig import rigged

MB: Final = 1_000_000
_MOST_INSTRUCTIONS: Final = {"1": 19.0, "30": 20.5, "95": 24.0}
"""Instructions a stored byte, by frames a message."""

_ROOT: Final = Path(__file__).parents[2]
Figures = dict[str, Any]


class Row(NamedTuple):
    """A line of the table; `most` and `least` are what it has to reach."""

    what: str
    figure: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def verdict(self) -> str:
        if self.most is not None:
            return f"<= {self.most:g} {'held' if self.figure <= self.most else 'MISSED'}"
        if self.least is not None:
            return f">= {self.least:g} {'held' if self.figure >= self.least else 'MISSED'}"
        return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for; returns 1 if a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 MB, fewer rounds and messages")
    parser.add_argument("--only", choices=sorted(SECTIONS), action="append", help="one section")
    parser.add_argument("--out", type=Path, default=_ROOT / "build" / "bench.json")
    args = parser.parse_args(argv)
    result: Figures = {"machine": machine.describe(), "quick": args.quick}
    rows: list[Row] = []
    for name in args.only or SECTIONS:
        sys.stderr.write(f"measuring: {name}\n")
        measure, shown = SECTIONS[name]
        with tempfile.TemporaryDirectory(prefix="datanode-bench-") as folder:
            result[name] = measure(Path(folder), args.quick)
        rows += shown(result[name])
    result["machine"]["load_at_the_end"] = machine.describe()["load"]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result["machine"], rows))
    print(f"written to {args.out}")
    return int(any("MISSED" in row.verdict for row in rows))


def table(where: Figures, rows: Sequence[Row]) -> str:
    """Lay the rows out under a line that says where and when."""
    lines = [
        f"{where['cpu']}, {where['cores']} cores, {where['date']}, commit {where['commit']}",
        f"metering {DEFAULT_METERING}",
        f"load {where['load'][0]} at the start, {where['load_at_the_end'][0]} at the end",
        f"Python {where['python']}, numpy {where['numpy']}, zstd {where['zstd']}",
        "",
    ]
    width = max((len(row.what) for row in rows), default=0)
    for row in rows:
        figure = f"{row.figure:,.2f}".rstrip("0").rstrip(".")
        lines.append(f"{row.what:{width}}  {figure:>16} {row.unit:<12} {row.verdict}".rstrip())
    return "\n".join(lines)


def _codec(_: Path, quick: bool) -> Figures:  # noqa: FBT001 - a section's one shape
    # A process of its own: its arrays must not count as memory of the uploads measured later.
    command = [sys.executable, "-m", "tests.bench.bench_codec", "--rounds", "2" if quick else "7"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def _codec_rows(found: Figures) -> list[Row]:
    origin, native = found["f16_bf16_origin"], found["f16_native"]
    return [
        Row("bits a weight, MiniLM BF16-origin F16", origin["bits_a_weight"], "", 10.68),
        Row("bits a weight, MiniLM native F16", native["bits_a_weight"], "", 13.65),
        Row("  the same, plain zstd, BF16-origin F16", origin["plain_zstd_bits_a_weight"], ""),
        Row("  the same, plain zstd, native F16", native["plain_zstd_bits_a_weight"], ""),
        *(
            row
            for name, kind in (("BF16-origin F16", origin), ("native F16", native))
            for row in (
                Row(
                    f"codec 2 encode, one core, {name}",
                    _per_core(kind["encode"]),
                    "MB/s",
                    least=150,
                ),
                Row(
                    f"frame to raw bytes, compiled decoder, one core, {name}",
                    _per_core(kind["decode_compiled"]),
                    "MB/s",
                    least=400,
                ),
                Row(
                    f"  the same, NumPy, {name}",
                    _per_core(kind["decode"]),
                    "MB/s",
                ),
                Row(
                    f"file to frame with decode check, one core, {name}",
                    _per_core(kind["pipeline_one_thread"]),
                    "MB/s",
                    least=100,
                ),
                Row(
                    f"file to frame, one thread, by the clock, {name}",
                    kind["pipeline_one_thread"]["mb_s"],
                    "MB/s",
                ),
                Row(
                    f"file to frame, two threads, by the clock, {name}",
                    kind["pipeline_two_threads"]["mb_s"],
                    "MB/s",
                ),
            )
        ),
    ]


def _per_core(rate: dict[str, float]) -> float:
    """On a machine that others use, processor time tells what a core does."""
    return max(rate["mb_s"], rate["mb_a_processor_s"])


def _message(folder: Path, quick: bool) -> Figures:  # noqa: FBT001
    with rigged(folder) as rig:
        return messages.measure(rig, 30 if quick else messages.MESSAGES)


def _message_rows(found: Figures) -> list[Row]:
    client = found["client_ms"]
    parts = [
        Row(f"  of it: {name}", client[name]["best"], "ms") for name in client if name != "sum"
    ]
    return [
        Row("client CPU, a 1.9 MB message, best", client["sum"]["best"], "ms", 10),
        *parts,
        Row("client CPU, a 1.9 MB message, median", client["sum"]["median"], "ms"),
        *_both("embedded network CPU, a 1.9 MB put", found["localnet_ms"], most=15),
        *_both("embedded network CPU, a query", found["query"]["localnet_ms"], most=3),
        Row("client CPU, a query, best", found["query"]["client_ms"]["best"], "ms"),
    ]


def _both(what: str, spread: dict[str, float], most: float, unit: str = "ms") -> list[Row]:
    return [Row(f"{what}, {name}", spread[name], unit, most) for name in ("best", "median")]


def _serving(folder: Path, quick: bool) -> Figures:  # noqa: FBT001
    return serving.measure(folder, 3 if quick else serving.STARTS)


def _serving_rows(found: Figures) -> list[Row]:
    return [
        *_both("start to first answer, warm", found["start_s"], 1.5, "s"),
        Row("  first installation of a module, cold cache", found["cold_s"], "s"),
        Row("instrumenting the storage canister", found["instrument_ms"]["best"], "ms"),
        Row("  operators a second", found["operators_a_second"], ""),
    ]


def _instructions(folder: Path, quick: bool) -> Figures:  # noqa: FBT001
    with rigged(folder) as rig:
        return {
            "put": {
                count: asdict(put) | {"a_stored_byte": round(put.a_stored_byte, 4)}
                for count, put in instructions.of_puts(rig).items()
            },
            "seal": instructions.of_seal(rig, 1_000 if quick else instructions.SEALED_FRAMES),
        }


def _instructions_rows(found: Figures) -> list[Row]:
    rows = [
        Row(
            f"instructions a stored byte, {count} frames a message",
            put["a_stored_byte"],
            "",
            _MOST_INSTRUCTIONS.get(count),
        )
        for count, put in found["put"].items()
    ]
    seal = found["seal"]
    return [
        *rows,
        Row(f"instructions of sealing {seal['frames']:,} frames", seal["instructions"], "", 1.5e9),
        Row("  the largest message of it", seal["largest_message_instructions"], ""),
    ]


def _kernel(_: Path, quick: bool) -> Figures:  # noqa: FBT001
    return kernel.measure()


def _kernel_rows(found: Figures) -> list[Row]:
    return [
        Row(f"speed that the kernel '{name}' keeps", each["share"], "", least=0.5)
        for name, each in found.items()
    ]


def _upload(folder: Path, quick: bool) -> Figures:  # noqa: FBT001
    return uploading.measure(folder, (200 if quick else 2_000) * MB)


def _upload_rows(found: Figures) -> list[Row]:
    first, killed = found["first"], found["killed_at_90_percent"]
    resumed, changed = killed["resumed"], found["one_tensor_changed"]
    ledger, raw_mb = first["ledger"], found["raw_bytes"] / MB
    return [
        Row(f"peak RSS of uploading {raw_mb:,.0f} MB", first["peak_rss_bytes"] / MB, "MB", 300),
        Row("  by ru_maxrss", first["ru_maxrss_bytes"] / MB, "MB", 300),
        Row("  time of it", first["wall_s"], "s"),
        Row("  speed of it, network on the same machine", first["mb_s"], "MB/s"),
        Row("  cycles of it, by the ledger", ledger["cycles"], "cycles"),
        Row(
            "  instructions an argument byte",
            ledger["put_instructions"] / ledger["argument_bytes"],
            "",
            19.5,
        ),
        Row("resume after SIGKILL at 90 %", resumed["wall_s"], "s"),
        Row("  peak RSS of it", resumed["peak_rss_bytes"] / MB, "MB", 300),
        Row("  frames paid twice, by the ledger", killed["paid_twice"], "frames", 0),
        Row("new version with one tensor changed", changed["wall_s"], "s"),
        Row("  bytes sent of it", changed["ledger"]["sent_bytes"] / MB, "MB"),
    ]


def _small(folder: Path, quick: bool) -> Figures:  # noqa: FBT001
    return small_tensors.measure(folder, small_tensors.TENSORS // (10 if quick else 1))


def _small_rows(found: Figures) -> list[Row]:
    return [
        Row(f"frames of {found['tensors']:,} tensors of 64 bytes", found["frames"], "", 500),
        Row("  client CPU of uploading them", found["client_cpu_s"], "s", 30),
        Row("  embedded network CPU of it", found["server_cpu_s"], "s", 20),
        Row("  peak RSS of it", found["peak_rss_bytes"] / MB, "MB", 300),
        Row("  client CPU of fetching one", found["fetch_one_cpu_s"], "s"),
    ]


def _growth(folder: Path, quick: bool) -> Figures:  # noqa: FBT001
    models = (3, 30) if quick else growth.MODELS
    found = {}
    for kind, uploaded in (("small", growth.SMALL), ("large", growth.LARGE)):
        (folder / kind).mkdir()
        with rigged(folder / kind) as rig:
            found[kind] = growth.measure(rig, models, uploaded)
    return found


def _growth_rows(found: Figures) -> list[Row]:
    return [row for kind, each in found.items() for row in _growth_rows_of(kind, each)]


def _growth_rows_of(kind: str, found: Figures) -> list[Row]:
    few, many = found["models"]
    what = f"CPU of an upload, {kind} source, empty state, {many} models against {few}"
    return [
        Row(what, found["ratio"], "", 2),
        *(
            Row(f"  {name} of it with {count} models", times[f"{name}_s"], "s")
            for count, times in ((few, found["few"]), (many, found["many"]))
            for name in ("client", "server")
        ),
    ]


Measure = Callable[[Path, bool], Figures]
SECTIONS: Final[dict[str, tuple[Measure, Callable[[Figures], list[Row]]]]] = {
    "codec": (_codec, _codec_rows),
    # Before what makes this process large: `ru_maxrss` of a child starts at its parent's.
    "upload": (_upload, _upload_rows),
    "small": (_small, _small_rows),
    "growth": (_growth, _growth_rows),
    "message": (_message, _message_rows),
    "serving": (_serving, _serving_rows),
    "instructions": (_instructions, _instructions_rows),
    "kernel": (_kernel, _kernel_rows),
}

if __name__ == "__main__":
    raise SystemExit(main())
