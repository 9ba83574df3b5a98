"""`python -m tests.counts.make` counts anew and writes `tests/golden/counts.json`.

It also writes the pages that show them.

To be run, and its difference read, whenever the storage canister's module was rebuilt.
"""

import json
import tempfile
from pathlib import Path

from datanode.metering import metering_names
from tests.counts import figures
from tests.documents import __main__ as documents


def main() -> None:
    """Write the golden file for the module that is there."""
    counts = {}
    for metering in sorted(metering_names()):
        with tempfile.TemporaryDirectory() as folder:
            counts[metering] = figures.of_metering(metering, Path(folder))
    figures.GOLDEN.write_text(json.dumps({figures.module_digest(): counts}, indent=2) + "\n")
    documents.main()
    print(figures.GOLDEN.read_text())


if __name__ == "__main__":
    main()
