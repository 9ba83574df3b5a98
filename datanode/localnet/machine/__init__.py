"""One canister's machine: its Wasm, metered, and its memories, message by message."""
