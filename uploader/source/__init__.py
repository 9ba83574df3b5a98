"""Where weights come from: files, folders and buckets, read by byte range."""

from uploader.source.base import Source
from uploader.source.opening import open_source

__all__ = ["Source", "open_source"]
