"""The embedded network: runs real canister Wasm on this machine, answers and bills like the IC.

A message takes this way::

    server -> interface -> ingress -> update | management | built_in -> effect
    (HTTP)    (envelope)   (once)     (machine, bill)                   (one transaction)

and a message between canisters this one::

    turn -> queue -> scheduler -> delivery -> request | response | management -> effect

| package or file | what it holds |
| --- | --- |
| `api`, `handle`, `fixtures`, `faults` | for programs, for tests, for pytest; see `README.md` |
| `process`, `serving`, `extra` | its process: start, find, stop; the optional dependencies |
| `gateway` | HTTP: the IC's interface, websites of canisters, administration, the page |
| `replica` | processing of admitted calls and queries: scheduling, timers, rent, injected damage |
| `management` | `aaaaa-aa`, and the canisters that clients expect at their mainnet ids |
| `execution` | one message run in its canister, billed and committed |
| `state` | keys, time, canisters, queues, answers and the ledger, in SQLite |
| `machine` | one canister's metered Wasm, heap and stable memory |

Each package imports only those below it.
"""
