"""The interface in Python is the interface in `storage.did`."""

from pathlib import Path

import pytest

from datanode.agent.candid import Value, encode
from datanode.errors import (
    ConflictError,
    CyclesError,
    FormatError,
    IncompleteSealError,
    LeaseHeldError,
    LeaseLostError,
    NodeFullError,
    NodeRejectedError,
    NotFoundError,
    QuotaError,
    UnauthorizedError,
)
from datanode.node import candid_interface
from datanode.node.candid_interface import ERROR, METHODS
from datanode.node.error_mapping import open_reply, refusal
from datanode.principal import Principal
from tests.fakes.did import Did

DID = Did(Path("canisters/storage/storage.did").read_text(encoding="utf-8"))
ERRORS: dict[str, tuple[Value, type[Exception]]] = {
    "unauthorized": (None, UnauthorizedError),
    "not_found": ("llama", NotFoundError),
    "too_large": ({"limit": 1, "got": 2}, NodeRejectedError),
    "quota": ({"limit_bytes": 1, "used_bytes": 2}, QuotaError),
    "incomplete": ({"missing": [bytes(32)], "missing_total": 7}, IncompleteSealError),
    "lease_held": (
        {"holder": Principal(b"\x04"), "expires_ns": 1_800_000_000 * 10**9},
        LeaseHeldError,
    ),
    "lease_lost": (None, LeaseLostError),
    "out_of_memory": ({"asked_bytes": 1}, NodeFullError),
    "low_cycles": ({"balance": 1, "needed": 2}, CyclesError),
    "conflict": ("version", ConflictError),
    "bad_manifest": ("head", FormatError),
    "bad_request": ("cursor", NodeRejectedError),
}

EXPORTED = Did(Path("canisters/storage/golden/exported.did").read_text(encoding="utf-8"))
"""What the canister's code exports; `cargo test` holds that."""


def test_the_canister_exports_what_the_interface_says() -> None:
    assert len(DID.methods) == 26
    assert (EXPORTED.methods, EXPORTED.init) == (DID.methods, DID.init)


def test_the_methods_are_those_of_the_interface() -> None:
    assert set(METHODS) == set(DID.methods)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_takes_and_gives_what_the_interface_says(name: str) -> None:
    arguments, results, query = DID.methods[name]
    method = METHODS[name]
    assert (method.arguments, (method.reply,), method.query) == (arguments, results, query)


def test_the_canister_is_installed_with_the_settings_of_the_interface() -> None:
    assert DID.init == (candid_interface.SETTINGS,)


def test_every_refusal_of_the_interface_is_an_error_of_ours() -> None:
    assert set(ERRORS) == {name for _, name, _ in ERROR.fields}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_a_refusal_is_raised_as_its_error(name: str) -> None:
    details, kind = ERRORS[name]
    method = METHODS["renew_upload"]
    reply = encode((method.reply,), (("Err", (name, details)),))
    with pytest.raises(kind) as caught:
        open_reply(method, reply)
    assert type(caught.value) is kind
    assert str(caught.value) == str(refusal((name, details)))


def test_a_seal_that_lacks_frames_names_them() -> None:
    details: Value = {"missing": [bytes(32)], "missing_total": 7}
    error = refusal(("incomplete", details))
    assert isinstance(error, IncompleteSealError)
    assert (error.missing, error.missing_count) == ((bytes(32),), 7)


def test_who_holds_a_lease_is_told_with_the_time() -> None:
    error = refusal(("lease_held", ERRORS["lease_held"][0]))
    assert "2vxsx-fae" in str(error)
    assert "2027-01-15 08:00:00 UTC" in str(error)
    unnamed = refusal(("lease_held", {"holder": None, "expires_ns": 1_800_000_000 * 10**9}))
    assert "another identity is uploading" in str(unnamed)


def test_balance_is_told_to_those_who_get_it() -> None:
    told = str(refusal(("low_cycles", {"balance": 10**12, "needed": 2 * 10**12})))
    assert "needs 2.0000 TC and has 1.0000 TC above its freezing reserve" in told
    assert "needs 2.0000 TC above" in str(
        refusal(("low_cycles", {"balance": None, "needed": 2 * 10**12}))
    )
