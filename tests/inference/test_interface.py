"""The `model_*` interface is the same in `inference.did`, in the canister's code and in Python."""

from pathlib import Path

import pytest

from datanode.inference.interface import METHODS
from tests.fakes.did import Did

DID = Did(Path("canisters/inference/inference.did").read_text(encoding="utf-8"))
STORAGE = Did(Path("canisters/storage/storage.did").read_text(encoding="utf-8"))
EXPORTED = Did(Path("canisters/inference/golden/exported.did").read_text(encoding="utf-8"))
"""What the canister's code exports; `cargo test` holds that."""
HTTP = "http_request"
"""A gateway's, not the client's."""


def test_inference_canister_has_all_methods_of_a_storage_canister() -> None:
    own = {name for name in DID.methods if name.startswith("model_")}
    assert DID.methods.keys() - own - {HTTP} == STORAGE.methods.keys()
    assert {name: DID.methods[name] for name in STORAGE.methods} == STORAGE.methods
    assert DID.init == STORAGE.init


def test_canister_exports_what_the_interface_says() -> None:
    own = {name: method for name, method in DID.methods.items() if name.startswith("model_")}
    assert own.keys() == METHODS.keys()
    assert EXPORTED.methods == {**own, HTTP: DID.methods[HTTP]}
    assert EXPORTED.init == DID.init


@pytest.mark.parametrize("name", sorted(METHODS))
def test_python_types_match_the_interface(name: str) -> None:
    arguments, results, query = DID.methods[name]
    method = METHODS[name]
    assert (method.arguments, (method.reply,), method.query) == (arguments, results, query)
