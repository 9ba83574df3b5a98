"""The management canister and the canisters that are built in."""
