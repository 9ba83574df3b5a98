"""uploader.session.repair: frames written anew, and a lease that is given back."""

import pytest

from datanode.errors import LeaseLostError, SourceChangedError
from tests.fakes.memory_node import MemoryNode
from uploader.session.repair import write_anew


def test_a_lease_that_cannot_be_given_back_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    node, given_back = MemoryNode(), []

    def requeue(lease_id: int) -> None:
        given_back.append(lease_id)
        raise LeaseLostError("the lease is gone")

    def changed(_index: int) -> bytes:
        raise SourceChangedError("the source has other bytes")

    monkeypatch.setattr(node, "end_upload", requeue)
    with pytest.raises(SourceChangedError) as raised:
        write_anew(node, "llama", map(changed, [0]), frames_count=1, frame_bytes=1)
    assert len(given_back) == 1
    assert "the lease is gone" in raised.value.__notes__[0]
