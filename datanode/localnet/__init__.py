"""The embedded network: runs real canister Wasm on this machine."""
