"""Map errors of huggingface_hub to the error tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from datanode.errors import DataNodeError, NetworkError, SourceChangedError, SourceError
from datanode.text import printable, shown

_LOG_IN: Final = "Log in with `hf auth login`, or set HF_TOKEN to a token that may read it."
_DENIED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into the error tree, with the cause kept.

    Raises:
        NetworkError: Another attempt may work.
        SourceChangedError: A file is gone.
        SourceError: The model cannot be read.
    """
    try:
        yield
    except (HfHubHTTPError, EntryNotFoundError) as error:
        raise _of_answer(error, shown(what)) from error
    except OfflineModeIsEnabled as error:
        raise SourceError(
            f"{shown(what)} cannot be read: HF_HUB_OFFLINE is set", hint="Unset HF_HUB_OFFLINE."
        ) from error
    except httpx2.HTTPError as error:
        raise NetworkError(f"{shown(what)} does not answer: {printable(str(error))}") from error
    except HFValidationError as error:
        raise SourceError(
            f"{shown(what)} is not an address", hint="Write hf://ORG/MODEL or hf://ORG/MODEL@REV."
        ) from error


def _of_answer(error: HfHubHTTPError | EntryNotFoundError, what: str) -> DataNodeError:
    match error:
        case GatedRepoError():
            words = "is gated, and this account has not been granted access"
            hint = f"Accept its conditions on its page. {_LOG_IN}"
        case RepositoryNotFoundError():
            words = "is not there, or this account may not read it"
            hint = f"Check the name. {_LOG_IN}"
        case RevisionNotFoundError():
            words = "has no such revision"
            hint = "Name a branch, a tag or a commit of the model."
        case DisabledRepoError():
            words, hint = "is disabled by the hub", ""
        case EntryNotFoundError():
            return SourceChangedError(f"{what} is gone")
        case _:
            return _of_status(error, what)
    return SourceError(f"{what} {words}", hint=hint)


def _of_status(error: HfHubHTTPError, what: str) -> DataNodeError:
    status = error.response.status_code
    said = printable(error.server_message or f"status {status}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return NetworkError(f"{what} does not answer: {said}")
    hint = _LOG_IN if status in _DENIED else ""
    return SourceError(f"{what} cannot be read: {said}", hint=hint)
