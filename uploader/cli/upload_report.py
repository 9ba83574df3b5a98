"""Report how an upload or a copy ended, in the same figures for people and programs."""

from typing import TYPE_CHECKING

from datanode.units import format_bytes, format_cycles

if TYPE_CHECKING:
    from uploader.cli.output import Output
    from uploader.session.upload import UploadSummary


def report(output: "Output", summary: "UploadSummary", *, sealed: str, unchanged: str) -> None:
    """Print a summary.

    Args:
        output: Where it goes.
        summary: What the run did.
        sealed: Sentence about a version that this run sealed, without its end.
        unchanged: Sentence about a version that was there already.
    """
    text = unchanged
    if not summary.unchanged:
        text = (
            f"{sealed}: "
            f"{format_bytes(summary.raw_bytes)}, {format_bytes(summary.known_bytes)} known before, "
            f"{summary.frames_count} frames in {format_bytes(summary.sent_bytes)} sent, "
            f"about {format_cycles(summary.cycles)}"
        )
    output.summary(
        text,
        model=summary.model,
        version=summary.version,
        manifest=summary.manifest.hex(),
        raw_bytes=summary.raw_bytes,
        known_bytes=summary.known_bytes,
        frames=summary.frames_count,
        sent_bytes=summary.sent_bytes,
        retried_bytes=summary.retried_bytes,
        cycles=summary.cycles,
        unchanged=summary.unchanged,
    )
