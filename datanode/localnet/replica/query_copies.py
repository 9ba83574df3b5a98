"""Snapshots of canisters taken before the running composite query.

A canister that is called again while its own query waits answers from the state that the network
has committed, as on the Internet Computer, and the query that waits sees nothing of it.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from datanode.localnet.machine.machine import Machine
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.subnet_runtime import SubnetRuntime


@contextmanager
def twin(runtime: SubnetRuntime, records: CanisterRecords, machine: Machine) -> Iterator[Machine]:
    """Open a twin, which is gone after the block; the lock of its canister is held.

    Raises:
        DiskFullError: There is no room for it.
    """
    runtime.disk.check(machine.copies.disk_bytes())
    with runtime.disk.scratch() as folder:
        machine.copies.save_committed(folder)
        with closing(records.machine(folder)) as made:
            made.recover(0)
            yield made
