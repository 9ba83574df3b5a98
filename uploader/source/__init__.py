"""Where weights come from: files, folders and buckets, read by byte range."""

from uploader.source.base import Source
from uploader.source.open_source import open_source
from uploader.source.selection import notes_on

__all__ = ["Source", "notes_on", "open_source"]
