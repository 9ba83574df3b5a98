"""The embedded network: runs real canister Wasm on this machine, answers and bills like the IC.

A message takes this way::

    server -> interface -> ingress -> update | management | built_in -> effect
    (HTTP)    (envelope)   (once)     (machine, bill)                   (one transaction)

and a message between canisters this one::

    turn -> queue -> scheduler -> delivery -> request | response | management -> effect

| files | idea |
| --- | --- |
| `process`, `serving`, `folder` | its process: start, find, stop, kill |
| `api`, `handle`, `fixtures`, `wasm_file` | for programs, for tests, for pytest; see `README.md` |
| `server`, `http`, `guard`, `admin` | HTTP: routes, who may take them, what is beside them |
| `page/` | what a browser shows: canisters, bills, prices |
| `interface`, `reading`, `queries` | envelopes checked, paths allowed, queries signed |
| `ingress`, `message`, `requests` | a message is executed at most once, its answer is kept |
| `request`, `response`, `task`, `turn`, `answers` | calls between canisters, timers, hooks |
| `queue`, `open_calls`, `stops`, `stopping`, `uninstalling` | what of them is not finished |
| `delivery`, `scheduler`, `timers`, `call_graph`, `twins` | who executes them; composite queries |
| `update`, `effect`, `bill`, `ledger` | executed, billed, committed together |
| `subnet`, `growth`, `allocation` | what kind of subnet bills; what holding more memory takes |
| `canister_time`, `rent`, `housekeeping` | time passes, and is paid for |
| `history`, `info`, `views`, `query_stats` | what others may learn of a canister |
| `management*`, `lifecycle`, `installation`, `settings`, `status`, `chunk_store` | `aaaaa-aa` |
| `built_in`, `cycles_ledger`, `account_book` | canisters that clients expect at their mainnet ids |
| `topology`, `certificates`, `state_tree`, `bls`, `clock` | keys, subnets, what is certified |
| `fault*`, `delivery`, `blocks`, `lies`, `damage`, `level`, `marks`, `copies` | faults on cue |
| `network`, `database`, `canister`, `canisters` | the state: in SQLite, and a machine each |
| `machine`, `execution`, `instance`, `running`, ... | one canister's Wasm, heap, stable memory |
| `engine`, `instrument`, `prices`, `ic0`, ... | Wasm compiled, metered, linked |
"""
