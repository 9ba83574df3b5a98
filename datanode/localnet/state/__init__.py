"""What the network is and keeps: keys, time, canisters, answers, the ledger."""
