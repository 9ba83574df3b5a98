"""Fee schedules as data: what a subnet takes for a message, for storage, for a canister.

Each TOML file beside this one is a schedule: for every item its figure on a subnet of 13 nodes,
where it comes from and when it was published. A schedule that names a `base` holds only the figures
in which it differs.

Two schedules exist because two storage prices are published: `docs` (127,000 cycles per GiB and
second) and `code` (317,500). Everything else is equal in both; rent is shown at both prices and
planned at the higher one. `engine` is a cloud engine, whose canisters pay nothing.
"""

from datanode.fees.figures import DEFAULT_SCHEDULE, RENT_SCHEDULES, Figure, schedule_names
from datanode.fees.schedule import REFERENCE_NODES, FeeSchedule, Rent

__all__ = [
    "DEFAULT_SCHEDULE",
    "REFERENCE_NODES",
    "RENT_SCHEDULES",
    "FeeSchedule",
    "Figure",
    "Rent",
    "schedule_names",
]
