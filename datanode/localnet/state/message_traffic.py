"""Messages in flight: requests of users, calls between canisters, and who waits for which."""

from datanode.localnet.state.alarm import Alarm
from datanode.localnet.state.fault_plan import FaultPlan
from datanode.localnet.state.network_clock import Clock
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.localnet.state.open_calls import OpenCalls
from datanode.localnet.state.queue import MessageQueue
from datanode.localnet.state.requests import RequestHistory
from datanode.localnet.state.stops import PendingStops


class MessageTraffic:
    """Messages in flight.

    Args:
        database: Where they are kept.
        clock: Strictly monotonic time, for certificates, expiries and answers.
        faults: Faults on cue.

    Attributes:
        requests: Answers to messages of users.
        calls: Calls between canisters that are not finished.
        queue: Messages between canisters that are not executed.
        stops: Who waits for which canister to stop.
        alarm: Rings when something new is to be waited for.
    """

    def __init__(self, database: NetworkDatabase, clock: Clock, faults: FaultPlan) -> None:
        self.clock = clock
        self.faults = faults
        self.requests = RequestHistory(database)
        self.calls = OpenCalls(database)
        self.queue = MessageQueue(database)
        self.stops = PendingStops(database)
        self.alarm = Alarm()
