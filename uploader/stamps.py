"""One number that tells whether a file may have changed, kept by the state across runs.

A stamp has 62 bits: 31 of a digest of the time of the last write (mtime), then 31 of a digest of
the time of the last change of any kind (ctime). Any program can set mtime, none can set ctime; but
ctime also moves when a file is copied, linked or given to somebody else. So if only ctime differs,
the content is in doubt and the file is read again. Digests, because file systems tell times that
fit no column: a file of the year 2300 has 2^63 nanoseconds.
"""

import hashlib
from typing import Final

_HALF_BITS: Final = 31
_DIGEST_BYTES: Final = 8


def of_times(written_ns: int, changed_ns: int) -> int:
    """Make a stamp of mtime and ctime, nanoseconds."""
    return _half(str(written_ns)) << _HALF_BITS | _half(str(changed_ns))


def of_tag(tag: str) -> int:
    """Make a stamp of a tag that changes with the content, such as an ETag."""
    return _half(tag) << _HALF_BITS | _half(f"{tag} again")


def is_doubt(one: int, other: int) -> bool:
    """Whether two stamps differ in ctime only."""
    return one != other and one >> _HALF_BITS == other >> _HALF_BITS


def _half(text: str) -> int:
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:_DIGEST_BYTES]) >> (8 * _DIGEST_BYTES - _HALF_BITS)
