"""The `model_*` methods of `canisters/inference/inference.did`; a test compares the two."""

from typing import Final

from datanode.agent.candid import (
    Blob,
    Bool,
    Float32,
    Nat32,
    Nat64,
    Null,
    Opt,
    Principal,
    Record,
    Text,
    Variant,
    Vec,
)
from datanode.node.candid_interface import ERROR, FRAME_REF, PUT_RESULT, CandidMethod

INTERFACE_VERSION: Final = 2
"""The newest `model_*` interface that this release speaks."""

_PART: Final = Record({"first_block": Nat32, "end_block": Nat32, "embed": Bool, "head": Bool})
_FLEET: Final = Record({"whole": Blob, "drivers": Vec(Principal), "blocks": Vec(Principal)})
_CONFIGURATION: Final = Record(
    {
        "model": Text,
        "version": Opt(Nat32),
        "mode": Variant({"fast": Null, "exact": Null}),
        "part": Opt(_PART),
        "fleet": Opt(_FLEET),
    }
)
_PLAN: Final = Record({"version": Nat32, "chunks": Nat32, "weights": Nat64, "heap_bytes": Nat64})
_LOAD_STEP: Final = Record(
    {"done": Bool, "chunks": Nat32, "of": Nat32, "weights": Nat64, "instructions": Nat64}
)
_PROMPT: Final = Record(
    {
        "prompt": Text,
        "add_special_tokens": Bool,
        "max_tokens": Nat32,
        "temperature": Opt(Float32),
        "seed": Opt(Nat64),
        "max_instructions": Opt(Nat64),
    }
)
_CONTINUE: Final = Record(
    {"conversation": Nat64, "max_tokens": Nat32, "max_instructions": Opt(Nat64)}
)
_HOPS: Final = Opt(Record({"count": Nat32, "bytes": Nat64}))
_GENERATED: Final = Record(
    {
        "conversation": Nat64,
        "text": Text,
        "tokens": Vec(Nat32),
        "prompt_tokens": Nat32,
        "positions": Nat32,
        "finished": Bool,
        "instructions": Nat64,
        "hops": _HOPS,
    }
)
_GENERATED_MANY: Final = Record(
    {
        "answers": Vec(Variant({"Ok": _GENERATED, "Err": ERROR})),
        "instructions": Nat64,
        "hops": _HOPS,
    }
)
_STATUS: Final = Record(
    {
        "interface_version": Nat32,
        "configuration": Opt(_CONFIGURATION),
        "loaded": Bool,
        "chunks": Nat32,
        "of": Nat32,
        "max_positions": Nat32,
        "conversations": Nat32,
        "cache_bytes": Nat64,
        "heap_bytes": Nat64,
    }
)

_PULL: Final = Record(
    {"source": Principal, "lease": Nat64, "wanted": FRAME_REF, "frames": Vec(Blob)}
)

METHODS: Final = {
    "model_configure": CandidMethod((_CONFIGURATION,), _PLAN),
    "model_load": CandidMethod((Record({"max_instructions": Nat64}),), _LOAD_STEP),
    "model_status": CandidMethod((), _STATUS, query=True),
    "model_tokenize": CandidMethod((Text,), Vec(Nat32), query=True),
    "model_start": CandidMethod((_PROMPT,), _GENERATED),
    "model_continue": CandidMethod((_CONTINUE,), _GENERATED),
    "model_generate_many": CandidMethod(
        (Vec(Variant({"start": _PROMPT, "continue": _CONTINUE})),), _GENERATED_MANY
    ),
    "model_ask": CandidMethod((_PROMPT,), _GENERATED, query=True),
    "model_logits": CandidMethod((Record({"tokens": Vec(Nat32)}),), Blob, query=True),
    "model_hop": CandidMethod((Blob,), Blob, fallible=False),
    "model_pull": CandidMethod((_PULL,), Vec(PUT_RESULT)),
    "model_end": CandidMethod((Nat64,), Null),
    "model_add_runner": CandidMethod((Principal,), Null),
    "model_remove_runner": CandidMethod((Principal,), Null),
    "model_runners": CandidMethod((), Vec(Principal), query=True),
}
