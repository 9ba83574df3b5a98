"""The write path and the command line; `datanode.upload` is its front door.

What it offers is loaded when it is first used: a command must be able to catch signals before it
brings everything along.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uploader.library import upload
    from uploader.session.upload import UploadOptions, UploadSummary

__all__ = ["UploadOptions", "UploadSummary", "upload"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from uploader import library  # noqa: PLC0415 - see above

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
