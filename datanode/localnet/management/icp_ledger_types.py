"""Candid types of the ICP ledger's and the cycles minting canister's methods of this network.

Sources: `ledger.did` and `cmc.did` of the Internet Computer, 2026.
"""

from typing import Final

from datanode.agent.candid import Blob, Nat, Nat64, Null, Opt, Record, Text, Variant

TOKENS: Final = Record({"e8s": Nat64})
BALANCE_OF: Final = Record({"account": Blob})

SEND: Final = Record(
    {
        "memo": Nat64,
        "amount": TOKENS,
        "fee": TOKENS,
        "from_subaccount": Opt(Blob),
        "to": Blob,
        "created_at_time": Opt(Record({"timestamp_nanos": Nat64})),
    }
)
SENT: Final = Variant(
    {
        "Ok": Nat64,
        "Err": Variant(
            {
                "BadFee": Record({"expected_fee": TOKENS}),
                "InsufficientFunds": Record({"balance": TOKENS}),
                "TxTooOld": Record({"allowed_window_nanos": Nat64}),
                "TxCreatedInFuture": Null,
                "TxDuplicate": Record({"duplicate_of": Nat64}),
            }
        ),
    }
)

RATE: Final = Record(
    {
        "data": Record({"xdr_permyriad_per_icp": Nat64, "timestamp_seconds": Nat64}),
        "hash_tree": Blob,
        "certificate": Blob,
    }
)
NOTIFY_MINT: Final = Record(
    {"block_index": Nat64, "to_subaccount": Opt(Blob), "deposit_memo": Opt(Blob)}
)
MINTED: Final = Variant(
    {
        "Ok": Record({"block_index": Nat, "minted": Nat, "balance": Nat}),
        "Err": Variant(
            {
                "Refunded": Record({"block_index": Opt(Nat64), "reason": Text}),
                "InvalidTransaction": Text,
                "Other": Record({"error_code": Nat64, "error_message": Text}),
                "Processing": Null,
                "TransactionTooOld": Nat64,
            }
        ),
    }
)
