"""A machine whose clock is wrong pays for nothing that the node holds."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.clock import steady_clock_ns
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from tests.cli.stage import User, checkpoint
from tests.fakes.canister_world import network_of
from tests.fakes.ledger_judge import paid

DAY_NS = 86_400 * 10**9
JUMP_AFTER = 12
"""Looks at the clock: half of those of the upload."""


@pytest.fixture
def user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[User]:
    """A controller of a node on a network of their own."""
    me = identities.generate(tmp_path / "me.pem")
    with LocalNetwork(tmp_path / "net") as net:
        with closing(Agent(network_of(net), me)) as agent:
            canister = deploy.create_node(agent)
        made = User(tmp_path / "home", net, canister, capsys, monkeypatch)
        made.pem.write_bytes((tmp_path / "me.pem").read_bytes())
        yield made


@pytest.mark.parametrize("seconds", [600, -600])
def test_wrong_clock_pays_for_nothing_that_is_held(user: User, seconds: int) -> None:
    source = checkpoint(user.home / "m.safetensors", 200_000)
    first = user.ok("upload", source, "--as", "first")
    assert first["frames"] > 0
    user.net.faults.set("skew", s=seconds)
    again = user.ok("upload", source, "--as", "second", "--state", "sqlite:///fresh.db")
    assert again["known_bytes"] == again["raw_bytes"] == first["raw_bytes"]
    # An audit goes by this machine's clock, and says so.
    assert user.run("audit", "first").code == 23


@pytest.mark.parametrize("jump_ns", [DAY_NS, -DAY_NS])
def test_clock_that_jumps_in_mid_upload_blocks_nothing(
    user: User, monkeypatch: pytest.MonkeyPatch, jump_ns: int
) -> None:
    """Both clocks of the machine jump, as after a restored snapshot of a virtual machine."""
    real, looks = steady_clock_ns, [0]

    def jumping() -> int:
        looks[0] += 1
        return real() + (jump_ns if looks[0] > JUMP_AFTER else 0)

    source = checkpoint(user.home / "m.safetensors", 5, tensors=6, size=1_000_000)
    before = len(user.net.ledger())
    with monkeypatch.context() as patch:
        patch.setattr("datanode.agent.clock.steady_clock_ns", jumping)
        done = user.run("upload", source, "--as", "m", "--json")
    assert looks[0] > JUMP_AFTER, "the clock did not jump while it mattered"
    assert done.code == 0, done.err
    assert user.ok("upload", source, "--as", "m")["unchanged"]
    judged = paid(user.net.ledger()[before:])
    assert judged.twice_count == 0
    assert judged.messages_count > 3
