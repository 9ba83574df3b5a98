"""The three quickstarts, typed as they stand by a new user in an empty folder with a new HOME."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.localnet.process import DEFAULT_STATE_DIR
from tests.uploader.session.stage import safetensors_bytes, weights

pytestmark = pytest.mark.nightly
ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "quickstart"
COUNTER = ROOT / "tests" / "datanode" / "localnet" / "example" / "counter.wat"
NOT_TYPED = ("pip ", "make ", "npm ", "node ", "cd ")
"""What a page shows and a test of its own runs: installations, the module, npm."""
FRIEND = "w7x7r-cok77-xa"


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / page).read_text()
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for kind, body in fences if kind == language]


def meant(line: str, replaced: dict[str, str]) -> str:
    for word, instead in replaced.items():
        line = line.replace(word, instead)
    return line


class NewUser:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "home").mkdir(parents=True)

    def types(self, command: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DATANODE_", "XDG_"))}
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**inherited, "HOME": str(self.folder / "home"), "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def follows(self, page: str, **replaced: str) -> None:
        """Type every command of a page; what stands for something is replaced by it."""
        for block in blocks(page, ""):
            for line in block.splitlines():
                if not line.startswith(NOT_TYPED):
                    self.types(meant(line, replaced | {"--detach": "--detach --port 0"}))

    def runs(self, program: str) -> str:
        (self.folder / "program.py").write_text(program)
        return self.types("python program.py")


FIRST_CANISTER = (
    "$(datanode localnet ledger --json | python -c"
    " 'import json, sys; print(json.loads(sys.stdin.readline())[\"canister\"])')"
)


@pytest.fixture(scope="module")
def engineer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewUser]:
    user = NewUser(tmp_path_factory.mktemp("engineer"))
    model = user.folder / "my-model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(
        safetensors_bytes({"model.norm.weight": weights(3, 64)})
    )
    (model / "config.json").write_text("{}")
    yield user
    user.types("datanode localnet stop")


def test_engineer_and_auditor_get_through(engineer: NewUser, tmp_path: Path) -> None:
    engineer.follows("ml-engineer.md", PRINCIPAL=FRIEND, transfer="transfer --yes")
    back = engineer.folder / "back"
    assert {each.name for each in back.iterdir()} == {"model.safetensors", "config.json"}

    (program,) = blocks("ml-engineer.md", "python")
    engineer.runs(program.replace("./back", "./again"))
    assert (engineer.folder / "again" / "config.json").exists()

    status = json.loads(engineer.types("datanode localnet status --json"))
    (node,) = map(json.loads, engineer.types("datanode node list --json").splitlines()[:1])
    auditor = NewUser(tmp_path)
    replaced = {
        "--network ic": f"--network {status['url']}",
        "CANISTER_ID": node["canister"],
        "MODEL": "my-model",
        "audit --verify": f"audit --network {status['url']} --verify",
        "datanode node status": f"datanode node status --network {status['url']}",
        "PRINCIPAL": "$(datanode identity show --json | python -c "
        "'import json, sys; print(json.load(sys.stdin)[\"principal\"])')",
    }
    auditor.follows("auditor.md", **replaced)
    assert (tmp_path / "audit.json").exists()


def test_developer_gets_through(tmp_path: Path, shared_localnet: LocalNetwork) -> None:
    user = NewUser(tmp_path)
    user.types(
        f'python -c \'import wasmtime; open("counter.wasm", "wb").write('
        f'wasmtime.wat2wasm(open("{COUNTER}").read()))\''
    )
    (tmp_path / "counter.did").write_bytes(COUNTER.with_suffix(".did").read_bytes())
    typed, textual, failing, program = blocks("canister-developer.md", "python")
    (tmp_path / "test_counter.py").write_text(f"{typed}\n\n{textual}\n\n{failing}")
    assert "3 passed" in user.types("pytest -q -p no:cacheprovider test_counter.py")
    assert "http://127.0.0.1:" in user.runs(program)
    try:
        user.follows("canister-developer.md", CANISTER=FIRST_CANISTER)
    finally:
        user.types("datanode localnet stop")
    assert (tmp_path / "my-tests" / "counter.wat").exists()
    assert (tmp_path / DEFAULT_STATE_DIR).is_dir()
