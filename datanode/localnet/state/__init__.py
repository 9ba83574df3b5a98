"""State of the network: keys, time, canisters, answers, the ledger."""
