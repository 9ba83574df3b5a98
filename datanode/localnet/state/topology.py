"""Topology of the embedded network: keys, two subnets, node and canister ranges.

Everything follows from one secret seed of 32 bytes in the state folder (`seed`, mode 0600), so a
restart changes no key and a reset changes all of them. As on the Internet Computer a root subnet
delegates to an application subnet, which hosts every canister; so readers must follow the
delegation and check the ranges.

    seed -> SHA-256("root" || seed)    secret of the root subnet    -> root key
            SHA-256("subnet" || seed)  secret of the app subnet     -> subnet id
            SHA-256("node" || seed)    Ed25519 secret of the node   -> node id
            SHA-256("other" || seed)   secret of a second app subnet, which hosts nothing

The second subnet is honestly delegated to, for ranges of its own; it signs only where a fault on
cue makes it speak of canisters that are not its own.
"""

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from datanode.errors import LocalNetworkError
from datanode.localnet.state import bls_keys
from datanode.principal import Principal

SEED_BYTES: Final = 32
_CANISTER_SUFFIX: Final = b"\x01\x01"
_INDEX_BYTES: Final = 8


def canister_id(index: int) -> Principal:
    """Return the id of the canister with a number, as the Internet Computer numbers them."""
    return Principal(index.to_bytes(_INDEX_BYTES) + _CANISTER_SUFFIX)


FIRST_CANISTER: Final = 0x8000_0000_0010_0000
LAST_CANISTER: Final = 0x8000_0000_001F_FFFF
"""Numbers of the canisters that users create; those of the local networks people know."""

REGISTRY: Final = canister_id(0)
ICP_LEDGER: Final = canister_id(2)
CYCLES_MINTING: Final = canister_id(4)
CYCLES_LEDGER: Final = canister_id(0x0210_0002)
"""Canisters of the network that are built in, at the ids that they have on mainnet."""

BUILT_INS: Final = (REGISTRY, ICP_LEDGER, CYCLES_MINTING, CYCLES_LEDGER)

RANGES: Final[tuple[tuple[Principal, Principal], ...]] = (
    (canister_id(0), canister_id(0x000F_FFFF)),
    (canister_id(0x0210_0000), canister_id(0x021F_FFFF)),
    (canister_id(FIRST_CANISTER), canister_id(LAST_CANISTER)),
)
"""What the application subnet hosts."""


def is_hosted(canister: Principal) -> bool:
    """Whether an id lies in the ranges of the application subnet."""
    return any(low.raw <= canister.raw <= high.raw for low, high in RANGES)


OTHER_RANGE: Final = (canister_id(0x0220_0000), canister_id(0x022F_FFFF))
"""What the second application subnet would host."""


def is_free(canister: Principal) -> bool:
    """Whether an id may be given to a canister with code."""
    return is_hosted(canister) and canister not in BUILT_INS


@dataclass(frozen=True, slots=True)
class Topology:
    """Keys and names of the network; its repr shows no secret.

    Attributes:
        root_key: DER key of the root subnet, the network's root of trust.
        subnet_key: DER key of the application subnet.
        node_key: DER key of the only node.
        root_id: Root subnet.
        subnet_id: Application subnet.
        node_id: The only node.
    """

    root_secret: int = field(repr=False)
    subnet_secret: int = field(repr=False)
    other_secret: int = field(repr=False)
    node_secret: Ed25519PrivateKey = field(repr=False)
    root_key: bytes
    subnet_key: bytes
    node_key: bytes
    root_id: Principal
    subnet_id: Principal
    node_id: Principal

    @classmethod
    def of_seed(cls, seed: bytes) -> "Topology":
        """Derive everything from the seed."""
        root, subnet, other = (_scalar(label, seed) for label in (b"root", b"subnet", b"other"))
        node = Ed25519PrivateKey.from_private_bytes(_derived(b"node", seed))
        root_key, subnet_key = bls_keys.public_key(root), bls_keys.public_key(subnet)
        node_key = node.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(
            root_secret=root,
            subnet_secret=subnet,
            other_secret=other,
            node_secret=node,
            root_key=root_key,
            subnet_key=subnet_key,
            node_key=node_key,
            root_id=Principal.self_authenticating(root_key),
            subnet_id=Principal.self_authenticating(subnet_key),
            node_id=Principal.self_authenticating(node_key),
        )

    @classmethod
    def open(cls, folder: Path) -> "Topology":
        """Read the seed of a state folder, making it where there is none.

        Raises:
            LocalNetworkError: The seed file is damaged.
        """
        path = folder / "seed"
        if not path.exists():
            part = path.with_suffix(".part")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SEED_BYTES))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        seed = path.read_bytes()
        if len(seed) != SEED_BYTES:
            raise LocalNetworkError(
                f"{path} is damaged: it has {len(seed)} bytes, not {SEED_BYTES}",
                hint="`datanode localnet reset` starts a new, empty network.",
            )
        return cls.of_seed(seed)


def range_list() -> Sequence[Sequence[bytes]]:
    """The ranges as they stand in certificates."""
    return [[low.raw, high.raw] for low, high in RANGES]


def _derived(label: bytes, seed: bytes) -> bytes:
    return hashlib.sha256(label + seed).digest()


def _scalar(label: bytes, seed: bytes) -> int:
    return int.from_bytes(_derived(label, seed)) % (bls_keys.ORDER - 1) + 1
