"""`make demo`: the main job, from a checkpoint to a proof, with the accidents it must survive.

Everything happens in a new folder with a HOME of its own, through the `datanode` command a user
types; only the flip of a stored byte and the final judgement use the embedded network's own door.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from datanode.units import format_bytes, format_cycles
from tests.demo.judge import Judge
from tests.demo.minilm import make_checkpoint, make_variant
from tests.demo.picture import Picture

DATANODE: Final = Path(sys.executable).parent / "datanode"
SAY: Final = Console(highlight=False)
PICTURE: Final = Path(__file__).parents[2] / "build" / "demo.svg"


@dataclass(slots=True)
class Demo:
    """A stage for the demo: a folder, an environment, the last table, and a recording."""

    folder: Path
    rows: list[tuple[str, str]]
    picture: Picture

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DATANODE_", "XDG_"))}
        return inherited | {"HOME": str(self.folder / "home"), "COLUMNS": "100"}

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a `datanode` command."""
        return subprocess.Popen(
            [DATANODE, *args],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *args: str, expect: int = 0, record: bool = True) -> list[dict[str, Any]]:
        """Run a `datanode` command, show it, and return the objects it printed."""
        SAY.print(f"\n[bold]$ datanode {' '.join(args)}[/bold]")
        as_json = "--json" in args
        if record:
            self.picture.command(tuple(arg for arg in args if arg != "--json"))
        done = subprocess.run(
            [DATANODE, *args],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
        )
        if not as_json:
            SAY.print((done.stderr + done.stdout).rstrip(), markup=False)
        if record and not as_json:
            self.picture.output(done.stdout)
        if done.returncode != expect:
            SAY.print(done.stderr if as_json else "", markup=False)
            raise SystemExit(f"exit code {done.returncode}, expected {expect}")
        return [json.loads(line) for line in done.stdout.splitlines()] if as_json else []

    def summary(self, *args: str, expect: int = 0) -> dict[str, Any]:
        """Run a command with --json and return its summary."""
        is_upload = args[0] == "upload"
        result = self.run(*args, "--json", expect=expect, record=is_upload)[-1]
        if is_upload:
            self.picture.uploaded(result)
        shown = {k: v for k, v in result.items() if k not in {"type", "manifest"}}
        SAY.print("  " + "  ".join(f"{key}={value}" for key, value in shown.items()), markup=False)
        return result

    def row(self, name: str, figure: str) -> None:
        """Add a row to the last table."""
        self.rows.append((name, figure))

    def table(self) -> Table:
        """Return the last table."""
        title = "what the demo showed"
        table = Table(title=title, box=None, show_header=False, title_justify="left")
        for name, figure in self.rows:
            table.add_row(name, figure)
        return table


@contextmanager
def staged(*, keep: bool) -> Iterator[Demo]:
    """Give a stage in a folder of its own, then stop the network and show the last table.

    Args:
        keep: Keep the folder.
    """
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="datanode-demo-"))
    demo = Demo(folder=folder, rows=[], picture=Picture(folder))
    (folder / "home").mkdir()
    try:
        yield demo
    finally:
        subprocess.run(
            [DATANODE, "localnet", "stop"],
            cwd=folder,
            env=demo.environment,
            capture_output=True,
            check=False,
        )
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    demo.row("time", f"{time.monotonic() - started:.0f} s")
    SAY.print()
    SAY.print(demo.table())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--model", type=Path, help="a checkpoint of your own")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where to record it as SVG")
    args = parser.parse_args(argv)
    with staged(keep=args.keep) as demo:
        play(demo, args.model)
    demo.picture.table(demo.table())
    demo.picture.save(args.picture)
    SAY.print(f"recorded in {args.picture}")
    return 0


def play(demo: Demo, model: Path | None) -> None:
    """Go through the story once."""
    name = "minilm" if model is None else "model"
    source = model.resolve() if model else make_checkpoint(demo.folder / "f16", through_bf16=True)
    if model is None:
        SAY.print("MiniLM, real weights, rounded to BF16 and then to F16: a hub folder of 46 MB")
    demo.run("localnet", "start", "--detach", "--port", "0")
    demo.run("node", "create", "main")
    planned = demo.summary("plan", str(source))
    demo.run("plan", str(source))

    judge = Judge(demo.folder)
    killed_at = kill_half_way(demo, judge, source, name, planned["frame_bytes"])
    demo.row("killed with SIGKILL after", f"{killed_at} messages")
    first = demo.summary("upload", str(source), "--as", name)
    demo.row("raw bytes", format_bytes(first["raw_bytes"]))
    demo.row("sent bytes, both runs", format_bytes(judge.sent_bytes()))
    weights, bits = judge.bits_per_weight(name)
    demo.row("bits per weight, frames and manifest", f"{bits:.3f} ({weights:,} weights)")
    demo.row("cycles, by the network's ledger", format_cycles(judge.upload_cycles()))
    demo.row("frames paid twice", str(judge.paid().twice_count))

    demo.run("fetch", name, "back")
    demo.row("fetched files equal by SHA-256", compare(source, demo.folder / "back"))
    demo.run("audit", name, "--report", "audit.json")
    demo.run("audit", "--verify", "audit.json")
    demo.row("audit of every chunk", "OK, report verified offline")

    if model is None:
        variant = make_variant(source, demo.folder / "variant")
        sent_before = judge.sent_bytes()
        second = demo.summary("upload", str(variant), "--as", "minilm-tuned")
        demo.row(
            "a second model that shares tensors sent",
            f"{format_bytes(judge.sent_bytes() - sent_before)} for "
            f"{format_bytes(second['raw_bytes'] - second['known_bytes'])} of new weights",
        )
    again = demo.summary("upload", str(source), "--as", name)
    demo.row("the same upload once more sent", format_bytes(again["sent_bytes"]))

    chunk = judge.flip_a_stored_byte(name)
    damage = f"one bit of chunk {chunk} is flipped in the canister's stable memory"
    SAY.print(f"\n{damage}")
    demo.picture.note(damage)
    found = demo.run("audit", name, "--repair", str(source), "--json")
    damaged = [item["index"] for item in found if item.get("kind") == "finding"]
    if damaged != [chunk]:
        raise SystemExit(f"the audit found {damaged}, not chunk {chunk}")
    demo.run("audit", name)
    demo.row("flipped byte", f"found in chunk {chunk} alone, repaired, audit OK again")


def kill_half_way(demo: Demo, judge: Judge, source: Path, name: str, total_bytes: int) -> int:
    """Start the upload and kill it when about half of it is on the node."""
    SAY.print(f"\n[bold]$ datanode upload {source} --as {name}[/bold]   and kill -9 half way")
    demo.picture.command(("upload", str(source), "--as", name), "(kill -9 half way)")
    process = demo.start("upload", str(source), "--as", name)
    while process.poll() is None and judge.sent_bytes() < total_bytes // 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    count = judge.paid().messages_count
    killed = f"killed: {count} messages, {format_bytes(judge.sent_bytes())} are on the node"
    SAY.print(killed)
    demo.picture.note(killed)
    return count


def compare(source: Path, back: Path) -> str:
    """Compare SHA-256 of every fetched file with its source."""
    names = sorted(path.relative_to(back) for path in back.rglob("*") if path.is_file())
    root = source if source.is_dir() else source.parent
    for name in names:
        digests = [
            hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in (root, back)
        ]
        if digests[0] != digests[1]:
            raise SystemExit(f"{name} differs")
    return f"{len(names)} of {len(names)}"


if __name__ == "__main__":
    raise SystemExit(main())
