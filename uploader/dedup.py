"""Which content the node holds for this identity, and on whose word.

Three sources, in the order in which they are asked:

1. our own record: certified replies, and what the node has told before;
2. the node, by consensus: contents of versions that this identity sealed;
3. claims: versions that others sealed. Their content digests are believed only after one of their
   frames was decoded here and compared.

The encoder's version plays no part: a chunk whose content is known keeps the frame it has.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from datanode.digest import ContentDigest, FrameDigest
from datanode.model import ChunkRecord

Lookup = Callable[[Sequence[ContentDigest]], Mapping[ContentDigest, ChunkRecord]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentClaim:
    """A frame that another identity's manifest says holds some content.

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
class HeldContents:
    """Answers "is this content held?" for one node.

    Attributes:
        record: Looks contents up in our own record.
        ask: Asks the node for contents that the record lacks; the answer must be certain.
        load_claims: Reads the claims, once, when something is about to be paid for.
        held: Frames held under the lease of this upload: they need no pin.
    """

    record: Lookup
    ask: Lookup
    load_claims: Callable[[], Mapping[ContentDigest, ContentClaim]]
    held: set[FrameDigest] = field(default_factory=set)
    _claims: dict[ContentDigest, ContentClaim] | None = None

    def find(self, contents: Sequence[ContentDigest]) -> dict[ContentDigest, ChunkRecord]:
        """Return the frames that hold these contents; what nobody holds for us is left out."""
        found = dict(self.record(contents))
        unknown = [content for content in contents if content not in found]
        if unknown:
            found.update(self.ask(unknown))
        return found

    def claim(self, content: ContentDigest) -> ContentClaim | None:
        """Return an unverified claim for this content, or None."""
        if self._claims is None:
            self._claims = dict(self.load_claims())
        return self._claims.get(content)

    def disbelieve(self, claim: ContentClaim) -> None:
        """Drop a claim that did not hold."""
        if self._claims is not None:
            self._claims.pop(claim.record.content, None)

    def needs_pin(self, record: ChunkRecord) -> bool:
        """Tell whether a known frame must be pinned before the lease holds it."""
        return record.frame not in self.held

    def hold(self, frames: Iterable[FrameDigest]) -> None:
        """Note frames that are held under the lease now."""
        self.held.update(frames)

    def mark_unheld(self, frames: Iterable[FrameDigest]) -> None:
        """Note frames that the node turned out not to hold."""
        self.held.difference_update(frames)
