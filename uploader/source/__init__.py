"""Where weights come from: files and folders, read by byte range."""

from uploader.source.base import Source
from uploader.source.hub import open_source

__all__ = ["Source", "open_source"]
