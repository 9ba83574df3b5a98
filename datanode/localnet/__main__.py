"""The process of an embedded network: `python -m datanode.localnet --state-dir DIR --port N`."""

import argparse
import sys
from pathlib import Path

from datanode.errors import DataNodeError
from datanode.localnet import serving
from datanode.localnet.process import DEFAULT_PORT, DEFAULT_STATE_DIR


def main() -> int:
    """Serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="datanode.localnet", description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=DEFAULT_STATE_DIR)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    options = parser.parse_args()
    try:
        serving.serve(options.state_dir, port=options.port)
    except DataNodeError as error:
        sys.stderr.write(f"{error.what}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
