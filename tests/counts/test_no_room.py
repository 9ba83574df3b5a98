"""An upload that does not fit the node: messages paid for nothing, by the network's ledger."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from datanode.agent import identity as identities
from datanode.agent.candid import decode
from datanode.agent.client import Agent
from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.errors import DataNodeError, NodeFullError, QuotaError
from datanode.fees import FeeSchedule
from datanode.localnet.state.ledger import BillEntry
from datanode.node import settings
from datanode.node.candid_interface import METHODS
from datanode.node.canister import CanisterNode
from datanode.node.port import Grant, Role
from datanode.node.settings import SettingsChange
from datanode.reader import Reader
from datanode.units import MIB, TC
from tests.bench.rig import PUT, Rig, rigged
from tests.uploader.session.stage import safetensors_bytes, weights
from uploader.session.upload import WINDOW_MESSAGES, UploadContext, upload
from uploader.source import open_source
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore

KEPT = {"stored", "already_stored"}
LAYERS = 40


def is_for_nothing(entry: BillEntry) -> bool:
    """Tell whether a message stored no frame."""
    result = decode((METHODS[PUT].reply,), entry.reply)[0]
    assert isinstance(result, tuple)
    if result[0] != "Ok":
        return True
    assert isinstance(result[1], list)
    return not any(each[0] in KEPT for each in result[1] if isinstance(each, tuple))


def attempt(rig: Rig, me: Identity, source: Path) -> DataNodeError:
    """Upload as another identity and return how that fails."""
    folder = rig.folder / "guest"
    network = Network(url=rig.net.url, root_key=rig.net.root_key, name="local")
    with (
        Agent(network, me) as agent,
        closing(open_source(source)) as opened,
        open_database(f"sqlite:///{folder / 'state.db'}") as database,
    ):
        node = CanisterNode(agent, rig.node.principal)
        context = UploadContext(
            node=node,
            me=me.principal,
            reader=Reader(node, root_key=rig.net.root_key),
            state=StateStore(database, me=me.principal),
            outbox=Outbox(folder / "outbox"),
            fees=FeeSchedule.load(),
        )
        with pytest.raises((QuotaError, NodeFullError)) as caught:
            upload(opened, "guest", context)
        return caught.value


def test_quota_of_a_tenth_is_paid_for_nothing_once_at_most(rig: Rig, tmp_path: Path) -> None:
    tensors = {f"layer.{i:02}": weights(900 + i, 1_500) for i in range(LAYERS)}
    source = tmp_path / "model.safetensors"
    source.write_bytes(safetensors_bytes(tensors))
    me = identities.generate(tmp_path / "guest.pem")
    quota = source.stat().st_size // 10
    rig.node.grant(Grant(to=me.principal, role=Role.UPLOADER, model=None, quota_bytes=quota))
    counts = []
    for _ in range(3):
        last = rig.last()
        attempt(rig, me, source)
        puts = rig.entries(PUT, after=last)
        counts.append((len(puts), sum(map(is_for_nothing, puts))))
    print(f"messages and messages for nothing of each run: {counts}, window {WINDOW_MESSAGES}")
    assert counts[0][1] <= WINDOW_MESSAGES
    assert counts[1:] == [(0, 0), (0, 0)]


def test_a_limit_of_reserved_cycles_is_found_before_the_first_put(tmp_path: Path) -> None:
    """A subnet of 1,900 GiB, and the limit that the IC gives a canister by default."""
    source = tmp_path / "large.safetensors"
    source.write_bytes(safetensors_bytes({"w": np.zeros((300, MIB), np.uint8)}))
    with rigged(tmp_path, subnet_used_gib=1_900) as crowded:
        limited = SettingsChange(reserved_cycles_limit=5 * TC)
        settings.apply(crowded.agent, crowded.node.principal, limited)
        with pytest.raises(NodeFullError) as caught:
            crowded.upload(source, "large")
        print(caught.value.what)
        assert "--reserved-cycles-limit none" in caught.value.hint
        assert not crowded.entries(PUT)
