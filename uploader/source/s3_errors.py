"""Maps errors of boto3, with the server's reason and the next step."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from datanode.errors import DataNodeError, NetworkError, SourceChangedError, SourceError
from datanode.text import printable, shown

NOT_FOUND: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_CHANGED: Final = frozenset({"412", "PreconditionFailed"})
_DENIED: Final = frozenset({"403", "AccessDenied", "Forbidden", "AllAccessDisabled"})
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}
)
_BUSY: Final = frozenset({"SlowDown", "RequestTimeout", "TooManyRequests", "Throttling", "429"})
_ON_THE_WAY: Final = (
    NoConnectionError,
    HTTPClientError,
    IncompleteReadError,
    FlexibleChecksumError,
)
"""No connection, no answer, half an answer, a damaged one: what another attempt may mend."""

_LOG_IN: Final = (
    "Log in again, e.g. `aws sso login`, and run the same command: it goes on where it stopped."
)
_HINTS: Final = (
    (
        ("requester pays", "requester-pays", "request-payer", "requestpayer"),
        "Run with --request-payer; your account then pays for the requests.",
    ),
    (("kms",), "The policy of the key must allow this identity kms:Decrypt."),
    (("requesttimetooskewed",), "Set the clock of this machine."),
)
_CHECK: Final = (
    "Check AWS_PROFILE or AWS_ACCESS_KEY_ID; listing needs s3:ListBucket; of a bucket whose "
    "readers pay, --request-payer."
)
_CREDENTIALS: Final = ("token", "credential", "sso")


def code_of(error: ClientError) -> str:
    """Return the code that a server gave to its refusal."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_silent(error: ClientError) -> bool:
    """Whether a refusal came without a reason: answers to HEAD have no body."""
    return code_of(error).isdigit()


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turn what boto3 raises into the error tree, with the cause kept.

    Raises:
        NetworkError: Another attempt may work.
        SourceChangedError: The object is gone, or was written over.
        SourceError: It cannot be read; the server's own reason is part of the message.
    """
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, shown(what)) from error
    except _ON_THE_WAY as error:
        raise NetworkError(f"{shown(what)} does not answer: {printable(str(error))}") from error
    except BotoCoreError as error:
        said = printable(str(error))
        wants_login = any(word in type(error).__name__.lower() for word in _CREDENTIALS)
        raise SourceError(
            f"{shown(what)} cannot be read: {said}", hint=_LOG_IN if wants_login else ""
        ) from error


def _of_answer(error: ClientError, what: str) -> DataNodeError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in NOT_FOUND:
        return SourceChangedError(f"{what} is gone")
    if code in _CHANGED:
        return SourceChangedError(f"{what} was written over since it was opened")
    said = _reason(error, code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _BUSY:
        return NetworkError(f"{what} does not answer: {said}")
    if code in _EXPIRED:
        return SourceError(f"{what} cannot be read any more: {said}", hint=_LOG_IN)
    hint = next((hint for words, hint in _HINTS if any(word in said.lower() for word in words)), "")
    if code in _DENIED or status == HTTPStatus.FORBIDDEN:
        return SourceError(
            f"{what} may not be read with these credentials: {said}", hint=hint or _CHECK
        )
    return SourceError(f"{what} cannot be read: {said}", hint=hint)


def _reason(error: ClientError, code: str) -> str:
    """Quote the server: its code, and its words if it has any."""
    words = printable(str(error.response.get("Error", {}).get("Message", "")))
    return f"{printable(code)}: {words}" if words and words != code else printable(code)
