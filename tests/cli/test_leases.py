"""Two who want to upload the same model, and spending that is bounded."""

import os
import time

from tests.cli.stage import MakeUser, User, checkpoint
from tests.fakes.ledger_judge import paid
from uploader.state.location import locate
from uploader.state.upload_lock import Queueing, upload_lock


def test_a_lease_of_somebody_else_is_told_and_can_be_taken_over(
    user: User, stranger: MakeUser
) -> None:
    other = stranger()
    user.arrive()
    user.ok("grant", other.principal, "uploader", "--model", "shared")
    other.arrive()
    theirs = checkpoint(other.home / "m.safetensors", 800, tensors=3, size=1_500_000)
    other.fails(25, "upload", theirs, "--as", "shared", "--max-cycles", 7_000_000_000)
    user.arrive()
    ours = checkpoint(user.home / "m.safetensors", 801)
    before = len(user.net.ledger())
    done = user.fails(11, "upload", ours, "--as", "shared")
    assert done.says(other.principal.text, "--takeover"), done.err
    assert not [e for e in user.net.ledger(after=before) if e.method == "put_frames"]
    assert user.ok("upload", ours, "--as", "shared", "--takeover")["version"] == 1
    other.arrive()
    assert other.run("upload", theirs, "--as", "shared").code in {0, 11, 12}


def test_a_takeover_needs_a_right(user: User, stranger: MakeUser) -> None:
    source = checkpoint(user.home / "m.safetensors", 802, tensors=3, size=1_500_000)
    user.fails(25, "upload", source, "--as", "mine", "--max-cycles", 7_000_000_000)
    other = stranger()
    user.arrive()
    user.ok("grant", other.principal, "uploader", "--model", "mine")
    other.arrive()
    theirs = checkpoint(other.home / "m.safetensors", 803)
    done = other.run("upload", theirs, "--as", "mine", "--takeover")
    assert done.code in {11, 12}, done.err
    user.arrive()
    before = paid(user.net.ledger())
    assert user.ok("upload", source, "--as", "mine")["version"] == 1
    assert paid(user.net.ledger()).twice_count == before.twice_count


def test_the_one_whose_lease_is_taken_is_told(user: User, stranger: MakeUser) -> None:
    other = stranger()
    user.arrive()
    user.ok("grant", other.principal, "uploader", "--model", "taken")
    other.arrive()
    theirs = checkpoint(other.home / "m.safetensors", 804, tensors=20, size=1_500_000)
    seen = len(user.net.ledger())
    process = other.start("upload", theirs, "--as", "taken", "--json")
    while not any(entry.method == "put_frames" for entry in user.net.ledger(after=seen)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    user.arrive()
    ours = checkpoint(user.home / "m.safetensors", 805)
    assert user.ok("upload", ours, "--as", "taken", "--takeover")["version"] == 1
    _, err = process.communicate(timeout=60)
    assert process.returncode in {16, 38, 12}, err
    assert "Traceback" not in err


def test_an_upload_waits_for_another_of_the_same_identity(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 806)
    where = locate(root_key=user.net.root_key)
    with upload_lock(where, user.canister, user.principal, "other", Queueing(wait=False)):
        done = user.fails(11, "upload", source, "--as", "once", "--no-wait", "--state", "x.db")
        assert done.says("other", f"pid {os.getpid()}", "nothing was sent", "--no-wait"), done.err
        process = user.start("upload", source, "--as", "once")
        assert process.stderr
        while "waiting for another upload of this identity" not in process.stderr.readline():
            assert process.poll() is None
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def test_three_uploads_at_once_all_work_and_pay_nothing_twice(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 808, tensors=6, size=1_500_000)
    user.ok("status")
    (user.home / "link.db").symlink_to(user.home / "third.db")
    before = paid(user.net.ledger())
    states: list[list[object]] = [[], [], ["--state", user.home / "link.db"]]
    names = ("one", "two", "two")
    processes = [
        user.start("upload", source, "--as", name, *state, "--json")
        for name, state in zip(names, states, strict=True)
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    after = paid(user.net.ledger())
    assert after.twice_count == before.twice_count
    assert user.ok("audit", "one")["verdict"] == user.ok("audit", "two")["verdict"] == "ok"


def test_a_budget_is_kept_and_raised(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 807, tensors=4, size=1_500_000)
    seen = len(user.net.ledger())
    done = user.fails(25, "upload", source, "--as", "budget", "--max-cycles", "0.007TC")
    assert done.says("larger --max-cycles", "stored and paid"), done.err
    spent = [e.total_cycles for e in user.net.ledger(after=seen) if e.method == "put_frames"]
    assert 0 < sum(spent) <= 7_000_000_000
    assert user.ok("upload", source, "--as", "budget", "--max-cycles", "1TC")["version"] == 1
