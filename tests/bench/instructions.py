"""IC instructions of putting and sealing, from the embedded network's ledger; exact."""

from dataclasses import dataclass
from typing import Final
from unittest.mock import patch

import numpy as np

from tests.bench.rig import Rig, noise, noise_frames, timeless_cycles
from tests.uploader.session.stage import safetensors_bytes
from uploader import grouping

FRAME_COUNTS: Final = (1, 2, 4, 30, 95)
SEALED_FRAMES: Final = 8_000
_SMALL_BYTES: Final = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Measured cost of one message of new frames.

    Attributes:
        stored_bytes: Bytes of its frames.
        instructions: IC instructions.
        envelope_bytes: Bytes of the signed message.
        cycles: Its price, rent aside.
    """

    stored_bytes: int
    instructions: int
    envelope_bytes: int
    cycles: int

    @property
    def a_stored_byte(self) -> float:
        """Instructions for each of them."""
        return self.instructions / self.stored_bytes


def of_puts(rig: Rig) -> dict[str, Put]:
    """Count what one message of 1.9 MB takes, by how many frames share it."""
    lease = rig.node.begin_upload("instructions", frames_count=64, frame_bytes=10**8)
    rig.put(lease, noise_frames("first", 1))  # the first put of a canister prepares its store
    counted = {}
    for count in FRAME_COUNTS:
        frames = noise_frames("instructions", count)
        entry = rig.put(lease, frames)
        counted[str(count)] = Put(
            stored_bytes=sum(map(len, frames)),
            instructions=entry.instructions,
            envelope_bytes=entry.envelope_bytes,
            cycles=timeless_cycles(entry),
        )
    return counted


def of_seal(rig: Rig, frames_count: int = SEALED_FRAMES) -> dict[str, int]:
    """Count what sealing a model of so many small frames takes, in all and in one message."""
    tensors = {
        f"t{index:05}": np.frombuffer(noise(f"seal {index}", _SMALL_BYTES), np.uint8)
        for index in range(frames_count)
    }
    path = rig.folder / "many.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    last = rig.last()
    with patch.object(grouping, "SMALL_BYTES", 0):  # a frame for each tensor
        rig.upload(path, "many", state="many")
    seals = [entry.instructions for entry in rig.entries("seal_model", after=last)]
    puts = [entry.instructions for entry in rig.entries("put_frames", after=last)]
    return {
        "frames": frames_count,
        "messages": len(seals),
        "instructions": sum(seals),
        "largest_message_instructions": max(seals),
        "largest_put_instructions": max(puts),
    }
