"""Networks that are away, wrong, or die in the middle: told apart, and nothing is paid twice."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from datanode.agent.network import MAINNET_ROOT_KEY
from tests.cli.stage import User, checkpoint
from tests.fakes.ledger_judge import messages, paid
from tests.quickness import allowed_s
from uploader.cli import audit_actions

READING = (["models"], ["show", "m"], ["fetch", "m", "out"], ["audit", "m"])


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    do_POST = do_GET  # noqa: N815 - the name that the server calls

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web_page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_network_that_does_not_run_is_told_quickly(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 500)
    started = time.monotonic()
    for command in (["upload", source, "--as", "m"], ["models"], ["node", "create"]):
        done = user.fails(30, *command, "--network", "http://127.0.0.1:9")
        assert done.says("127.0.0.1:9", "localnet start"), done.err
    checked = user.run("doctor", "--network", "http://127.0.0.1:9", "--json")
    found = {item["check"]: item["ok"] for item in checked.results[:-1]}
    assert checked.code == 1
    assert found == {
        "settings": True,
        "identity": True,
        "network": False,
        "nodes": True,
        "root key": False,
        "clock": False,
        "state": False,
        "node main": False,
    }
    assert time.monotonic() - started < allowed_s(10)
    assert not (user.state).exists()


def test_a_web_page_is_no_network(user: User, web_page: str) -> None:
    assert user.fails(30, "models", "--network", web_page).says("IC endpoint")
    assert user.run("doctor", "--network", web_page).says("IC endpoint")
    key = user.net.root_key.hex()
    source = checkpoint(user.home / "m.safetensors", 501)
    for arguments in (["models"], ["upload", source, "--as", "m"]):
        done = user.run(
            *arguments, "--node", user.canister, "--network", web_page, "--root-key", key
        )
        assert done.code == 30, done.err
        assert done.says("between this machine and the network"), done.err


class _Firewall(_Page):
    status = 403

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-type", "text/html")
        self.send_header("location", "http://portal.invalid/")
        self.end_headers()
        self.wfile.write(b"<html>Access denied by policy</html>")

    do_POST = do_GET  # noqa: N815 - the name that the server calls


@pytest.mark.parametrize("status", [302, 403, 407, 413])
def test_firewall_is_no_missing_role(
    user: User, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(_Firewall, "status", status)
    source = checkpoint(user.home / "m.safetensors", 503)
    with HTTPServer(("127.0.0.1", 0), _Firewall) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = ["--network", f"http://127.0.0.1:{server.server_port}"]
        where += ["--root-key", user.net.root_key.hex(), "--node", str(user.canister)]
        for arguments in (["models"], ["upload", source, "--as", "m"]):
            done = user.fails(30, *arguments, *where)
            assert done.says("between this machine and the network"), done.err
            assert not done.says("grant")
        server.shutdown()


def test_unreadable_no_proxy_is_named_and_stops_nothing(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "[::1,localhost,[::1]")
    done = user.run("models")
    assert done.code == 0
    assert done.says("skipping [::1 in NO_PROXY")


def test_certificates_of_another_network_are_refused(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 502)
    user.ok("upload", source, "--as", "m502")
    before = len(messages(user.net.ledger()))
    key = MAINNET_ROOT_KEY.hex()
    for command in (
        ["upload", source, "--as", "other"],
        ["models"],
        ["fetch", "m502", "out"],
        ["audit", "m502"],
        ["node", "create", "x", "--cycles", "5TC"],
    ):
        done = user.fails(23, *command, "--root-key", key)
        assert done.says("do not trust"), done.err
    assert len(messages(user.net.ledger())) == before
    assert not (user.home / "out").exists()


def test_a_dead_network_is_told_by_every_command(mortal: User) -> None:
    source = checkpoint(mortal.home / "m.safetensors", 503)
    mortal.ok("upload", source, "--as", "m")
    mortal.net.kill()
    started = time.monotonic()
    for command in (["upload", source, "--as", "n"], *READING):
        done = mortal.fails(30, *command)
        safe = "Nothing was sent." if command[0] == "upload" else "nothing is paid twice"
        assert done.says("out of reach", safe), (command, done.err)
    assert mortal.run("status").code == 0
    assert mortal.run("cost").code == 0
    assert mortal.run("doctor").code == 1
    assert time.monotonic() - started < allowed_s(60)
    mortal.net.start()
    assert mortal.ok("upload", source, "--as", "n")["version"] == 1


@pytest.mark.nightly
def test_a_network_that_dies_in_mid_upload_and_comes_back_is_waited_for(mortal: User) -> None:
    source = checkpoint(mortal.home / "m.safetensors", 504, tensors=6, size=1_500_000)
    upload = mortal.start("upload", source, "--as", "m", "--json")
    while not any(entry.method == "put_frames" for entry in mortal.net.ledger()):
        assert upload.poll() is None
        time.sleep(0.01)
    mortal.net.kill()
    time.sleep(1)
    mortal.net.start()
    out, err = upload.communicate(timeout=60)
    assert upload.returncode == 0, err
    assert '"version": 1' in out
    verdict = paid(mortal.net.ledger())
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count


def test_an_upload_stopped_while_the_network_is_away_goes_on_later(mortal: User) -> None:
    source = checkpoint(mortal.home / "m.safetensors", 505, tensors=6, size=1_500_000)
    upload = mortal.start("upload", source, "--as", "m", PYTHONFAULTHANDLER="1")
    while not any(entry.method == "put_frames" for entry in mortal.net.ledger()):
        assert upload.poll() is None
        time.sleep(0.01)
    mortal.net.kill()
    time.sleep(0.5)
    _stopped(upload)
    mortal.net.start()
    assert mortal.ok("upload", source, "--as", "m")["version"] == 1
    verdict = paid(mortal.net.ledger())
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count


def _stopped(process: subprocess.Popen[str]) -> str:
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it says where each thread is
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert time.monotonic() - started < allowed_s(3), "at most two seconds to be safe to quit"
    return err


def test_an_audit_that_loses_its_network_is_incomplete(
    mortal: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = checkpoint(mortal.home / "m.safetensors", 506, tensors=8, size=1_500_000)
    mortal.ok("upload", source, "--as", "m")
    count = audit_actions._Counter.__call__
    killed = threading.Event()

    def counting(self: audit_actions._Counter, outcome: object, total: int) -> None:
        if not killed.is_set():
            mortal.net.kill()
            killed.set()
        count(self, outcome, total)  # type: ignore[arg-type]

    monkeypatch.setattr(audit_actions._Counter, "__call__", counting)
    done = mortal.run("audit", "m", "--jobs", "1", "--report", "r.json", "--json")
    assert done.code == 41, done.err
    assert done.error["hint"] == "Run the audit again."
    outcomes = {item["outcome"] for item in done.results if item["type"] == "item"}
    assert outcomes <= {"unreachable", "contained", "unknown"}, outcomes
    mortal.net.start()
    assert mortal.run("audit", "--verify", "r.json").code == 41
    assert mortal.ok("audit", "m")["verdict"] == "ok"


@pytest.mark.nightly
def test_a_network_that_was_reset_is_another_one(mortal: User) -> None:
    source = checkpoint(mortal.home / "m.safetensors", 507)
    assert mortal.ok("upload", source, "--as", "m")["version"] == 1
    mortal.ok("localnet", "reset", "--yes", "--state-dir", mortal.net.directory)
    mortal.net.start()
    mortal.fails(10, "upload", source, "--as", "m")
    again = mortal.ok("node", "create", "again")
    assert again["canister"] == mortal.canister.text, "the case to be tested"
    done = mortal.ok("upload", source, "--as", "m", "--node", "again")
    assert (done["version"], done["unchanged"]) == (1, False)
    mortal.ok("audit", "m", "--node", "again")
