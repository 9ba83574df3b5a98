"""Descriptions of the items of a bill."""

from typing import Final

ITEMS: Final = {
    "ingress": "the message and the bytes of its envelope",
    "execution": "executing it, whatever it does",
    "instructions": "the instructions that it executed",
    "storage": "memory held since the canister last paid rent",
    "base": "existing since the canister last paid rent",
    "compute": "computing power set aside since the canister last paid rent",
    "reserve": "set aside for storage by growing; negative where it pays rent",
    "creation": "creating the canister",
    "deposit": "cycles that were added",
    "log_fetch": "the log of a canister that another one fetched",
    "call": "a call to another canister and its bytes",
    "call_reserve": "set aside for the response and its callback; negative when it is there",
    "call_response": "the bytes of the response",
    "sent": "cycles that went along with calls",
    "accepted": "cycles of a call that were taken",
    "refunded": "cycles of a call that came back",
    "drained": "taken by a fault on cue",
    "burnt": "what was left when it was deleted or uninstalled, and what it burnt",
}
