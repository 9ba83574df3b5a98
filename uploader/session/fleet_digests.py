"""Digests of a whole checkpoint, computed beside the uploads of its parts.

A part's own SHA-256 says nothing of the files that it is cut from, so the checkpoint is read once
more, in order. The digests of its chunks are compared with what the members hold.
"""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from datanode.digest import content_digest
from uploader.chunker import Layout
from uploader.source.base import Source


class WholeDigests:
    """Reads a checkpoint in order, on a thread of its own; a context manager.

    Args:
        source: The checkpoint.
        layout: Its chunks.
    """

    def __init__(self, source: Source, layout: Layout) -> None:
        self._source = source
        self._layout = layout
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._work = self._pool.submit(self._read)

    def result(self) -> tuple[dict[int, bytes], bytes]:
        """Wait for the SHA-256 of each file, and the content digests of all chunks, joined.

        Raises:
            SourceError: The checkpoint cannot be read.
        """
        return self._work.result()

    def _read(self) -> tuple[dict[int, bytes], bytes]:
        files: dict[int, bytes] = {}
        contents = bytearray()
        for index in range(len(self._layout.files)):
            sha256 = hashlib.sha256()
            for spec in self._layout.chunks(index):
                if self._stop.is_set():
                    return files, bytes(contents)
                raw = self._source.read(index, spec.offset_bytes, spec.length_bytes)
                sha256.update(raw)
                contents += content_digest(raw)
            self._source.check_digest(index, sha256.digest())
            files[index] = sha256.digest()
        return files, bytes(contents)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
