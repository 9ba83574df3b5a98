"""Measure what promoting nodes costs: the first one on a subnet, and one more beside it.

`python -m tests.bench.promoting` prints one JSON object of cycles and instructions from the
network's ledger, without rent: of the whole promotion, and of the installation in it. A subnet that
has compiled the module since its last checkpoint charges a hundredth for compiling it again. Nodes
are empty, and nothing is loaded.
"""

import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.metering import DEFAULT_METERING
from datanode.node import deploy
from tests.bench.rig import timeless_cycles

NODES: Final = 2
_INSTALL: Final = "install_code"


def measure(folder: Path) -> dict[str, Any]:
    """Promote one node after the other; say what each paid."""
    pem = folder / "bench.pem"
    identities.generate(pem)
    promotions = []
    with LocalNetwork(folder / "network", metering=DEFAULT_METERING) as net:
        network = Network(url=net.url, root_key=net.root_key, name="local")
        with closing(Agent(network, identities.load(pem))) as agent:
            nodes = [deploy.create_node(agent) for _ in range(NODES)]
            for node in nodes:
                last = net.ledger()[-1].sequence
                deploy.promote_node(agent, node)
                paid = [each for each in net.ledger(after=last) if each.canister == node]
                (installed,) = (each for each in paid if each.method == _INSTALL)
                promotions.append(
                    {
                        "cycles": sum(map(timeless_cycles, paid)),
                        "install_cycles": timeless_cycles(installed),
                        "install_instructions": installed.instructions,
                    }
                )
    first, second = promotions
    return {"metering": DEFAULT_METERING, "first": first, "second": second}


def main() -> int:
    """Run the benchmark and return its exit code."""
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
