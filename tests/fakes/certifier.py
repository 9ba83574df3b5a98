"""A subnet of one key: real BLS certificates over whatever a test puts into the state."""

from collections.abc import Callable, Sequence

from pyblst import BlstP1Element, BlstP2Element

from datanode import cbor
from datanode.agent.hash_tree import HashTree, Plan

_DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_DER_PREFIX = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
_G2 = BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57"
        "e5ac7d055d042b7e024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d177"
        "0bac0326a805bbefd48056c8c121bdb8"
    )
)
_STATE_ROOT = b"\x0dic-state-root"


def leb128(number: int) -> bytes:
    """Write an unsigned number as the IC writes time."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Certifier:
    """Signs state trees; `root_key` is what a reader must trust to believe them."""

    def __init__(self, clock_ns: Callable[[], int], secret: int = 0xDA7A_40DE) -> None:
        self._clock_ns = clock_ns
        self._secret = secret
        self.root_key: bytes = _DER_PREFIX + _G2.scalar_mul(secret).compress()

    def certificate(
        self, state: Plan, paths: Sequence[Sequence[bytes]] = (), *, time_ns: int | None = None
    ) -> bytes:
        """Certify `state` and the time, pruned to `paths` (all of it by default)."""
        now = self._clock_ns() if time_ns is None else time_ns
        tree = HashTree.from_dict({**state, b"time": leb128(now)})
        if paths:
            tree = tree.prune([[b"time"], *paths])
        point = BlstP1Element.hash_to_group(_STATE_ROOT + tree.digest(), _DST)
        signature = point.scalar_mul(self._secret).compress()
        return cbor.encode({"tree": tree.to_cbor(), "signature": signature}, tagged=True)
