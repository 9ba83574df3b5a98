"""Fleets by name: created with one command, paid once, looked after member by member."""

import json
import math
import resource
import time
from pathlib import Path

import pytest

from datanode.errors import UnknownOutcomeError
from datanode.localnet.state.ledger import BillEntry
from datanode.node import cycles_ledger_client
from datanode.principal import Principal
from datanode.units import TC
from tests.cli import canisters
from tests.cli.stage import User, checkpoint
from tests.fakes.counter import counter_wasm
from tests.quickness import allowed_s


def _creations(user: User, *, after: int = 0) -> list[BillEntry]:
    mine = ("create_canister", user.principal, "replied")
    found = user.net.ledger(after=after)
    return [entry for entry in found if (entry.method, entry.sender, entry.status) == mine]


def _last(user: User) -> int:
    return user.net.ledger()[-1].sequence


def test_a_fleet_is_created_and_looked_after(user: User) -> None:
    last = _last(user)
    made = user.ok("node", "create", "llama", "--count", "3", "--cycles", "8TC")
    assert [entry.canister.text for entry in _creations(user, after=last)] == made["members"]
    assert made["canister"] == made["members"][0]
    listed = user.run("node", "list", "--json").results
    assert next(n for n in listed if n.get("name") == "llama")["members"] == made["members"]

    status = user.run("node", "status", "llama", "--json")
    rows = [each for each in status.results if each["type"] == "item"]
    assert [row["canister"] for row in rows] == made["members"]
    assert status.summary["cycles"] == sum(row["cycles"] for row in rows)
    people = user.run("node", "status", "llama")
    assert people.says(*made["members"], "total"), people.out

    before = [row["cycles"] for row in rows]
    topped = user.ok("node", "top-up", "llama", "--cycles", "2TC")
    assert topped["total_cycles"] == 6 * TC
    after = [
        row["cycles"]
        for row in user.run("node", "status", "llama", "--json").results
        if row["type"] == "item"
    ]
    assert all(new > old + 1.9 * TC for old, new in zip(before, after, strict=True))
    assert user.ok("node", "upgrade", "llama")["members"] == made["members"]
    user.ok("node", "remove", "llama")


def test_a_single_node_is_a_fleet_of_one(user: User) -> None:
    made = user.ok("node", "create", "one", "--count", "1", "--cycles", "8TC")
    assert made["members"] == [made["canister"]]
    written = json.loads((user.config / "nodes.json").read_text())
    assert written["v"] == 1
    assert all(set(row) == {"name", "network", "canister"} for row in written["nodes"])
    assert user.ok("models", "--node", "one")["models"] == 0


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_fleet_is_paid_once_whatever_breaks(
    user: User, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, last, create = f"fleet{lost}", _last(user), cycles_ledger_client.create
    balance = _balance(user)
    calls = 0

    def losing(*args: object) -> object:
        nonlocal calls
        calls += 1
        answer = create(*args)  # type: ignore[arg-type]
        if calls == lost:
            raise UnknownOutcomeError("the answer was lost")
        return answer

    command = ("node", "create", name, "--count", "3", "--cycles", "8TC")
    with monkeypatch.context() as patch:
        patch.setattr(cycles_ledger_client, "create", losing)
        user.fails(37, *command)
    assert name not in user.run("node", "list").out
    made = user.ok(*command)
    assert [entry.canister.text for entry in _creations(user, after=last)] == made["members"]
    assert balance - _balance(user) == 3 * (8 * TC + cycles_ledger_client.FEE_CYCLES)
    assert not list(user.state.glob("orders/*.json"))
    assert user.fails(2, *command).says(f"called {name} already")


def test_a_top_up_of_a_fleet_is_paid_once_whatever_breaks(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.ok("node", "create", "llama", "--count", "3", "--cycles", "8TC")
    withdraw, balance, calls = cycles_ledger_client.withdraw, _balance(user), 0

    def losing(*args: object) -> object:
        nonlocal calls
        calls += 1
        answer = withdraw(*args)  # type: ignore[arg-type]
        if calls == 2:
            raise UnknownOutcomeError("the answer was lost")
        return answer

    command = ("node", "top-up", "llama", "--cycles", "2TC")
    with monkeypatch.context() as patch:
        patch.setattr(cycles_ledger_client, "withdraw", losing)
        user.fails(37, *command)
    user.ok(*command)
    assert balance - _balance(user) == 3 * (2 * TC + cycles_ledger_client.FEE_CYCLES)


def _balance(user: User) -> int:
    agent = user.agent()
    try:
        return cycles_ledger_client.balance(agent)
    finally:
        agent.close()


def test_known_canisters_become_a_fleet(user: User) -> None:
    ids = [user.ok("node", "create", name, "--cycles", "8TC")["canister"] for name in ("a", "b")]
    assert user.ok("node", "add", "pair", *ids)["members"] == ids
    user.fails(2, "node", "add", "pair", ids[0])
    user.fails(2, "node", "add", "twins", ids[0], ids[0])
    counter = canisters.create(user, 10 * TC)
    canisters.reinstall(user, counter, counter_wasm())
    user.fails(33, "node", "add", "odd", ids[0], counter)
    assert "odd" not in user.run("node", "list").out


def test_members_of_different_interfaces_are_refused(user: User) -> None:
    old = canisters.create(user, 10 * TC)
    canisters.reinstall(user, old, canisters.pretender(1, 1))
    done = user.fails(38, "node", "add", "mixed", user.canister, old)
    assert done.says("interface versions", "node upgrade"), done.err


def test_a_command_for_one_node_names_the_members_of_a_fleet(user: User) -> None:
    user.ok("node", "create", "llama", "--count", "2", "--cycles", "8TC")
    done = user.fails(2, "node", "settings", "llama")
    assert done.says("fleet of 2 nodes", "node status llama")


def test_a_fleet_edited_by_hand_is_damaged(user: User) -> None:
    path = user.config / "nodes.json"
    row = {"name": "x", "network": "local", "canister": user.canister.text}
    for members in ([], [Principal(b"\x01").text], [user.canister.text] * 2, "text", [3]):
        path.write_text(json.dumps({"v": 2, "nodes": [row | {"members": members}]}))
        assert user.fails(2, "node", "list").says("is damaged"), members


def test_a_plan_over_a_fleet_has_a_row_a_member(user: User) -> None:
    made = user.ok("node", "create", "llama", "--count", "2", "--cycles", "8TC")
    source = checkpoint(user.home / "m.safetensors", 70_000, tensors=4, size=2_200_000)
    done = user.run("plan", source, "--node", "llama", "--json")
    assert done.code == 0, done.err
    rows = [each for each in done.results if each["type"] == "item"]
    assert [row["canister"] for row in rows] == made["members"]
    assert sum(row["chunks"] for row in rows) == done.summary["chunks"]
    assert all(row["fits_heap"] and row["chunks"] and row["upload_cycles"] for row in rows)
    assert done.summary["fits_heaps"]
    people = user.run("plan", source, "--node", "llama")
    assert people.says("member", "4 gib heap", "over 2 members"), people.out


@pytest.mark.nightly
def test_a_plan_of_llama_405b_is_quick_and_small(user: User) -> None:
    user.ok("node", "create", "huge", "--count", "2", "--cycles", "8TC")
    folder = user.home / "405B"
    llama_405b_headers(folder)
    started = time.monotonic()
    done = user.process("plan", folder, "--node", "huge", "--json")
    took_s = time.monotonic() - started
    assert done.code == 0, done.err
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1_000
    print(f"{done.summary['raw_bytes']:,} bytes: {took_s:.0f} s, {peak_mb} MB")
    assert done.summary["raw_bytes"] > 800 * 10**9
    assert took_s <= allowed_s(60)
    assert peak_mb <= 300


def llama_405b_headers(folder: Path) -> None:
    """Write the shards of Llama 3.1 405B with their real names and shapes, and holes for bytes."""
    shapes = {
        "self_attn.q_proj": (16_384, 16_384),
        "self_attn.k_proj": (1_024, 16_384),
        "self_attn.v_proj": (1_024, 16_384),
        "self_attn.o_proj": (16_384, 16_384),
        "mlp.gate_proj": (53_248, 16_384),
        "mlp.up_proj": (53_248, 16_384),
        "mlp.down_proj": (16_384, 53_248),
        "input_layernorm": (16_384,),
        "post_attention_layernorm": (16_384,),
    }
    tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (128_256, 16_384)}
    for index in range(126):
        tensors |= {f"model.layers.{index}.{name}.weight": shapes[name] for name in shapes}
    tensors |= {"model.norm.weight": (16_384,), "lm_head.weight": (128_256, 16_384)}
    folder.mkdir()
    names = list(tensors)
    shards = [names[start : start + 6] for start in range(0, len(names), 6)]
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        header, offset = {}, 0
        for name in shard:
            length = 2 * math.prod(tensors[name])
            header[name] = {
                "dtype": "BF16",
                "shape": list(tensors[name]),
                "data_offsets": [offset, offset + length],
            }
            offset += length
            weight_map[name] = file
        head = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            out.truncate(8 + len(head) + offset)
    listing = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(listing))
