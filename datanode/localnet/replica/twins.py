"""Twins: canisters as they were before the composite query that they are in the midst of.

A canister that is called again while its own query waits answers from the state that the network
has committed, as on the Internet Computer, and the query that waits sees nothing of it.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from datanode.localnet.machine.machine import Machine
from datanode.localnet.state.network import Network


@contextmanager
def twin(network: Network, machine: Machine) -> Iterator[Machine]:
    """Open a twin, which is gone after the block; the lock of its canister is held.

    Raises:
        DiskFullError: There is no room for it.
    """
    network.check_disk(machine.disk_bytes())
    with network.scratch() as folder:
        machine.copy_committed(folder)
        with closing(network.machine(folder)) as made:
            made.recover(0)
            yield made
