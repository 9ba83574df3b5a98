"""Signs as a subnet does: BLS on BLS12-381, signature in G1, key in G2.

`datanode.agent.bls` checks such signatures; both must agree on the domain and the DER prefix.
"""

from typing import Final

import pyblst

from datanode.agent.bls import DER_PREFIX, HASH_TO_CURVE_DOMAIN

ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order of the groups; a secret is a number below it."""

_G2_GENERATOR: Final = pyblst.BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
    )
)


def public_key(secret: int) -> bytes:
    """Return the public key of a secret, in DER."""
    return DER_PREFIX + bytes(_G2_GENERATOR.scalar_mul(secret).compress())


def sign(secret: int, message: bytes) -> bytes:
    """Sign a message; 48 bytes, 0.2 ms."""
    hashed = pyblst.BlstP1Element.hash_to_group(message, HASH_TO_CURVE_DOMAIN)
    return bytes(hashed.scalar_mul(secret).compress())
