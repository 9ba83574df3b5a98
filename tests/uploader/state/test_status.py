"""uploader.state.lifecycle: the table of moves, and that the schema knows every value."""

from enum import StrEnum

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import StateDamagedError
from uploader.state import schema
from uploader.state.lifecycle import (
    ALLOWED,
    HELD,
    ChunkStatus,
    MessageStatus,
    UploadStatus,
    require,
)

statuses = st.sampled_from(ChunkStatus)


@given(statuses, statuses)
def test_require_agrees_with_the_table(current: ChunkStatus, target: ChunkStatus) -> None:
    if target in ALLOWED[current]:
        require(current, target)
    else:
        with pytest.raises(StateDamagedError):
            require(current, target)


@given(statuses)
def test_audited_and_planned_are_always_in_reach(start: ChunkStatus) -> None:
    reached = {start}
    while grown := {after for status in reached for after in ALLOWED[status]} - reached:
        reached |= grown
    assert {ChunkStatus.AUDITED, ChunkStatus.PLANNED} <= reached


def test_nothing_is_held_without_a_certified_answer_or_the_word_of_the_node() -> None:
    assert ALLOWED[ChunkStatus.INTENT] & set(HELD) == {ChunkStatus.STORED}
    assert ALLOWED[ChunkStatus.PLANNED] & set(HELD) == {ChunkStatus.KNOWN}
    assert not ALLOWED[ChunkStatus.ENCODED] & set(HELD)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (schema.upload, set(UploadStatus)),
        (schema.message, set(MessageStatus)),
        (schema.chunk, set(ChunkStatus) - {ChunkStatus.PLANNED}),
    ],
)
def test_the_schema_takes_exactly_these_values(table: sa.Table, values: set[StrEnum]) -> None:
    (constraint,) = (c for c in table.constraints if c.name == f"ck_{table.name}_status")
    assert isinstance(constraint, sa.CheckConstraint)
    listed = {part.strip("' ") for part in str(constraint.sqltext).split("(")[1][:-1].split(",")}
    assert listed == {value.value for value in values}
