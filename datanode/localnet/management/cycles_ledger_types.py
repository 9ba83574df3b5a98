"""Candid types of the cycles ledger's methods that the embedded network has.

Source: `cycles-ledger.did` of the cycles ledger, 2026.
"""

from typing import Final

from datanode.agent.candid import (
    Blob,
    Nat,
    Nat64,
    Null,
    Opt,
    Principal,
    Record,
    Text,
    Type,
    Variant,
)
from datanode.localnet.management.interface_types import SETTINGS

ACCOUNT: Final = Record({"owner": Principal, "subaccount": Opt(Blob)})

_SUBNET: Final = Variant(
    {
        "Subnet": Record({"subnet": Principal}),
        "Filter": Record({"subnet_type": Opt(Text)}),
    }
)
CREATE: Final = Record(
    {
        "amount": Nat,
        "from_subaccount": Opt(Blob),
        "created_at_time": Opt(Nat64),
        "creation_args": Opt(Record({"settings": Opt(SETTINGS), "subnet_selection": Opt(_SUBNET)})),
    }
)
WITHDRAW: Final = Record(
    {
        "amount": Nat,
        "from_subaccount": Opt(Blob),
        "to": Principal,
        "created_at_time": Opt(Nat64),
    }
)
TRANSFER: Final = Record(
    {
        "from_subaccount": Opt(Blob),
        "to": ACCOUNT,
        "amount": Nat,
        "fee": Opt(Nat),
        "memo": Opt(Blob),
        "created_at_time": Opt(Nat64),
    }
)

DEPOSIT: Final = Record({"to": ACCOUNT, "memo": Opt(Blob)})
DEPOSITED: Final = Record({"block_index": Nat, "balance": Nat})

_FAILURES: Final[dict[str, Type]] = {
    "InsufficientFunds": Record({"balance": Nat}),
    "TooOld": Null,
    "CreatedInFuture": Record({"ledger_time": Nat64}),
    "TemporarilyUnavailable": Null,
    "GenericError": Record({"message": Text, "error_code": Nat}),
}
_DUPLICATE: Final = Record({"duplicate_of": Nat})
_REJECTION: Final = Variant(
    {
        "NoError": Null,
        "CanisterError": Null,
        "SysTransient": Null,
        "DestinationInvalid": Null,
        "Unknown": Null,
        "SysFatal": Null,
        "CanisterReject": Null,
    }
)
CREATED: Final = Variant(
    {
        "Ok": Record({"block_id": Nat, "canister_id": Principal}),
        "Err": Variant(
            {
                **_FAILURES,
                "Duplicate": Record({"duplicate_of": Nat, "canister_id": Opt(Principal)}),
                "FailedToCreate": Record(
                    {"fee_block": Opt(Nat), "refund_block": Opt(Nat), "error": Text}
                ),
            }
        ),
    }
)
WITHDRAWN: Final = Variant(
    {
        "Ok": Nat,
        "Err": Variant(
            {
                **_FAILURES,
                "Duplicate": _DUPLICATE,
                "BadFee": Record({"expected_fee": Nat}),
                "InvalidReceiver": Record({"receiver": Principal}),
                "FailedToWithdraw": Record(
                    {
                        "fee_block": Opt(Nat),
                        "rejection_code": _REJECTION,
                        "rejection_reason": Text,
                    }
                ),
            }
        ),
    }
)
TRANSFERRED: Final = Variant(
    {
        "Ok": Nat,
        "Err": Variant(
            {
                **_FAILURES,
                "Duplicate": _DUPLICATE,
                "BadFee": Record({"expected_fee": Nat}),
                "BadBurn": Record({"min_burn_amount": Nat}),
            }
        ),
    }
)
