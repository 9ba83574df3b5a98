"""Map a full disk to an error in plain words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from datanode.errors import DiskFullError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def refuse_when_full() -> Iterator[None]:
    """Turn the system's word for a full disk into ours.

    Raises:
        DiskFullError: A write found no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            "the disk that holds the embedded network's state is full",
            safe="The message is undone; every acknowledged message is kept.",
        ) from error
