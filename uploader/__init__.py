"""The write path and the command line; `uploader.upload` is the command as a function."""

from uploader.library import upload
from uploader.session.upload import UploadOptions, UploadSummary

__all__ = ["UploadOptions", "UploadSummary", "upload"]
