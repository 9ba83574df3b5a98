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

INTERFACE_VERSION: Final = 2
"""The newest interface that this release speaks."""

ERROR: Final = Variant(
    {
        "unauthorized": Null,
        "not_found": Text,
        "too_large": Record({"limit": Nat64, "got": Nat64}),
        "quota": Record({"limit_bytes": Nat64, "used_bytes": Nat64}),
        "incomplete": Record({"missing": Vec(Blob), "missing_total": Nat32}),
        "lease_held": Record({"holder": Opt(Principal), "expires_ns": Nat64}),
        "lease_lost": Null,
        "out_of_memory": Record({"asked_bytes": Nat64}),
        "low_cycles": Record({"balance": Opt(Nat), "needed": Nat}),
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
_SCRUBBED: Final = Record(
    {"next": Opt(Blob), "checked": Vec(Blob), "corrupt": Vec(Blob), "restored": Vec(Blob)}
)
_COLLECTED: Final = Record({"next": Opt(Blob), "freed_frames": Nat32, "freed_bytes": Nat64})


@dataclass(frozen=True, slots=True)
class CandidMethod:
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
    "begin_upload": CandidMethod(
        (Record({"model": Text, "frames": Nat32, "frame_bytes": Nat64, "takeover": Bool}),), LEASE
    ),
    "renew_upload": CandidMethod((Nat64,), LEASE),
    "end_upload": CandidMethod((Nat64,), Null),
    "leases": CandidMethod(
        (Opt(Nat64),), Record({"leases": Vec(LEASE), "next": Opt(Nat64)}), query=True
    ),
    "end_lease": CandidMethod((Nat64,), Null),
    "put_frames": CandidMethod((Nat64, Vec(Blob)), Vec(PUT_RESULT)),
    "pin_frames": CandidMethod((Nat64, Vec(Blob)), Blob),
    "lease_frames": CandidMethod(
        (Nat64, Blob), Record({"frames": Vec(HELD), "next": Opt(Blob)}), query=True
    ),
    "missing_frames": CandidMethod((Nat64, Vec(Blob)), Blob, query=True),
    "find_contents": CandidMethod((Vec(Blob),), Vec(Opt(HELD)), query=True),
    "seal_model": CandidMethod((Nat64, SEAL, Blob), SEAL_STEP),
    "get_frames": CandidMethod((FRAME_REF,), Vec(FRAME_ANSWER), query=True),
    "get_manifest": CandidMethod(
        (Record({"model": Text, "manifest": Blob, "part": MANIFEST_PART}),), Blob, query=True
    ),
    "models": CandidMethod(
        (Opt(Text),), Record({"models": Vec(MODEL), "next": Opt(Text)}), query=True
    ),
    "model": CandidMethod((Text,), MODEL, query=True),
    "tensor_list": CandidMethod(
        (Text, Opt(Nat32), Blob),
        Record({"tensors": Vec(TENSOR), "next": Opt(Blob)}),
        query=True,
    ),
    "witness": CandidMethod((Record({"model": Text, "version": Opt(Nat32)}),), WITNESS, query=True),
    "scrub": CandidMethod((Blob, Nat64), _SCRUBBED),
    "delete_model": CandidMethod((Text, Opt(Nat32), Blob), Record({"next": Opt(Blob)})),
    "collect_garbage": CandidMethod((Record({"force": Bool}), Blob), _COLLECTED),
    "grant": CandidMethod((GRANT,), Null),
    "revoke": CandidMethod((Record({"to": Principal, "role": ROLE, "model": Opt(Text)}),), Null),
    "grants": CandidMethod((Opt(Text),), Vec(GRANT), query=True),
    "transfer_model": CandidMethod((Record({"model": Text, "to": Principal}),), Null),
    "set_visibility": CandidMethod((Record({"model": Text, "visibility": VISIBILITY}),), Null),
    "status": CandidMethod((), STATUS, query=True, fallible=False),
}

SCRUB_1: Final = CandidMethod(
    (Blob, Nat64), Record({"next": Opt(Blob), "checked": Nat32, "corrupt": Vec(Blob)})
)
"""`scrub` of interface version 1: how many frames were checked, and which are damaged."""
