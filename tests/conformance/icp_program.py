"""The `icp` command line in a home of its own, pointed at the embedded network."""

import os
import subprocess
from pathlib import Path

from datanode.localnet.api import LocalNetwork

IDENTITY = "tester"


class RefusedError(Exception):
    """The command line ended with an error; carries what it said."""


class Icp:
    """Runs `icp` as one person.

    Attributes:
        program: The program.
        home: Where it keeps its identities; commands run there.
    """

    def __init__(self, program: Path, home: Path, net: LocalNetwork) -> None:
        program.chmod(0o755)
        self.program = program
        self.home = home
        self._network = ("-n", net.url, "-k", net.root_key.hex())
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "DO_NOT_TRACK": "1"}
        self("settings", "telemetry", "false", network=False)
        self("settings", "update-check", "disabled", network=False)
        self("identity", "new", IDENTITY, "--storage", "plaintext", network=False)

    def __call__(self, *words: str, network: bool = True, identity: str = IDENTITY) -> str:
        """Run a command; returns what it prints.

        Raises:
            RefusedError: It ended with an error.
        """
        where = (*self._network, "--identity", identity) if network else ()
        done = subprocess.run(
            [str(self.program), *words, *where],
            cwd=self.home,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise RefusedError(done.stderr)
        return done.stdout

    def installed(self, wasm: Path) -> str:
        """Create a canister and install a module."""
        made = self("canister", "create", "--detached", "-q").strip()
        self("canister", "install", made, "--wasm", str(wasm), "--mode", "install", "-y")
        return made
