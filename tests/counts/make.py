"""`python -m tests.counts.make` counts anew and writes `tests/golden/counts.json`.

To be run, and its difference read, whenever the storage canister's module was rebuilt.
"""

import json
import tempfile
from pathlib import Path

from tests.bench.rig import rigged
from tests.counts import figures


def main() -> None:
    """Write the golden file for the module that is there."""
    with tempfile.TemporaryDirectory() as folder, rigged(Path(folder)) as rig:
        counts = figures.Counts(
            zstd=figures.zstd_version(),
            puts=figures.of_puts(rig),
            minilm=figures.of_minilm(rig, Path(folder)),
        )
    figures.GOLDEN.write_text(json.dumps({figures.module_digest(): counts}, indent=2) + "\n")
    print(figures.GOLDEN.read_text())


if __name__ == "__main__":
    main()
