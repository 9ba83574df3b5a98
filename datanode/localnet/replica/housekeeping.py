"""Periodic work: charge rent of all canisters, expire and sweep.

A round goes once a minute of canister time, at most once a second, and at once when somebody
changes the pace of canister time.
"""

import logging
import threading
from typing import Final

from datanode.errors import DataNodeError
from datanode.localnet.replica.rent import RentCollector
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canister_time import CanisterTime
from datanode.units import MINUTE_S

_SHORTEST_PAUSE_S: Final = 1.0
_log: Final = logging.getLogger("datanode.localnet")


class Housekeeper:
    """A thread that goes its rounds until it is stopped."""

    def __init__(
        self, canister_time: CanisterTime, records: CanisterRecords, rent: RentCollector
    ) -> None:
        self._canister_time = canister_time
        self._records = records
        self._rent = rent
        self._awake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._live, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._canister_time.on_change(self._awake.set)
        self._thread.start()

    def stop(self) -> None:
        """End after the canister that is being charged."""
        self._stopped = True
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()

    def round(self) -> None:
        """Charge every canister, and write how often they were queried."""
        try:
            self._records.query_stats.keep()
        except DataNodeError as error:  # e.g. a full disk; a minute later it may be done
            _log.warning("how often canisters were queried is not written: %s", error.what)
        for slot in self._records.canisters:
            if self._stopped:
                return
            try:
                self._rent.settle(slot)
            except Exception:  # noqa: BLE001 - see below
                # One canister that cannot be charged must not let the others live for free.
                _log.exception("the rent of %s could not be charged", slot.canister.id)

    def _live(self) -> None:
        while not self._stopped:
            self._awake.clear()
            self.round()
            rate = self._canister_time.rate
            self._awake.wait(max(_SHORTEST_PAUSE_S, MINUTE_S / rate))
