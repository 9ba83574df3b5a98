"""Checkpoints, sealed on a real storage canister, as their maker has them."""

import contextlib
import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datanode import manifest
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.codec import bits, masksplit
from datanode.digest import content_digest, frame_digest
from datanode.fees import FeeSchedule
from datanode.frame import Frame, seal_raw
from datanode.limits import MAX_TENSORS_A_PAGE
from datanode.localnet.api import LocalNetwork
from datanode.manifest import FileEntry
from datanode.model import ChunkRecord, ElementType
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.placement import Placement
from datanode.reader import Reader
from datanode.reader.version import VerifiedVersion
from tests.fakes.checkpoints import put
from uploader.session.upload import UploadContext, upload
from uploader.source import open_source
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore

Tensor = tuple[str, tuple[int, ...], bytes]
"""Dtype, shape and bytes."""

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Owner of the models and of the node that they are sealed on.

    Attributes:
        net: The network.
        node: The storage canister, as its controller.
        folder: Where checkpoints and the uploader's state lie.
    """

    net: LocalNetwork
    node: CanisterNode
    folder: Path

    def seal(self, source: Path, model: str) -> int:
        """Upload a checkpoint; returns the version."""
        state = self.folder / "state"
        with (
            contextlib.closing(open_source(source)) as opened,
            open_database(f"sqlite:///{state / 'state.db'}") as database,
        ):
            place = UploadContext(
                node=self.node,
                me=self.net.owner.principal,
                reader=Reader(self.node, root_key=self.net.root_key),
                state=StateStore(database, me=self.net.owner.principal),
                outbox=Outbox(state / "outbox"),
                fees=FeeSchedule.load(),
            )
            return upload(opened, model, place).version

    def seal_claims(
        self, model: str, raw: bytes, *, content: bytes | None = None, sha256: bytes | None = None
    ) -> None:
        """Seal a file of one chunk, claiming the digests of other bytes: the canister decodes none.

        Args:
            model: Its name.
            raw: What is sent.
            content: What the chunk's content digest is of; None: of `raw`.
            sha256: What the file's SHA-256 is of; None: of `raw`.
        """
        claimed = content_digest(raw if content is None else content)
        data = Frame(0, ElementType.BYTES, len(raw), claimed, 0, raw).pack()
        record = ChunkRecord(
            content=claimed,
            frame=frame_digest(data),
            raw_bytes=len(raw),
            frame_bytes=len(data),
            codec_id=0,
            element=ElementType.BYTES,
        )
        file = FileEntry(
            path="claims.txt",
            length_bytes=len(raw),
            sha256=hashlib.sha256(raw if sha256 is None else sha256).digest(),
            first_chunk=0,
            chunk_count=1,
        )
        built = manifest.build([file], [record], [], {})
        place = Placement(
            manifest=built.digest, nodes=(self.node.principal,), runs=((0, 1),), chunk_count=1
        )
        placement = seal_raw(place.pack())
        lease = self.node.begin_upload(model, frames_count=3, frame_bytes=0)
        put(self.node, lease.id, [data, built.head_frame, *built.chunk_page_frames, placement])
        self.node.seal_model(
            lease.id, model, manifest=built.digest, placement=frame_digest(placement)
        )

    def version(self, model: str) -> VerifiedVersion:
        """Open the latest version as this project reads it."""
        return Reader(self.node, root_key=self.net.root_key).open_version(model)

    @contextmanager
    def flipped(self, frame: bytes) -> Iterator[None]:
        """Hold the last bit of a stored frame flipped, behind the canister's back."""
        offset = self.net.find(self.node.principal, frame)
        assert offset is not None
        last = offset + len(frame) - 1
        self.net.flip(self.node.principal, last, 1)
        yield
        self.net.flip(self.node.principal, last, 1)


@contextmanager
def maker(net: LocalNetwork, folder: Path) -> Iterator[Maker]:
    """Make a node on a network."""
    agent = Agent(Network(url=net.url, root_key=net.root_key, name="local"), net.owner)
    with contextlib.closing(agent):
        node = CanisterNode(agent, deploy.create_node(agent))
        yield Maker(net=net, node=node, folder=folder)


def sha256s(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_small(folder: Path, seed: int = 0) -> Path:
    """Write two small tensors in one shard; another seed gives other bytes."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed).normal(0, 0.02, (2, 40, 100)).astype(np.float16)
    tensors = {f"layer.{index}": _tensor("F16", draw[index]) for index in range(2)}
    (folder / "model.safetensors").write_bytes(_safetensors(tensors))
    return folder


def write_everything(folder: Path) -> Path:
    """Write two shards with every dtype that codecs tell apart, and the files beside them."""
    draw = np.random.default_rng(5)
    native = draw.normal(0, 0.02, (1_300, 1_024)).astype(np.float32)
    (folder / "onnx").mkdir(parents=True)
    halves = {
        "f16": _tensor("F16", native[:, :999].astype(np.float16)),  # 2.6 MB: two chunks
        "f16_of_bf16": _tensor("F16", _rounded(native[:60]).astype(np.float16)),
        "f16_constant": _tensor("F16", np.full((64, 64), 1.5, np.float16)),
        "f16_of_any_scale": _tensor("F16", (native[:64] * 10 ** draw.uniform(-4, 5)).astype("<f2")),
        "f16_scalar": _tensor("F16", np.array(0.25, np.float16)),
        "empty": ("F16", (0, 8), b""),
        "empty_at_the_end": ("I64", (0,), b""),
    }
    wholes = {
        "bf16": _tensor("BF16", (native[:80].view("<u4") >> 16).astype("<u2")),
        "bf16_of_any_bits": _tensor("BF16", draw.integers(0, 1 << 16, (90, 77)).astype("<u2")),
        "f32": _tensor("F32", native[:50, :1_001]),
        "f32_of_bf16": _tensor("F32", _rounded(native[:60])),
        "f8": _tensor("F8_E4M3", draw.integers(0, 40, (55, 33)).astype(np.uint8)),
        "f64": _tensor("F64", native[:9, :11].astype("<f8")),
        "i64": _tensor("I64", np.arange(777, dtype="<i8")),
        "bool": _tensor("BOOL", draw.integers(0, 2, (3, 5, 7)).astype(np.uint8)),
        "u8": _tensor("U8", draw.integers(0, 256, 12_345).astype(np.uint8)),
    }
    # Enough for two pages of tensors.
    wholes |= {f"none.{number}": ("U8", (0,), b"") for number in range(MAX_TENSORS_A_PAGE)}
    for name, tensors in zip(SHARDS, (halves, wholes), strict=True):
        (folder / name).write_bytes(_safetensors(tensors))
    index = {name: shard for shard, of in zip(SHARDS, (halves, wholes), strict=True) for name in of}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "config.json").write_text(json.dumps({"model_type": "everything", "layers": 0}))
    words = {f"word{number}": number for number in range(5_000)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": words}}))
    (folder / "tokenizer.model").write_bytes(draw.bytes(4_097))
    (folder / "onnx" / "config.json").write_text("{}")
    (folder / "merges.txt").write_bytes(b"")
    return folder


def _rounded(values: np.ndarray) -> np.ndarray:
    """F32 values that a BF16 holds."""
    return (values.view("<u4") & np.uint32(0xFFFF_0000)).view("<f4")


def _tensor(dtype: str, values: np.ndarray) -> Tensor:
    return dtype, np.shape(values), values.tobytes()


def _safetensors(tensors: dict[str, Tensor]) -> bytes:
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        span = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": span}
        data += raw
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


def one_symbol_frame(width: int) -> bytes:
    """Make a frame of codec 2 whose words have `width` bits outside of the mask, and one symbol."""
    draw = np.random.default_rng(width)
    mask = 0xFFFF & ~sum(1 << int(bit) for bit in draw.choice(16, width, replace=False))
    words = draw.integers(0, 1 << 16, 1_003).astype("<u2")
    words = words & np.uint16(~mask & 0xFFFF) | np.uint16(0xA5C3 & mask)
    header = masksplit.PREFIX.pack(1, bytes(3)) + masksplit.PLANE.pack(mask, 1, 0, 0, bytes(4))
    payload = header + struct.pack("<H", 0xA5C3 & mask) + bits.pack(words, mask) + b"\x07"
    raw = words.tobytes() + b"\x07"  # and a tail
    return Frame(2, ElementType.F16, len(raw), content_digest(raw), 0, payload).pack()
