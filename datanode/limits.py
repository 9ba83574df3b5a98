"""Limits of the platform and of our formats, each with unit and source.

A number from the platform appears in the code only by one of these names.
"""

from typing import Final

from datanode.units import GIB, MIB, SECOND_NS

MAX_INGRESS_BYTES: Final = 2 * MIB
"""Largest ingress message, bytes, envelope included. Source: IC resource limits, 2026-05."""

MAX_VERSION: Final = 2**32 - 1
"""Largest number of a version. Ours: it is a u32 in every format."""

MAX_MESSAGE_FRAMES_BYTES: Final = 2_090_000
"""Most frame bytes that one `put_frames` message carries. Ours: leaves 7,152 bytes of envelope."""

MAX_MESSAGE_FRAMES: Final = 256
"""Most frames in one `put_frames` message. Ours: bounds the reply and the index work."""

MAX_QUERY_REPLY_BYTES: Final = 3 * MIB
"""Largest reply of a query, bytes. Source: IC resource limits, 2026-05."""

MAX_UPDATE_REPLY_BYTES: Final = 2 * MIB
"""Largest reply of an update call, bytes. Source: IC resource limits, 2026-05."""

INGRESS_TTL_NS: Final = 300 * SECOND_NS
"""How far ahead an ingress expiry may lie. Source: IC interface specification 0.66."""

MESSAGE_EXPIRY_NS: Final = 240 * SECOND_NS
"""How far ahead of subnet time we set it. Ours: a minute of slack for skew and queueing."""

CERTIFICATE_MAX_AGE_NS: Final = 300 * SECOND_NS
"""Oldest certificate that counts as fresh. Source: IC interface specification 0.66."""

MAX_CHUNK_BYTES: Final = 2_080_768
"""Largest raw chunk, bytes: 508 pages of 4 KiB, so that a raw frame fits one ingress message."""

FRAME_HEADER_BYTES: Final = 64
MAX_FRAME_BYTES: Final = FRAME_HEADER_BYTES + MAX_CHUNK_BYTES
"""A frame is never larger than its raw form: `raw` is always allowed."""

MAX_MANIFEST_HEAD_BYTES: Final = 1 * MIB
CHUNK_RECORD_BYTES: Final = 80
MAX_CHUNKS_A_PAGE: Final = 16_384
MAX_TENSORS_A_PAGE: Final = 4_096
MAX_NAME_BYTES: Final = 512
"""Longest tensor or file name, bytes."""

MAX_MODEL_NAME_BYTES: Final = 128
"""Longest model name, bytes of `[A-Za-z0-9._/-]`."""

MAX_RANK: Final = 8
MAX_TENSORS: Final = 200_000
"""Most tensors of a file, and of a manifest. Ours: bounds the memory of a plan and of a seal."""

MAX_HEADER_BYTES: Final = 32 * MIB
"""Largest safetensors header that is read, bytes. Ours: a 405B checkpoint needs under 1 MiB, a
quantised one of 140,000 tensors 18 MB. The library itself reads 100,000,000 bytes."""

MAX_METADATA_BYTES: Final = 4 * MIB
"""Largest `__metadata__` of a safetensors file, bytes of text. Ours: training logs reach 2 MB."""
MAX_DIGESTS_A_CALL: Final = 16_384
"""Most digests in one `missing_frames` or `pin_frames` call."""

MAX_VERSIONS: Final = 4_096
"""Most versions of a model on a node. Source: canisters/store/src/limits.rs."""

MAX_MODELS: Final = 65_536
"""Most models on a node. Source: canisters/store/src/limits.rs."""

MAX_STABLE_BYTES: Final = 500 * GIB
"""Largest stable memory of a canister, bytes. Source: IC resource limits, 2026-05."""

PUT_INSTRUCTIONS_PER_BYTE: Final = 19.6
"""Upper bound of instructions the storage canister needs a stored byte. Ours; held in CI."""
