"""Messages run in a canister, billed and committed."""
