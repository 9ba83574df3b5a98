"""A private model, on the real canister: who knows every digest of it learns nothing more.

Each method is probed twice by everybody who has no right: about the private model, and about one
that does not exist. The answers must be the same bytes. A method without probes fails the suite.
"""

import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3

from datanode.agent import identity as identities
from datanode.agent.candid import Value, encode
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.errors import DataNodeError
from datanode.node.candid_interface import METHODS
from datanode.node.canister import CanisterNode
from datanode.node.port import Grant, ManifestPart, PutStatus, Role, Settled, Visibility
from datanode.principal import ANONYMOUS, Principal
from datanode.reader import Reader
from datanode.units import DAY_S
from tests.cli.stage import User, checkpoint

pytestmark = pytest.mark.nightly

SECRET, ABSENT = "project-kestrel", "project-osprey-"
"""Of the same length, because refusals repeat a name."""
OPEN, THEIRS = "open-model", "their-model"


@dataclass(frozen=True, slots=True)
class Known:
    """Knowledge of an attacker: a model's name, a lease on it, all digests and bytes."""

    model: str
    lease_id: int
    manifest: bytes
    placement: bytes
    contents: tuple[bytes, ...]
    frames: tuple[bytes, ...]

    @property
    def digests(self) -> list[bytes]:
        return [self.manifest, self.placement, *self.contents, *self.frames]


@dataclass(frozen=True, slots=True)
class Scene:
    """The node, and who knows what of it."""

    network: Network
    canister: Principal
    folder: Path
    secret: Known
    absent: Known
    their_lease: int
    their_manifest: bytes
    open_manifest: bytes
    frame_bytes: bytes

    def agent(self, name: str) -> Agent:
        if name == "anonymous":
            return Agent(self.network, identities.anonymous(), sleep=lambda _: None)
        path = self.folder / f"{name}.pem"
        who = identities.load(path) if path.exists() else identities.generate(path)
        return Agent(self.network, who, sleep=lambda _: None)


@pytest.fixture
def scene(user: User) -> Iterator[Scene]:
    """A private model, a public one, and another uploader with a model and a lease of their own."""
    folder = user.home / "people"
    folder.mkdir()
    seed = int.from_bytes(os.urandom(3), "big")
    for number, model in enumerate((SECRET, OPEN)):
        # Of different shapes, or they would share a header and a page of tensors.
        source = checkpoint(user.home / f"{model}.safetensors", seed + number, tensors=4 - number)
        user.ok("upload", source, "--as", model)
    network = Network(url=user.net.url, root_key=user.net.root_key, name="local")
    theirs = identities.generate(folder / "uploader.pem")
    with user.node() as node:
        node.set_visibility(OPEN, Visibility.PUBLIC)
        for model in (THEIRS, "their-next"):
            node.grant(Grant(to=theirs.principal, role=Role.UPLOADER, model=model))
        reader = Reader(node, root_key=user.net.root_key)
        version = reader.open_version(SECRET)
        before = node.model(SECRET)
        records = list(version.records())
        (frame, *_) = node.get_frames(SECRET, version.manifest, [1])
        assert isinstance(frame, bytes)
        lease = node.begin_upload(SECRET, frames_count=1, frame_bytes=1)
        secret = Known(
            SECRET,
            lease.id,
            version.manifest,
            version.trusted.placement,
            tuple(record.content for record in records),
            (
                *(record.frame for record in records),
                *version.head.chunk_pages,
                *version.head.tensor_pages,
            ),
        )
        open_manifest = reader.open_version(OPEN).manifest
    absent = Known(
        ABSENT,
        secret.lease_id + 10**9,
        os.urandom(32),
        os.urandom(32),
        tuple(os.urandom(32) for _ in secret.contents),
        tuple(os.urandom(32) for _ in secret.frames),
    )
    other = Agent(network, theirs)
    their_node = CanisterNode(other, user.canister)
    own = User(user.home / "other", user.net, user.canister, user.capture, user.patch)
    own.pem.write_bytes((folder / "uploader.pem").read_bytes())
    done = own.ok("upload", checkpoint(own.home / "t.safetensors", seed + 9), "--as", THEIRS)
    user.arrive()
    their_lease = their_node.begin_upload("their-next", frames_count=9, frame_bytes=10**6).id
    yield Scene(
        network,
        user.canister,
        folder,
        secret,
        absent,
        their_lease,
        bytes.fromhex(done["manifest"]),
        open_manifest,
        frame,
    )
    their_node.end_upload(their_lease)
    other.close()
    with user.node() as node:
        assert node.model(SECRET) == before, "it is untouched"
        assert node.grants(SECRET) == []
        node.end_upload(secret.lease_id)
        for model in (SECRET, OPEN):
            node.delete_model(model)
        for model in (THEIRS, "their-next"):
            node.revoke(theirs.principal, Role.UPLOADER, model)
        node.delete_model(THEIRS)


Probes = Callable[[Known, Scene], Sequence[tuple[Value, ...]]]


def _refs(known: Known, scene: Scene) -> Iterator[tuple[str, bytes]]:
    """A manifest under its own name, and under names that may be read."""
    for model in (known.model, OPEN, THEIRS):
        for manifest in (known.manifest, known.placement, *known.frames[-2:]):
            yield model, manifest
    yield known.model, scene.open_manifest
    yield known.model, scene.their_manifest


def _seals(known: Known, scene: Scene) -> Iterator[tuple[Value, ...]]:
    for lease, model in itertools.product(
        (scene.their_lease, known.lease_id), (known.model, "their-next", THEIRS)
    ):
        for version in (None, 1, 2):
            seal: Value = {
                "model": model,
                "manifest": known.manifest,
                "placement": known.placement,
                "expected_version": version,
            }
            yield lease, seal, b""


def _begin(known: Known, *, takeover: bool) -> tuple[Value, ...]:
    wish: Value = {"model": known.model, "frames": 1, "frame_bytes": 1, "takeover": takeover}
    return (wish,)


def _grant(known: Known, role: str) -> tuple[Value, ...]:
    return (
        {
            "to": ANONYMOUS,
            "role": (role, None),
            "model": known.model,
            "expires_ns": None,
            "quota_bytes": None,
        },
    )


MANY = ("get_frames", "get_manifest")
"""Methods with so many probes that only one of them is sent as an update."""

PARTS: list[Value] = [
    ("head", None),
    ("placement", None),
    ("chunk_page", 0),
    ("tensor_page", 0),
    ("chunk_page", 9),
]
PROBES: dict[str, Probes] = {
    "begin_upload": lambda k, _s: [_begin(k, takeover=False), _begin(k, takeover=True)],
    "renew_upload": lambda k, _s: [(k.lease_id,)],
    "end_upload": lambda k, _s: [(k.lease_id,)],
    "leases": lambda k, _s: [(None,), (k.lease_id,)],
    "end_lease": lambda k, _s: [(k.lease_id,)],
    "put_frames": lambda k, _s: [(k.lease_id, [b"x"]), (k.lease_id, [])],
    "pin_frames": lambda k, s: [(s.their_lease, k.digests), (k.lease_id, k.digests)],
    "lease_frames": lambda k, _s: [(k.lease_id, b""), (k.lease_id, k.manifest)],
    "missing_frames": lambda k, s: [(s.their_lease, k.digests), (k.lease_id, k.digests)],
    "find_contents": lambda k, _s: [(k.contents,), (k.digests,), ([],)],
    "seal_model": lambda k, s: list(_seals(k, s)),
    "get_frames": lambda k, s: [
        ({"model": model, "manifest": manifest, "chunks": chunks},)
        for model, manifest in _refs(k, s)
        for chunks in ([0], [0, 1, 2], [10**6], [])
    ],
    "get_manifest": lambda k, s: [
        ({"model": model, "manifest": manifest, "part": part},)
        for model, manifest in _refs(k, s)
        for part in PARTS
    ],
    "models": lambda k, _s: [(k.model,), (k.model[:-1],), (None,)],
    "model": lambda k, _s: [(k.model,)],
    "tensor_list": lambda k, _s: [
        (k.model, None, b""),
        (k.model, 1, b""),
        (k.model, 1, k.manifest),
    ],
    "witness": lambda k, _s: [
        ({"model": k.model, "version": version},) for version in (None, 0, 1, 2)
    ],
    "scrub": lambda k, _s: [(b"", 10**9), (k.frames[0], 1)],
    "delete_model": lambda k, _s: [(k.model, None, b""), (k.model, 1, b""), (k.model, 7, b"")],
    "collect_garbage": lambda k, _s: [({"force": False}, b""), ({"force": True}, k.frames[0])],
    "grant": lambda k, _s: [_grant(k, "reader"), _grant(k, "uploader")],
    "revoke": lambda k, _s: [({"to": ANONYMOUS, "role": ("reader", None), "model": k.model},)],
    "grants": lambda k, _s: [(k.model,)],
    "transfer_model": lambda k, _s: [({"model": k.model, "to": ANONYMOUS},)],
    "set_visibility": lambda k, _s: [({"model": k.model, "visibility": ("public", None)},)],
    "status": lambda _k, _s: [()],
}


def test_every_method_of_the_interface_is_probed() -> None:
    from tests.fakes.did import Did

    did = Path(__file__).parents[2] / "canisters" / "storage" / "storage.did"
    assert set(PROBES) == set(METHODS) == set(Did(did.read_text()).methods)


def _answer(agent: Agent, scene: Scene, method: str, argument: bytes, *, update: bool) -> bytes:
    """Whatever comes back, in bytes."""
    ask = agent.call if update else agent.query
    try:
        return b"reply " + ask(scene.canister, method, argument)
    except DataNodeError as error:
        return f"{type(error).__name__} {error.what} {error.hint}".encode()


def _blind(answer: bytes, known: Known) -> bytes:
    """Put marks where an answer repeats what it was asked."""
    for number, digest in enumerate(known.digests):
        answer = answer.replace(digest, b"<%d>" % number)
        answer = answer.replace(digest.hex().encode(), b"<%d>" % number)
    for lease in (known.lease_id,):
        answer = answer.replace(str(lease).encode(), b"<lease>")
    return answer.replace(known.model.encode(), b"<model>")


@pytest.mark.parametrize("who", ["anonymous", "stranger", "uploader"])
def test_no_method_tells_a_private_model_from_one_that_is_not_there(scene: Scene, who: str) -> None:
    with scene.agent(who) as agent:
        for method, probes in PROBES.items():
            kinds = METHODS[method].arguments
            pairs = zip(probes(scene.secret, scene), probes(scene.absent, scene), strict=True)
            for about_secret, about_absent in pairs:
                for update in (False,) if method in MANY else (False, True):
                    told, nothing = (
                        _blind(
                            _answer(agent, scene, method, encode(kinds, values), update=update),
                            known,
                        )
                        for values, known in (
                            (about_secret, scene.secret),
                            (about_absent, scene.absent),
                        )
                    )
                    assert told == nothing, (who, method, about_secret, update)
                    assert SECRET.encode() not in told
                    assert scene.frame_bytes[64:96] not in told


def test_reads_called_as_updates_are_refused_alike(scene: Scene) -> None:
    for who in ("anonymous", "stranger", "uploader"):
        with scene.agent(who) as agent:
            for method in MANY:
                kinds = METHODS[method].arguments
                said = {
                    _answer(
                        agent,
                        scene,
                        method,
                        encode(kinds, PROBES[method](known, scene)[0]),
                        update=True,
                    )
                    for known in (scene.secret, scene.absent)
                }
                assert len(said) == 1, (who, method, said)


def test_bytes_that_somebody_else_stored_are_new_to_an_uploader(scene: Scene) -> None:
    with scene.agent("uploader") as agent:
        node = CanisterNode(agent, scene.canister)
        outcome = node.send(node.prepare(scene.their_lease, [scene.frame_bytes]))
        assert isinstance(outcome, Settled)
        assert [result.status for result in outcome.results] == [PutStatus.STORED]
        assert [held.frame for held in node.lease_frames(scene.their_lease)]


def test_listings_name_only_what_may_be_read(scene: Scene) -> None:
    for who, expected in (
        ("anonymous", {OPEN}),
        ("stranger", {OPEN}),
        ("uploader", {OPEN, THEIRS}),
    ):
        with scene.agent(who) as agent:
            names = {model.name for model in CanisterNode(agent, scene.canister).models()}
        assert SECRET not in names
        assert expected <= names


def test_the_witness_of_a_public_model_cannot_be_guessed_open(scene: Scene) -> None:
    with scene.agent("anonymous") as agent:
        answer = CanisterNode(agent, scene.canister).witness(OPEN)
    secret = scene.secret
    for known in (SECRET.encode(), *secret.digests):
        assert known not in answer.witness
        assert known not in answer.certificate
    pruned = {answer.witness[at : at + 32] for at in range(len(answer.witness) - 31)}
    assert pruned.isdisjoint(_guesses(secret, scene.canister))


def _domain(name: str, *parts: bytes) -> bytes:
    text = f"ic-hashtree-{name}".encode()
    return hashlib.sha256(bytes([len(text)]) + text + b"".join(parts)).digest()


def _labelled(label: bytes, inner: bytes) -> bytes:
    return _domain("labeled", label, inner)


def _guesses(known: Known, canister: Principal) -> set[bytes]:
    """Every hash that can be computed from what is known, the shape of the tree included."""
    name = known.model.encode()
    both = _domain("leaf", known.manifest + known.placement)
    first = _domain("leaf", (1).to_bytes(4, "big"))
    leaves = [
        _domain("leaf", known.manifest),
        _domain("leaf", known.placement),
        both,
        _domain("leaf", known.placement + known.manifest),
        _labelled((1).to_bytes(4, "big"), both),
        _labelled(b"latest", first),
    ]
    for key in (bytes(32), canister.raw.ljust(32, b"\0"), hashlib.sha256(canister.raw).digest()):
        salt = blake3(name, key=key).digest()
        leaves += [salt, _labelled(b"salt", _domain("leaf", salt))]
    leaves.append(_labelled(b"salt", _domain("leaf", blake3(name).digest())))
    pairs = [_domain("fork", a, b) for a, b in itertools.permutations(leaves, 2)]
    triples = [_domain("fork", a, b) for a, b in itertools.product(pairs, leaves)]
    triples += [_domain("fork", b, a) for a, b in itertools.product(pairs, leaves)]
    nodes = [*leaves, *pairs, *triples]
    return {*nodes, *(_labelled(name, node) for node in nodes)}


def test_the_guesses_would_find_a_tree_without_a_secret() -> None:
    """The check above can fail: an unblinded branch is among the guesses."""
    known = Known(SECRET, 0, b"m" * 32, b"p" * 32, (), ())
    canister = Principal(b"\x01")
    version = _labelled((1).to_bytes(4, "big"), _domain("leaf", b"m" * 32 + b"p" * 32))
    latest = _labelled(b"latest", _domain("leaf", (1).to_bytes(4, "big")))
    branch = _labelled(SECRET.encode(), _domain("fork", version, latest))
    assert branch in _guesses(known, canister)


def test_the_command_line_finds_nothing_either(user: User, scene: Scene) -> None:
    pem = scene.folder / "outsider.pem"
    identities.generate(pem)
    for model_, command in itertools.product(
        (SECRET, ABSENT),
        (["show"], ["fetch"], ["audit"]),
    ):
        more = ["out"] if command == ["fetch"] else []
        done = user.fails(10, *command, model_, *more, "--identity", pem)
        assert not (user.home / "out").exists()
        other = ABSENT if model_ == SECRET else SECRET
        twin = user.fails(10, *command, other, *more, "--identity", pem)
        assert done.err.replace(model_, "x") == twin.err.replace(other, "x")
    listed = user.run("models", "--identity", pem, "--json").out
    assert SECRET not in listed


def test_a_reader_reads_until_the_grant_ends(user: User, scene: Scene) -> None:
    pem = scene.folder / "guest.pem"
    guest = identities.generate(pem).principal
    user.ok("grant", guest, "reader", "--model", SECRET)
    assert user.run("audit", SECRET, "--identity", pem).code == 0
    user.ok("revoke", guest, "reader", "--model", SECRET)
    user.fails(10, "audit", SECRET, "--identity", pem)
    # A slow machine may take longer than the grant lasts to make it; the node refuses it then.
    grant = ("grant", guest, "reader", "--model", SECRET, "--days")
    lasts_s = next(
        days * DAY_S for days in (1e-5, 1e-4, 1e-3) if user.run(*grant, f"{days:.5f}").code == 0
    )
    time.sleep(lasts_s + 0.1)
    user.fails(10, "audit", SECRET, "--identity", pem)
    user.ok("revoke", guest, "reader", "--model", SECRET)


def test_parts_are_all_probed() -> None:
    assert {part[0] for part in PARTS if isinstance(part, tuple)} == set(ManifestPart)
