"""Commands of inference: a node is promoted, loads a model that it stores, and speaks."""

from datanode.errors import UnauthorizedError
from tests.cli.stage import MakeUser, User
from tests.inference import tiny_checkpoint

UNAUTHORIZED = UnauthorizedError.exit_code
PROMPT = "the capital of France is"


def test_promoted_node_loads_and_speaks(user: User, stranger: MakeUser) -> None:
    folder = tiny_checkpoint.write(user.home / "tiny")
    user.ok("node", "create", "speaker")
    user.ok("upload", folder, "--as", "tiny", "--node", "speaker")
    user.fails(33, "generate", "tiny", PROMPT, "--raw", "--node", "speaker")
    assert "model" not in user.run("node", "status", "speaker").out
    user.fails(10, "node", "promote", "speaker", "--model", "tiny", "--version", 9)
    user.fails(33, "generate", "tiny", PROMPT, "--raw", "--node", "speaker")
    user.ok("node", "promote", "speaker", "--model", "tiny", "--no-load")
    for version in ("0", "-1", 2**32):
        user.fails(2, "load", "tiny", f"--version={version}", "--node", "speaker")
    status = user.run("node", "status", "speaker")
    assert status.says("tiny version 1: not loaded", "`datanode load tiny`"), status.out
    loaded = user.ok("load", "tiny", "--node", "speaker")
    assert loaded["version"] == 1
    said = {}
    for way in ((), ("--query",)):
        wish = ("generate", "tiny", PROMPT, "--raw", "--max-tokens", 4, "--node", "speaker", *way)
        *parts, summary = user.run(*wish, "--json").results
        said[way] = "".join(part["text"] for part in parts)
        assert summary["tokens"] == 4
        assert (summary["cycles"] == 0) == bool(way)
    assert said[()] == said["--query",] == tiny_checkpoint.answer(PROMPT, 4)
    full = user.run("generate", "tiny", "x" * 250, "--raw", "--node", "speaker")
    assert full.says("stopped at the longest conversation"), full.out
    told = user.ok("node", "status", "speaker")
    assert (told["model"], told["model_loaded"]) == ("tiny", True)
    assert user.ok("audit", "tiny", "--node", "speaker")["verdict"] == "ok"
    _grant_and_revoke(user, stranger, told["canister"])
    user.arrive()
    _clone_speaks(user, said[()])


def _clone_speaks(user: User, expected: str) -> None:
    """Clone the loaded node: the copy says the same without loading."""
    user.ok("node", "clone", "speaker", "echo", "--cycles", "5TC")
    wish = ("generate", "tiny", PROMPT, "--raw", "--max-tokens", 4, "--node", "echo")
    *parts, _ = user.run(*wish, "--json").results
    assert "".join(part["text"] for part in parts) == expected
    assert user.ok("audit", "tiny", "--node", "echo")["verdict"] == "ok"


def _grant_and_revoke(user: User, stranger: MakeUser, canister: str) -> None:
    """Let a stranger run the model, and no longer."""
    other = stranger("runner")
    ask = ("generate", "tiny", PROMPT, "--raw", "--max-tokens", 1, "--node", canister)

    def runners() -> list[tuple[str, str]]:
        found = user.run("grants", "--node", "speaker", "--json").results[:-1]
        return [(each["to"], each["role"]) for each in found]

    user.arrive()
    user.ok("publish", "tiny", "--node", "speaker")
    user.fails(2, "grant", other.principal, "runner", "--model", "tiny", "--node", "speaker")
    other.arrive()
    other.fails(UNAUTHORIZED, *ask)
    user.arrive()
    user.ok("grant", other.principal, "runner", "--node", "speaker")
    assert runners() == [(other.principal.text, "runner")]
    other.arrive()
    assert other.run(*ask).code == 0
    user.arrive()
    user.ok("revoke", other.principal, "runner", "--node", "speaker")
    assert runners() == []
    other.arrive()
    other.fails(UNAUTHORIZED, *ask)
