"""Wait on the event loop for the answer of a message that awaits other canisters."""

import asyncio
import contextlib
from concurrent.futures import Executor

from datanode.localnet.state.requests import RequestHistory


async def answered(
    requests: RequestHistory, request_id: bytes, pool: Executor, until: float
) -> bool:
    """Wait until a message that was executed has its answer; False when that takes too long.

    Args:
        requests: The messages that the network knows.
        request_id: Which message.
        pool: Where the database is asked.
        until: How long, on the event loop's clock.
    """
    loop = asyncio.get_running_loop()
    there = asyncio.Event()

    def watcher() -> None:
        with contextlib.suppress(RuntimeError):  # the server is ending
            loop.call_soon_threadsafe(there.set)

    await loop.run_in_executor(pool, requests.watch, request_id, watcher)
    try:
        async with asyncio.timeout_at(until):
            await there.wait()
    except TimeoutError:
        return False
    finally:
        requests.unwatch(request_id, watcher)
    return True
