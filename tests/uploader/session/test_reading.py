"""uploader.session.encode_pipeline: threads that read and encode."""

import threading
from typing import TYPE_CHECKING

import pytest

from uploader.session.encode_pipeline import workers

if TYPE_CHECKING:
    from concurrent.futures import Future


def test_who_ends_early_does_not_wait_for_a_source_that_stalls() -> None:
    goes_on, begun = threading.Event(), threading.Event()
    reads: list[Future[None]] = []

    def stall() -> None:
        begun.set()
        goes_on.wait()

    def work() -> None:
        with workers(1) as pool:
            reads.extend(pool.submit(stall) for _ in range(2))
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [each.done() for each in reads] == [False, True]
    assert reads[1].cancelled()
    goes_on.set()
    reads[0].result()
