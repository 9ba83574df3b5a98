"""The names of supranational's own binding `blst`, which no registry has, on top of `pyblst`.

icp-py-core verifies every certificate with `P1_Affine(signature).core_verify(key, ...)`; what is
behind the names is the same library.
"""

import pyblst

BLST_SUCCESS, BLST_VERIFY_FAIL = 0, 5
_G2_GENERATOR = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)


class P2_Affine:  # noqa: N801 - the binding's name
    """A public key."""

    def __init__(self, compressed: bytes) -> None:
        self.point = pyblst.BlstP2Element.uncompress(compressed)


class P1_Affine:  # noqa: N801 - the binding's name
    """A signature."""

    def __init__(self, compressed: bytes) -> None:
        self.point = pyblst.BlstP1Element.uncompress(compressed)

    def core_verify(
        self, key: P2_Affine, hashed: object, message: bytes, domain: bytes, _augmentation: None
    ) -> int:
        """Compare the pairings of signature and message."""
        assert hashed is True
        point = pyblst.BlstP1Element.hash_to_group(message, domain)
        generator = pyblst.BlstP2Element.uncompress(_G2_GENERATOR)
        left = pyblst.miller_loop(self.point, generator)
        good = pyblst.final_verify(left, pyblst.miller_loop(point, key.point))
        return BLST_SUCCESS if good else BLST_VERIFY_FAIL


class Pairing:
    """Never says yes: what the client falls back to when `core_verify` says no."""

    def __init__(self, _hashed: object, _domain: bytes) -> None:
        self.good = False

    def aggregate(self, *_signed: object) -> None:
        """Take a signature in."""

    def finalverify(self) -> bool:
        """Tell whether all of them hold."""
        return self.good
