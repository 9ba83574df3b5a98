"""The system interface of one canister: each call by its name.

The calls stand in three classes by subject. A method is named like its call. It gets the raw
arguments, already made unsigned and already paid for by the instrumented module, and returns the
result or None. A call that fails raises `Failure`.
"""

from collections.abc import Callable

from datanode.localnet.machine.general_calls import GeneralCalls
from datanode.localnet.machine.host_state import HostState
from datanode.localnet.machine.messaging import MessagingCalls
from datanode.localnet.machine.stable_calls import StableCalls


class SystemCalls:
    """The system interface of one canister.

    Attributes:
        state: What the calls act on.
    """

    def __init__(self) -> None:
        self.state = HostState()
        subjects = (GeneralCalls, MessagingCalls, StableCalls)
        self._subjects = [subject(self.state) for subject in subjects]

    def find(self, name: str) -> Callable[..., int | None]:
        """Return the call of a name.

        Raises:
            LookupError: There is no such call.
        """
        for subject in self._subjects:
            call: Callable[..., int | None] | None = getattr(subject, name, None)
            if call is not None:
                return call
        raise LookupError(f"ic0 has no call {name}")
