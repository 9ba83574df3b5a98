"""Subnet signatures: BLS on BLS12-381, signature in G1, key in G2, as the subnets make them.

Interface specification, "Certificate": the key is 96 bytes behind a fixed DER prefix, the
signature 48 bytes, both compressed. The one door to the pairing library on the reader's side.
"""

from typing import Final

from py_arkworks_bls12381 import GT, G1Point, G2Point

from datanode.errors import CertificateError

DER_PREFIX: Final = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
PUBLIC_KEY_BYTES: Final = 96
SIGNATURE_BYTES: Final = 48
HASH_TO_CURVE_DOMAIN: Final = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"

_COMPRESSED: Final = 0x80
_INFINITY: Final = 0x40
_MINUS_GENERATOR: Final = -G2Point()


def verify(public_key_der: bytes, signature: bytes, message: bytes) -> None:
    """Check a subnet's signature; 3 ms.

    Raises:
        CertificateError: The key or signature is malformed, the point at infinity or outside the
            prime-order group, or the signature is not one of this key over this message.
    """
    raw = public_key_der[len(DER_PREFIX) :]
    if not public_key_der.startswith(DER_PREFIX) or len(raw) != PUBLIC_KEY_BYTES:
        raise CertificateError("a subnet's key is not a BLS12-381 key in DER")
    if len(signature) != SIGNATURE_BYTES:
        raise CertificateError("a subnet's signature has another size than 48 bytes")
    for point in (raw, signature):
        # The library takes the point at infinity, with which everything verifies.
        if point[0] & (_COMPRESSED | _INFINITY) != _COMPRESSED:
            raise CertificateError("a key or signature is the point at infinity or not compressed")
    try:
        signed = G1Point.from_compressed_bytes(signature)
        key = G2Point.from_compressed_bytes(raw)
    except ValueError as error:
        raise CertificateError("a key or signature is not a point of its group") from error
    if signed.to_compressed_bytes() != signature or key.to_compressed_bytes() != raw:
        raise CertificateError("a key or signature is not in canonical form")
    hashed = G1Point.hash_to_curve(message, HASH_TO_CURVE_DOMAIN)
    if not GT.pairing_check([signed, hashed], [_MINUS_GENERATOR, key]):
        raise CertificateError("a subnet's signature does not belong to its key and state")
