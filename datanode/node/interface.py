"""`canisters/storage/storage.did` in Python; a test compares the two.

`METHODS` says for each method what it takes and what it gives when it succeeds; how it fails is
the same for all (`ERROR`, mapped in `refusals.py`).
"""

from dataclasses import dataclass
from typing import Final

from datanode.agent.candid import (
    Blob,
    Bool,
    Nat,
    Nat8,
    Nat32,
    Nat64,
    Null,
    Opt,
    Principal,
    Record,
    Text,
    Type,
    Variant,
    Vec,
)

INTERFACE_VERSION: Final = 1
"""The newest interface that this release speaks."""

ERROR: Final = Variant(
    {
        "unauthorized": Null,
        "not_found": Text,
        "too_large": Record({"limit": Nat64, "got": Nat64}),
        "quota": Record({"limit_bytes": Nat64, "used_bytes": Nat64}),
        "incomplete": Record({"missing": Vec(Blob), "missing_total": Nat32}),
        "lease_held": Record({"holder": Principal, "expires_ns": Nat64}),
        "lease_lost": Null,
        "out_of_memory": Record({"asked_bytes": Nat64}),
        "low_cycles": Record({"balance": Nat, "needed": Nat}),
        "conflict": Text,
        "bad_manifest": Text,
        "bad_request": Text,
    }
)
LEASE: Final = Record(
    {
        "id": Nat64,
        "model": Text,
        "holder": Principal,
        "expires_ns": Nat64,
        "frames": Nat32,
        "frame_bytes": Nat64,
    }
)
PUT_RESULT: Final = Variant({"stored": Null, "already_stored": Null, "bad": Text, "no_room": Null})
HELD: Final = Record(
    {
        "content": Blob,
        "frame": Blob,
        "bytes": Nat32,
        "raw_bytes": Nat32,
        "codec": Nat8,
        "element": Nat8,
    }
)
SEAL: Final = Record(
    {"model": Text, "manifest": Blob, "placement": Blob, "expected_version": Opt(Nat32)}
)
SEAL_STEP: Final = Variant({"done": Nat32, "next": Blob})
FRAME_REF: Final = Record({"model": Text, "manifest": Blob, "chunks": Vec(Nat32)})
FRAME_ANSWER: Final = Variant(
    {"frame": Blob, "elsewhere": Null, "did_not_fit": Null, "missing": Null}
)
MANIFEST_PART: Final = Variant(
    {"head": Null, "chunk_page": Nat32, "tensor_page": Nat32, "placement": Null}
)
VISIBILITY: Final = Variant({"public": Null, "private_": Null})
VERSION: Final = Record(
    {
        "version": Nat32,
        "manifest": Blob,
        "placement": Blob,
        "chunks": Nat32,
        "frame_bytes": Nat64,
        "raw_bytes": Nat64,
        "sealed_ns": Nat64,
        "sealed_by": Principal,
    }
)
MODEL: Final = Record(
    {
        "name": Text,
        "owner": Principal,
        "visibility": VISIBILITY,
        "latest": Nat32,
        "versions": Vec(VERSION),
    }
)
TENSOR: Final = Record({"name": Text, "dtype": Text, "shape": Vec(Nat64)})
WITNESS: Final = Record(
    {
        "certificate": Opt(Blob),
        "witness": Blob,
        "version": Nat32,
        "manifest": Blob,
        "placement": Blob,
    }
)
ROLE: Final = Variant({"uploader": Null, "reader": Null})
GRANT: Final = Record(
    {
        "to": Principal,
        "role": ROLE,
        "model": Opt(Text),
        "expires_ns": Opt(Nat64),
        "quota_bytes": Opt(Nat64),
    }
)
SETTINGS: Final = Record({"blinding_seed": Blob})
STATUS_DETAILS: Final = Record(
    {
        "cycles": Nat,
        "burn_per_day": Nat,
        "freezing_days": Nat32,
        "stable_bytes": Nat64,
        "frames": Nat64,
        "frame_bytes": Nat64,
        "damaged_frames": Nat64,
        "free_bytes": Nat64,
        "models": Nat32,
        "leases": Nat32,
        "task": Opt(Text),
    }
)
STATUS: Final = Record(
    {"interface_version": Nat32, "store_version": Nat32, "details": Opt(STATUS_DETAILS)}
)
_SCRUBBED: Final = Record({"next": Opt(Blob), "checked": Nat32, "corrupt": Vec(Blob)})
_COLLECTED: Final = Record({"next": Opt(Blob), "freed_frames": Nat32, "freed_bytes": Nat64})


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the interface.

    Attributes:
        arguments: Types of its arguments.
        ok: Type of what it gives; for all but `status` inside `variant { Ok; Err }`.
        query: May be answered by one node, uncertified.
        fallible: Wraps its answer in that variant.
    """

    arguments: tuple[Type, ...]
    ok: Type
    query: bool = False
    fallible: bool = True

    @property
    def reply(self) -> Type:
        """The type of the whole reply."""
        return Variant({"Ok": self.ok, "Err": ERROR}) if self.fallible else self.ok


METHODS: Final = {
    "begin_upload": Method(
        (Record({"model": Text, "frames": Nat32, "frame_bytes": Nat64, "takeover": Bool}),), LEASE
    ),
    "renew_upload": Method((Nat64,), LEASE),
    "end_upload": Method((Nat64,), Null),
    "put_frames": Method((Nat64, Vec(Blob)), Vec(PUT_RESULT)),
    "pin_frames": Method((Nat64, Vec(Blob)), Blob),
    "lease_frames": Method(
        (Nat64, Blob), Record({"frames": Vec(HELD), "next": Opt(Blob)}), query=True
    ),
    "missing_frames": Method((Nat64, Vec(Blob)), Blob, query=True),
    "seal_model": Method((Nat64, SEAL, Blob), SEAL_STEP),
    "get_frames": Method((FRAME_REF,), Vec(FRAME_ANSWER), query=True),
    "get_manifest": Method(
        (Record({"model": Text, "manifest": Blob, "part": MANIFEST_PART}),), Blob, query=True
    ),
    "models": Method((Opt(Text),), Record({"models": Vec(MODEL), "next": Opt(Text)}), query=True),
    "model": Method((Text,), MODEL, query=True),
    "tensor_list": Method(
        (Text, Opt(Nat32), Blob),
        Record({"tensors": Vec(TENSOR), "next": Opt(Blob)}),
        query=True,
    ),
    "witness": Method((Record({"model": Text, "version": Opt(Nat32)}),), WITNESS, query=True),
    "scrub": Method((Blob, Nat64), _SCRUBBED),
    "delete_model": Method((Text, Opt(Nat32), Blob), Record({"next": Opt(Blob)})),
    "collect_garbage": Method((Record({"force": Bool}), Blob), _COLLECTED),
    "grant": Method((GRANT,), Null),
    "revoke": Method((Record({"to": Principal, "role": ROLE, "model": Opt(Text)}),), Null),
    "grants": Method((Opt(Text),), Vec(GRANT), query=True),
    "transfer_model": Method((Record({"model": Text, "to": Principal}),), Null),
    "set_visibility": Method((Record({"model": Text, "visibility": VISIBILITY}),), Null),
    "status": Method((), STATUS, query=True, fallible=False),
}
