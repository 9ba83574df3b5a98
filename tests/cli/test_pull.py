"""`datanode copy --by-canister`: a canister fetches a model from the node of another owner."""

from datanode.errors import ConflictError, NotFoundError, UnauthorizedError
from datanode.localnet.state.ledger import BillEntry
from datanode.principal import Principal
from tests.cli.stage import MakeUser, User, checkpoint
from tests.fakes.ledger_judge import messages
from tests.inference import tiny_checkpoint

CALLER_CYCLES = 1_085
"""Most cycles that a fetched byte costs the canister that calls, in calls of 2 MB: 1,000 for the
response, 58 that the source keeps, 19 of instructions, 7 of messages."""
SERVER_INSTRUCTIONS = 53
"""Most instructions of the canister that answers, a byte: 50 are the network's for a reply."""
GET, PULL = "get_frames", "model_pull"


def _calls(user: User, before: int) -> list[BillEntry]:
    """Calls of `get_frames` that the source has answered since then."""
    entries = messages(user.net.ledger()[before:])
    return [each for each in entries if (each.canister, each.method) == (user.canister, GET)]


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
    assert _calls(user, before)
    other.ok("load", "tiny", "--node", "mine")
    wish = ("generate", "tiny", "the", "--raw", "--max-tokens", 4, "--node", "mine")
    *parts, _ = other.run(*wish, "--json").results
    assert "".join(part["text"] for part in parts) == tiny_checkpoint.answer("the", 4)
    before = len(user.net.ledger())
    assert other.ok(*copy)["unchanged"]
    assert not _calls(user, before)
    assert other.ok("audit", "tiny", "--node", "mine")["verdict"] == "ok"
    other.ok("grant", user.principal, "uploader", "--model", "again", "--node", "mine")
    user.arrive()
    before = len(user.net.ledger())
    user.fails(UnauthorizedError.exit_code, *copy[:5], target, "--as", "again", copy[-1])
    assert not _calls(user, before)  # an uploader sends nobody the canister's cycles


def test_fetched_bytes_cost_what_calls_cost(user: User) -> None:
    checkpoint(user.home / "m" / "model.safetensors", 5, tensors=4, size=2_000_000)
    user.ok("upload", user.home / "m", "--as", "m", "--node", "main")
    target = Principal.parse(user.ok("node", "create", "mine", "--cycles", "20TC")["canister"])
    user.ok("grant", target, "reader", "--model", "m", "--node", "main")
    before = len(user.net.ledger())
    user.ok("copy", "m", "--from", "main", "--to", "mine", "--by-canister")
    served = _calls(user, before)
    fetched = 4 * 2_000_000
    by_source = sum(each.instructions for each in served)
    print(f"source: {by_source / fetched:.2f} instructions a byte")
    assert by_source <= SERVER_INSTRUCTIONS * fetched
    pulling = [
        each
        for each in messages(user.net.ledger()[before:])
        if each.canister == target and (each.method == PULL or each.method.endswith(GET))
    ]
    assert len(pulling) == 2 * len(served)
    large = pulling[2:]  # the first call brings the header of the file
    paid = sum(each.total_cycles for each in large)
    print(f"caller: {paid / fetched:.1f} cycles a byte, in {len(large)} messages")
    assert paid <= CALLER_CYCLES * fetched
