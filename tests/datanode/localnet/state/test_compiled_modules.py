"""Modules that were compiled since the last checkpoint are known, and forgotten at the next."""

from datanode.localnet.state.compiled_modules import CHECKPOINT_INTERVAL_NS, CompiledModules

ONE, OTHER = b"1" * 32, b"2" * 32


def test_a_checkpoint_empties_the_set() -> None:
    now = [7]
    modules = CompiledModules(lambda: now[0])
    now[0] += CHECKPOINT_INTERVAL_NS - 1
    modules.add(ONE)
    assert ONE in modules
    assert OTHER not in modules
    now[0] += 1
    assert ONE not in modules


def test_an_interval_begins_when_the_last_is_noticed_to_have_ended() -> None:
    now = [7]
    modules = CompiledModules(lambda: now[0])
    now[0] += 3 * CHECKPOINT_INTERVAL_NS + 5
    modules.add(ONE)
    now[0] += CHECKPOINT_INTERVAL_NS - 1
    assert ONE in modules
    now[0] += 1
    assert ONE not in modules
