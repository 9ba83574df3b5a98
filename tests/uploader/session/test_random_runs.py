"""Random runs of one identity: names, sources, restarts, databases and kills; each frame once.

A run may find its database deleted, an older copy of it restored, or another one named with
`--state`; messages of runs that were killed may be executed while a later one is at work. The
outbox belongs to the identity, so it is there in any case.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from datanode.agent.signed_message import SignedMessage
from datanode.errors import SourceChangedError
from tests.fakes.memory_node import KilledError, MemoryNode
from tests.repetitions import repeated
from tests.uploader.session.stage import Stage
from tests.uploader.session.test_upload import checkpoint, fetched, frames_paid, on_disk
from uploader.session.upload import UploadOptions

MODELS: Final = ("a", "b")
SOURCES: Final = ((1, 2), (1, 3), (3, 3))
DATABASES: Final = ("keep", "keep", "delete", "back up", "restore", "swap")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it uploads, what became of the database before, and what the network does.

    Attributes:
        seeds: The source, one of `SOURCES`.
        restart: Plan anew if an upload of another source is under way under this name.
        late_after: Messages that are sent before one is late and the process is killed; None: no
            such thing.
        script: Letters for the messages, see `memory_node`.
    """

    model: str
    seeds: tuple[int, int]
    restart: bool
    database: str
    script: str
    late_after: int | None


runs = st.builds(
    Run,
    model=st.sampled_from(MODELS),
    seeds=st.sampled_from(SOURCES),
    restart=st.booleans(),
    database=st.sampled_from(DATABASES),
    script=st.text(alphabet="...xokK", max_size=4),
    late_after=st.none() | st.integers(0, 2),
)


def _move(from_: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    for path in from_.glob("state.db*"):
        path.rename(to / path.name)


def _copy(from_: Path, to: Path) -> None:
    for path in to.glob("state.db*"):
        path.unlink()
    for path in from_.glob("state.db*"):
        shutil.copy(path, to)


def change_database(stage: Stage, change: str) -> None:
    """Do to the database what its owner may do between two runs."""
    here, aside, third = (stage.folder / name for name in ("state", "aside", "third"))
    here.mkdir(exist_ok=True)
    aside.mkdir(exist_ok=True)
    if change == "delete":
        _copy(third, here)
    elif change == "back up":
        _copy(here, aside)
    elif change == "restore":
        _copy(aside, here)
    elif change == "swap":
        _move(here, third)
        _move(aside, here)
        _move(third, aside)


def execute(stage: Stage, run: Run, source: Path) -> bool:
    """Run once; tells whether it came to its end."""
    change_database(stage, run.database)
    world = stage.world
    world.script, world.sent = run.script, 0
    send, seal = MemoryNode.send, MemoryNode.seal_model

    def sent(node: MemoryNode, message: SignedMessage) -> object:
        if run.late_after is not None and node.world.sent >= run.late_after:
            node.world.late[message.request_id] = lambda: node.world.execute(message)
            return killed()
        return send(node, message)

    def sealed(node: MemoryNode, *args: object, **named: object) -> object:
        for late in list(node.world.late.values()):
            late()
        return seal(node, *args, **named)  # type: ignore[arg-type]

    def killed() -> NoReturn:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryNode, "send", sent)
        patch.setattr(MemoryNode, "seal_model", sealed)
        try:
            stage.upload(source, run.model, options=UploadOptions(restart=run.restart))
        except (KilledError, SourceChangedError):
            return False
    return True


@settings(
    max_examples=repeated(15, 600),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)
@given(
    st.lists(runs, min_size=2, max_size=6),
    st.fixed_dictionaries({model: st.sampled_from(SOURCES) for model in MODELS}),
)
def test_each_frame_is_paid_once_whatever_the_order_of_runs(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[Run],
    last: dict[str, tuple[int, int]],
) -> None:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    sources = {
        seeds: checkpoint(stage.folder / f"source {seeds}", seeds=seeds, rows=16)
        for seeds in SOURCES
    }
    for run in history:
        execute(stage, run, sources[run.seeds])
    for model, seeds in last.items():
        run = Run(
            model=model, seeds=seeds, restart=True, database="keep", script="", late_after=None
        )
        assert execute(stage, run, sources[seeds])
        assert fetched(stage, model) == on_disk(sources[seeds])
    assert set(frames_paid(stage).values()) == {1}
    assert not list((stage.folder / "state" / "outbox").glob("*"))
