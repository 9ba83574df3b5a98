"""The ICP ledger and the cycles minting canister: transfers once, blocks converted once."""

from collections.abc import Mapping
from typing import Final

import pytest

from datanode.agent import candid
from datanode.agent.candid import Nat, Value
from datanode.agent.identity import Identity
from datanode.localnet.management import icp_ledger_types as interface_types
from datanode.localnet.management.account_book import START_CYCLES
from datanode.localnet.management.cycles_ledger import BLOCK_FEE_CYCLES
from datanode.localnet.management.cycles_ledger_types import ACCOUNT, TRANSFER, TRANSFERRED
from datanode.localnet.management.cycles_minting import CYCLES_PER_E8S, MEMO_MINT
from datanode.localnet.management.icp_book import (
    E8S_PER_ICP,
    START_E8S,
    account_identifier,
    is_identifier,
)
from datanode.localnet.management.icp_ledger import DRIFT_NS, FEE_E8S, WINDOW_NS
from datanode.localnet.state.topology import CYCLES_LEDGER, CYCLES_MINTING, ICP_LEDGER
from datanode.node.values import case
from datanode.principal import ANONYMOUS, Principal
from tests.fakes.gateway import Gateway, RejectedError

DEFAULT: Final = bytes(32)


def balance_e8s(net: Gateway, who: Identity) -> int:
    arg = candid.encode((ACCOUNT,), ({"owner": who.principal, "subaccount": None},))
    (found,) = candid.decode((Nat,), net.query(who, ICP_LEDGER, "icrc1_balance_of", arg))
    assert isinstance(found, int)
    return found


def cycles(net: Gateway, who: Identity) -> int:
    arg = candid.encode((ACCOUNT,), ({"owner": who.principal, "subaccount": None},))
    (found,) = candid.decode((Nat,), net.query(who, CYCLES_LEDGER, "icrc1_balance_of", arg))
    assert isinstance(found, int)
    return found


def send(net: Gateway, who: Identity, to: bytes, **changed: Value) -> tuple[str, Value]:
    fields: dict[str, Value] = {
        "memo": 0,
        "amount": {"e8s": E8S_PER_ICP},
        "fee": {"e8s": FEE_E8S},
        "to": to,
        **changed,
    }
    arg = candid.encode((interface_types.SEND,), (fields,))
    (found,) = candid.decode((interface_types.SENT,), net.call(who, ICP_LEDGER, "transfer", arg))
    return case(found)


def icrc1(net: Gateway, who: Identity, **fields: Value) -> tuple[str, Value]:
    arg = candid.encode((TRANSFER,), (fields,))
    (found,) = candid.decode((TRANSFERRED,), net.call(who, ICP_LEDGER, "icrc1_transfer", arg))
    return case(found)


def notify(net: Gateway, who: Identity, block: int, **fields: Value) -> tuple[str, Value]:
    arg = candid.encode((interface_types.NOTIFY_MINT,), ({"block_index": block, **fields},))
    (found,) = candid.decode(
        (interface_types.MINTED,), net.call(who, CYCLES_MINTING, "notify_mint_cycles", arg)
    )
    return case(found)


def error(answer: tuple[str, Value]) -> tuple[str, Value]:
    name, value = answer
    assert name == "Err"
    return case(value)


def deposit_account(who: Identity) -> bytes:
    raw = who.principal.raw
    return account_identifier(CYCLES_MINTING, (bytes([len(raw)]) + raw).ljust(32, b"\0"))


def test_account_identifier_matches_published_vector() -> None:
    expected = "1c7a48ba6a562aa9eaa2481a9049cdf0433b9738c992d698c31d8abf89cadc79"
    assert account_identifier(ANONYMOUS, DEFAULT).hex() == expected
    assert is_identifier(bytes.fromhex(expected))
    assert not is_identifier(bytes.fromhex("00" + expected[2:]))


def test_transfer_moves_amount_and_burns_fee(net: Gateway, alice: Identity, bob: Identity) -> None:
    to: Value = {"owner": bob.principal}
    assert icrc1(net, alice, to=to, amount=5 * E8S_PER_ICP) == ("Ok", 0)
    assert balance_e8s(net, alice) == START_E8S - 5 * E8S_PER_ICP - FEE_E8S
    assert balance_e8s(net, bob) == START_E8S + 5 * E8S_PER_ICP
    assert send(net, bob, account_identifier(alice.principal, DEFAULT)) == ("Ok", 1)
    assert balance_e8s(net, bob) == START_E8S + 4 * E8S_PER_ICP - FEE_E8S


def test_dated_transfer_is_executed_once(net: Gateway, alice: Identity, bob: Identity) -> None:
    now_ns = net.network.traffic.clock.now_ns()
    to: Value = {"owner": bob.principal}
    dated = {"to": to, "amount": 7, "created_at_time": now_ns}
    assert icrc1(net, alice, **dated) == ("Ok", 0)
    assert error(icrc1(net, alice, **dated)) == ("Duplicate", {"duplicate_of": 0})
    stamp: Value = {"timestamp_nanos": now_ns}
    receiver = account_identifier(bob.principal, DEFAULT)
    assert send(net, alice, receiver, created_at_time=stamp) == ("Ok", 1)
    again = send(net, alice, receiver, created_at_time=stamp)
    assert error(again) == ("TxDuplicate", {"duplicate_of": 1})
    assert balance_e8s(net, bob) == START_E8S + 7 + E8S_PER_ICP


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"fee": {"e8s": 1}}, "BadFee"),
        ({"amount": {"e8s": START_E8S}}, "InsufficientFunds"),
        ({"created_at_time": {"timestamp_nanos": 1}}, "TxTooOld"),
        ({"created_at_time": {"timestamp_nanos": 2**63}}, "TxCreatedInFuture"),
    ],
)
def test_refuses_transfer_in_ledger_words(
    net: Gateway, alice: Identity, bob: Identity, changed: Mapping[str, Value], name: str
) -> None:
    receiver = account_identifier(bob.principal, DEFAULT)
    assert error(send(net, alice, receiver, **changed))[0] == name
    assert balance_e8s(net, alice) == START_E8S


def test_window_covers_a_day_and_drift_a_minute() -> None:
    assert (WINDOW_NS, DRIFT_NS) == (86_400 * 10**9, 60 * 10**9)


@pytest.mark.parametrize("raw", [b"", bytes(31), b"\1" * 32])
def test_rejects_malformed_account_identifier(net: Gateway, alice: Identity, raw: bytes) -> None:
    with pytest.raises(RejectedError, match="account identifier"):
        send(net, alice, raw)


def test_mint_turns_a_payment_into_cycles_once(net: Gateway, alice: Identity) -> None:
    before = cycles(net, alice)
    name, block = send(net, alice, deposit_account(alice), memo=MEMO_MINT)
    assert (name, block) == ("Ok", 0)
    received = E8S_PER_ICP * CYCLES_PER_E8S - BLOCK_FEE_CYCLES
    answer = notify(net, alice, 0)
    assert answer == (
        "Ok",
        {
            "block_index": 0,
            "minted": E8S_PER_ICP * CYCLES_PER_E8S,
            "balance": START_CYCLES + received,
        },
    )
    assert notify(net, alice, 0) == answer
    assert cycles(net, alice) == before + received


def test_refuses_to_mint_from_other_blocks(net: Gateway, alice: Identity, bob: Identity) -> None:
    assert error(notify(net, alice, 0)) == ("InvalidTransaction", "Block 0 not found")
    send(net, alice, deposit_account(alice), memo=MEMO_MINT)
    assert "not the one of the caller" in str(error(notify(net, bob, 0))[1])
    send(net, alice, deposit_account(alice), memo=7)
    assert "not minting" in str(error(notify(net, alice, 1))[1])
    send(net, alice, deposit_account(alice), memo=MEMO_MINT, amount={"e8s": 1})
    assert "fewer cycles" in str(error(notify(net, alice, 2))[1])


def test_rate_is_cycles_an_e8s(net: Gateway, alice: Identity) -> None:
    reply = net.query(alice, CYCLES_MINTING, "get_icp_xdr_conversion_rate", candid.encode((), ()))
    (found,) = candid.decode((interface_types.RATE,), reply)
    assert isinstance(found, Mapping)
    data = found["data"]
    assert isinstance(data, Mapping)
    assert data["xdr_permyriad_per_icp"] == CYCLES_PER_E8S


def test_ledgers_stand_at_their_mainnet_ids() -> None:
    assert Principal.parse("ryjl3-tyaaa-aaaaa-aaaba-cai") == ICP_LEDGER
    assert Principal.parse("rkp4c-7iaaa-aaaaa-aaaca-cai") == CYCLES_MINTING
