"""The manifest: what a version of a model consists of, wherever its bytes lie.

A small head (`head.py`) names the files and the addresses of pages of records (`pages.py`), so
that nobody has to parse more than is needed. Head and pages are stored as raw frames: each has
one address, which is a pure function of its bytes, and the *manifest digest* is the frame digest
of the head. There is no node, no time and no release in it: the same source with the same frames
has the same manifest everywhere.
"""

from datanode.manifest.build import Manifest, ManifestBuilder, build
from datanode.manifest.check import check_pages, check_tensor
from datanode.manifest.head import FileEntry, ManifestHead, parse_head
from datanode.manifest.pages import TensorEntry, parse_chunk_page, parse_tensor_page
from datanode.manifest.storability import check_limits

__all__ = [
    "FileEntry",
    "Manifest",
    "ManifestBuilder",
    "ManifestHead",
    "TensorEntry",
    "build",
    "check_limits",
    "check_pages",
    "check_tensor",
    "parse_chunk_page",
    "parse_head",
    "parse_tensor_page",
]
