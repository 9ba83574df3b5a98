"""The container and the workflows name commands that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.repo.test_documents import _commands

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPT = ROOT / "docs" / "examples" / "main-job.sh"


def scripts(workflow: Path) -> str:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return "\n".join(step.get("run", "") for job in jobs for step in job["steps"])


def shown(script: str) -> set[str]:
    words = re.findall(r"\bdatanode ([a-z]+(?: [a-z]+)?)", script)
    known = _commands()
    groups = {name.partition(" ")[0] for name in known if " " in name}
    return {each if each.partition(" ")[0] in groups else each.partition(" ")[0] for each in words}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_reusable_and_its_scripts_parse(workflow: Path) -> None:
    parsed = yaml.safe_load(workflow.read_text())
    assert "workflow_call" in parsed[True]  # YAML reads the key `on` as true
    assert parsed["permissions"] == {"contents": "read"}
    script = scripts(workflow)
    # Inputs reach a shell by the environment alone: a name with a quote must not run.
    assert "${{" not in script
    subprocess.run(["bash", "-n", "-c", script], check=True)
    assert shown(script) <= _commands()


def test_the_container_runs_a_script_of_commands_that_exist() -> None:
    script = SCRIPT.read_text()
    assert str(SCRIPT.relative_to(ROOT)) in (ROOT / "Dockerfile").read_text()
    subprocess.run(["sh", "-n", SCRIPT], check=True)
    assert shown(script) <= _commands()


@pytest.mark.nightly
def test_the_main_job_of_the_container_runs(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DATANODE_", "XDG_"))}
    subprocess.run(
        ["sh", SCRIPT],
        cwd=tmp_path,
        env={**inherited, "HOME": str(tmp_path), "PATH": path},
        check=True,
    )
