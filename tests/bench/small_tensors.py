"""An upload of 100,000 tensors of 64 bytes: frames, processor time of both sides, memory."""

from pathlib import Path
from typing import Final

import numpy as np

from datanode.localnet import process
from tests.bench.uploading import STATE_DIR, Site

TENSORS: Final = 100_000
TENSOR_BYTES: Final = 64
_TICKS_A_SECOND: Final = 100


def write_tensors(path: Path, count: int) -> int:
    """Write scales of a quantised checkpoint; returns the bytes of the file."""
    entries = b",".join(
        b'"model.layers.%d.mlp.experts.%d.down_proj.weight_scale_%d":'
        b'{"dtype":"F32","shape":[16],"data_offsets":[%d,%d]}'
        % (index // 1_000, index % 1_000, index, index * TENSOR_BYTES, (index + 1) * TENSOR_BYTES)
        for index in range(count)
    )
    header = b"{" + entries + b"}"
    scales = np.random.default_rng(1).normal(0, 0.02, count * TENSOR_BYTES // 4)
    path.write_bytes(
        len(header).to_bytes(8, "little") + header + scales.astype(np.float32).tobytes()
    )
    return path.stat().st_size


def measure(folder: Path, count: int) -> dict[str, object]:
    """Upload them with the command, and fetch one."""
    (folder / "home").mkdir()
    site = Site(folder)
    source = folder / "scales.safetensors"
    raw_bytes = write_tensors(source, count)
    site.run("localnet", "start", "--detach", "--port", "0")
    try:
        site.run("node", "create", "main", "--cycles", "5000TC")
        before = _server_cpu_s(folder)
        done = site.watch("upload", str(source), "--as", "scales")
        server_cpu_s = _server_cpu_s(folder) - before
        name = "model.layers.0.mlp.experts.7.down_proj.weight_scale_7"
        fetched = site.watch("fetch", "scales", str(folder / "one"), "--tensor", name)
    finally:
        site.run("localnet", "stop")
    start = raw_bytes - (count - 7) * TENSOR_BYTES
    if (folder / "one").read_bytes() != source.read_bytes()[start : start + TENSOR_BYTES]:
        raise SystemExit(f"fetched other bytes of {name}")
    return {
        "tensors": count,
        "raw_bytes": raw_bytes,
        "frames": done.summary["frames"],
        "sent_bytes": done.summary["sent_bytes"],
        "wall_s": round(done.wall_s, 2),
        "client_cpu_s": round(done.cpu_s, 2),
        "server_cpu_s": round(server_cpu_s, 2),
        "peak_rss_bytes": done.peak_bytes,
        "fetch_one_cpu_s": round(fetched.cpu_s, 2),
    }


def _server_cpu_s(folder: Path) -> float:
    running = process.status(folder / STATE_DIR)
    assert running is not None
    fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
