"""Sign as a subnet does: BLS on BLS12-381, signature in G1, key in G2.

`datanode.agent.bls` checks such signatures; both must agree on the domain and the DER prefix.
"""

from typing import Final

from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from datanode.agent.bls import DER_PREFIX, HASH_TO_CURVE_DOMAIN

ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order of the groups; a secret is a number below it."""

_SCALAR_BYTES: Final = 32


def public_key(secret: int) -> bytes:
    """Return the public key of a secret, in DER."""
    return DER_PREFIX + (G2Point() * _scalar(secret)).to_compressed_bytes()


def sign(secret: int, message: bytes) -> bytes:
    """Sign a message; 48 bytes, 0.5 ms."""
    hashed = G1Point.hash_to_curve(message, HASH_TO_CURVE_DOMAIN)
    return (hashed * _scalar(secret)).to_compressed_bytes()


def _scalar(secret: int) -> Scalar:
    return Scalar.from_be_bytes(secret.to_bytes(_SCALAR_BYTES))
