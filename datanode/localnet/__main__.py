"""The process of an embedded network: `python -m datanode.localnet --state-dir DIR --port N`."""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from datanode.errors import DataNodeError
from datanode.localnet.extra import require_extra
from datanode.localnet.process import DEFAULT_PORT, DEFAULT_STATE_DIR, HINT
from datanode.localnet.state.subnet import SubnetChoice

_LOOK_S: Final = 0.5


def main() -> int:
    """Serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="datanode.localnet", description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=DEFAULT_STATE_DIR)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--fees", help="fee schedule")
    parser.add_argument("--metering", help="metering version")
    parser.add_argument("--subnet-nodes", type=int, help="nodes that share the work")
    parser.add_argument("--subnet-sev", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--subnet-used-gib", type=int, help="what canisters of others hold")
    parser.add_argument("--follow", type=int, metavar="PID", help="end when this parent does")
    options = parser.parse_args()
    if options.follow is not None:
        threading.Thread(target=_follow, args=(options.follow,), daemon=True).start()
    subnet = SubnetChoice(
        fees=options.fees,
        metering=options.metering,
        nodes=options.subnet_nodes,
        sev=options.subnet_sev,
        used_gib=options.subnet_used_gib,
    )
    try:
        require_extra()
        from datanode.localnet import serving  # noqa: PLC0415 - needs the extra

        serving.serve(options.state_dir, port=options.port, subnet=subnet)
    except DataNodeError as error:
        sys.stderr.write(f"{error.what}\n")
        if error.hint:
            sys.stderr.write(f"{HINT}{error.hint}\n")
        return error.exit_code
    return 0


def _follow(parent: int) -> None:
    """Stop this process, in order, once its parent is gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
