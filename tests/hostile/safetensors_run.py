"""Run hostile safetensors files in a process of their own, and report its peak memory.

`python -m tests.hostile.safetensors_run hand-made|mutations COUNT SEED` prints one JSON object.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from datanode.errors import SourceError
from tests.hostile.safetensors_cases import ACCEPTED, EVERY, JSON, TENSORS, of, tensor
from uploader.chunker import Layout
from uploader.source import open_source

_INTERESTING = (
    b"-1", b"0", b"1e9", b"18446744073709551616", b"9" * 400, b"true", b"null", b"NaN", b"[", b"]",
    b"{", b"}", b'"', b",", b":", b"\\", b"\\u0000", b"\\ud800", b"\x00", b"\xff", b" ", b"\n",
    b'"__metadata__"', b'"data_offsets"', b"F64", b"..", b"/", b"[]", b"{}", b"\x1b[2J",
)  # fmt: skip


def seeds() -> list[bytes]:
    whole = {
        "__metadata__": {"format": "pt", "note": "x" * 40},
        "model.embed.weight": tensor(0, 48, [4, 6]),
        "model.layers.0.w": tensor(48, 72, [3, 2], "F32"),
        "model.layers.0.b": tensor(72, 75, [3], "U8"),
        "scale": tensor(75, 77, []),
        "none": tensor(77, 77, [0, 3]),
    }
    small = [case.make() for case in (ACCEPTED | JSON | TENSORS).values()]
    return [of(whole, 77)] * 20 + small


def mutations(count: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    originals = seeds()
    for _ in range(count):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            _mutate(data, chance)
        if chance.random() < 0.7:  # keep the length honest, so that the header is reached
            header = max(data.find(b"}}", 8) + 2, 10)
            data[:8] = (header - 8).to_bytes(8, "little")
        yield bytes(data)


def _mutate(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 1, 2, 8, 40)))
    kind = chance.randrange(6)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[at:at] = chance.choice(_INTERESTING)
    elif kind == 2:
        data[at:end] = chance.choice(_INTERESTING)
    elif kind == 3:
        del data[at:end]
    elif kind == 4:
        data[at:at] = data[at:end]
    elif chance.random() < 0.2:
        del data[at:]
    else:
        data[at:end] = reversed(data[at:end])


def try_file(path: Path, data: bytes) -> tuple[str, str]:
    """Open one file as the uploader does; anything but a `SourceError` escapes."""
    with path.open("r+b") as file:  # emptying it first would make ext4 flush each version
        file.write(data)
        file.truncate()
    try:
        source = open_source(path)
    except SourceError as error:
        if not (str(error).isascii() and str(error).isprintable()):
            raise AssertionError(f"control characters in a message: {error!r}") from error
        return type(error).__name__, str(error)
    layout = Layout(source.files(), source.tensors())
    if layout.total_bytes != len(data):
        raise AssertionError("an accepted file is not tiled")
    return "", ""


def peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def main() -> None:
    kind, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    named: Iterator[tuple[str, bytes]]
    if kind == "hand-made":
        named = ((name, case.make()) for name, case in EVERY.items())
    else:
        named = ((str(number), data) for number, data in enumerate(mutations(count, seed)))
    outcomes: dict[str, list[str]] = {}
    accepted_count = tried_count = 0
    slowest_s, slowest, slowest_accepted_s = 0.0, "", 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.touch()
        for name, data in named:
            before = time.process_time()
            error, message = try_file(path, data)
            spent = time.process_time() - before
            if error and spent > slowest_s:
                slowest_s, slowest = spent, name
            slowest_accepted_s = max(slowest_accepted_s, 0 if error else spent)
            tried_count += 1
            accepted_count += not error
            if kind == "hand-made":
                outcomes[name] = [error, message]
    report = {
        "tried": tried_count,
        "accepted": accepted_count,
        "slowest_s": slowest_s,
        "slowest": slowest,
        "slowest_accepted_s": slowest_accepted_s,
        "peak_bytes": peak_bytes(),
        "outcomes": outcomes,
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
