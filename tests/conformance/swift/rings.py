"""Write the rings of a Swift of one device. usage: rings.py FOLDER ACCOUNT CONTAINER OBJECT (ports)

Runs in Swift's own venv.
"""

import sys

from swift.common.ring import RingBuilder

folder, *ports = sys.argv[1:]
for kind, port in zip(("account", "container", "object"), ports, strict=True):
    ring = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    place = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "disk"}
    ring.add_dev({**place, "ip": "127.0.0.1", "port": int(port)})
    ring.rebalance()
    ring.get_ring().save(f"{folder}/{kind}.ring.gz")
