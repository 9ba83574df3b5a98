"""Which content the node already holds for us, and on whose word.

Three sources, in order of trust: receipts and own leases (we wrote those frames), manifests that
this identity sealed (we wrote those too), and manifests that somebody else sealed: their content
digests are a claim until one of us has decoded the frame once. The encoder's version plays no
part: a chunk whose content is known keeps the frame it already has.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from datanode.digest import ContentDigest, FrameDigest
from datanode.model import ChunkRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A frame that somebody else's manifest says holds some content.

    Attributes:
        model: Name of the model.
        manifest: The manifest that makes the claim.
        index: Position of the chunk in it.
        record: What it says of the chunk.
    """

    model: str
    manifest: FrameDigest
    index: int
    record: ChunkRecord


@dataclass(slots=True)
class Known:
    """Answers "is this content held?" for one node.

    Attributes:
        receipts: Looks our own knowledge up; a database.
        held: Frames held under the lease of this upload: they need no pin.
        claims: What others' manifests say.
    """

    receipts: Callable[[ContentDigest], ChunkRecord | None]
    held: set[FrameDigest] = field(default_factory=set)
    claims: dict[ContentDigest, Claim] = field(default_factory=dict)

    def find(self, content: ContentDigest) -> ChunkRecord | None:
        """Return the frame that we know holds this content, or None."""
        return self.receipts(content)

    def claim(self, content: ContentDigest) -> Claim | None:
        """Return an unverified claim for this content, or None."""
        return self.claims.get(content)

    def needs_pin(self, record: ChunkRecord) -> bool:
        """Tell whether a known frame must be pinned before the lease holds it."""
        return record.frame not in self.held

    def hold(self, frames: Iterable[FrameDigest]) -> None:
        """Note frames that are held under the lease now."""
        self.held.update(frames)
