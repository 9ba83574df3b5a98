"""State of uploads, so that a crash costs reading time and no cycles."""
