"""A principal: up to 29 bytes that name a user, a canister or a subnet.

Text form (IC interface specification): base32 without padding of CRC-32 (big-endian) followed by
the bytes, in lower case, in groups of five joined by dashes.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final, Self

from datanode.errors import FormatError

MAX_PRINCIPAL_BYTES: Final = 29
_GROUP: Final = 5
_SELF_AUTHENTICATING: Final = b"\x02"


@dataclass(frozen=True, slots=True, order=True)
class Principal:
    """The bytes of a principal; valid from construction on.

    Attributes:
        raw: At most 29 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) > MAX_PRINCIPAL_BYTES:
            raise FormatError(f"a principal has at most 29 bytes, got {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form, checking its checksum and grouping.

        Raises:
            FormatError: The text is not the canonical form of a principal.
        """
        letters = text.replace("-", "").upper()
        try:
            data = base64.b32decode(letters + "=" * (-len(letters) % 8))
        except (binascii.Error, ValueError):
            raise FormatError(f"not a principal: {text[:80]!r}") from None
        principal = cls(data[4:])
        if principal.text != text:
            raise FormatError(f"not a principal: {text[:80]!r}")
        return principal

    @classmethod
    def self_authenticating(cls, der_public_key: bytes) -> Self:
        """Derive the principal of a public key in DER form."""
        return cls(hashlib.sha224(der_public_key).digest() + _SELF_AUTHENTICATING)

    @property
    def text(self) -> str:
        """The canonical text form, e.g. `aaaaa-aa`."""
        data = binascii.crc32(self.raw).to_bytes(4, "big") + self.raw
        letters = base64.b32encode(data).decode().rstrip("=").lower()
        return "-".join(letters[i : i + _GROUP] for i in range(0, len(letters), _GROUP))

    def __str__(self) -> str:
        return self.text


ANONYMOUS: Final = Principal(b"\x04")
MANAGEMENT_CANISTER: Final = Principal(b"")
