"""Statements about messages and the frames they carry; `StateStore` puts them in transactions."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, case, delete, func, select, update

from datanode.digest import frame_digest
from datanode.errors import FormatError, NotFoundError
from datanode.node.port import PutResult, PutStatus, SignedMessage
from datanode.principal import Principal
from uploader.state import tables
from uploader.state.records import (
    LedgerEntry,
    OpenMessage,
    OutgoingFrame,
    Totals,
    check_rowsum,
    frame_columns,
    record_of,
    rowsum,
)
from uploader.state.status import ChunkStatus, MessageStatus, require

_STORED: Final = frozenset({PutStatus.STORED, PutStatus.ALREADY_STORED})
