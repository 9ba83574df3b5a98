"""`datanode copy --by-canister`: an inference canister fetches a model from another owner's node."""

from datanode.errors import ConflictError, NotFoundError
from datanode.principal import Principal
from tests.cli.stage import MakeUser, User, checkpoint
from tests.fakes.ledger_judge import messages
from tests.inference import tiny_checkpoint

CALLER_CYCLES = 1_030
"""Most cycles that a fetched byte costs the canister that calls."""
SERVER_INSTRUCTIONS = 8
"""Most instructions of the canister that answers, a byte."""
GET, PULL = "get_frames", "model_pull"


def _spent(user: User, canister: Principal, before: int) -> tuple[int, int, int]:
    """Cycles, instructions and calls of `get_frames` of a canister since then."""
    entries = [e for e in messages(user.net.ledger()[before:]) if e.canister == canister]
    instructions = sum(e.instructions for e in entries)
    calls = sum(e.method == GET for e in entries)
    return sum(e.total_cycles for e in entries), instructions, calls


def test_canister_pulls_a_model_from_another_owner_and_speaks(
    user: User, stranger: MakeUser
) -> None:
    folder = tiny_checkpoint.write(user.home / "tiny")
    user.ok("upload", folder, "--as", "tiny", "--node", "main")
    other = stranger("other")
    other.arrive()
    target = Principal.parse(other.ok("node", "create", "mine", "--cycles", "20TC")["canister"])
    copy = ("copy", "tiny", "--from", user.canister, "--to", "mine", "--by-canister")
    other.fails(NotFoundError.exit_code, *copy)
    user.arrive()
    user.ok("grant", other.principal, "reader", "--model", "tiny", "--node", "main")
    other.arrive()
    refused = other.fails(ConflictError.exit_code, *copy)
    assert f"datanode grant {target} reader" in " ".join(refused.err.split()), refused.err
    user.arrive()
    user.ok("grant", target, "reader", "--model", "tiny", "--node", "main")
    other.arrive()
    before = len(user.net.ledger())
    made = other.ok(*copy)
    assert made["version"] == 1
    _, _, calls = _spent(user, user.canister, before)
    assert calls > 0
    other.ok("load", "tiny", "--node", "mine")
    wish = ("generate", "tiny", "the", "--raw", "--max-tokens", 4, "--node", "mine")
    *parts, _ = other.run(*wish, "--json").results
    assert "".join(part["text"] for part in parts) == tiny_checkpoint.answer("the", 4)
    before = len(user.net.ledger())
    assert other.ok(*copy)["unchanged"]
    assert _spent(user, user.canister, before)[2] == 0
    assert other.ok("audit", "tiny", "--node", "mine")["verdict"] == "ok"


def test_fetched_bytes_cost_what_calls_cost(user: User) -> None:
    checkpoint(user.home / "m" / "model.safetensors", 5, tensors=4, size=2_000_000)
    user.ok("upload", user.home / "m", "--as", "m", "--node", "main")
    target = Principal.parse(user.ok("node", "create", "mine", "--cycles", "20TC")["canister"])
    user.ok("node", "create", "unused", "--cycles", "5TC")
    user.ok("grant", target, "reader", "--model", "m", "--node", "main")
    before = len(user.net.ledger())
    user.ok("copy", "m", "--from", "main", "--to", "mine", "--by-canister")
    entries = messages(user.net.ledger()[before:])
    got = [e for e in entries if e.canister == user.canister and e.method == GET]
    first = next(i for i, e in enumerate(entries) if e.method == GET)
    assert got
    for entry in entries:
        print(entry.canister, entry.method, entry.instructions, entry.total_cycles, entry.items)
    del first
