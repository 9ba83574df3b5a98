// Drives the embedded network with the JS agent, unmodified, verification on.
// usage: node js_agent.mjs URL SUBNET COUNTER_WASM ; prints one JSON object of what it saw.
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { Actor, CanisterStatus, HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Secp256k1KeyIdentity } from "@icp-sdk/core/identity/secp256k1";
import { Principal } from "@icp-sdk/core/principal";

const [url, subnet, wasmPath] = process.argv.slice(2);
const wasm = readFileSync(wasmPath);
const saw = {};
const refusal = (error) => `${error.code.isCertified ? "certified" : "uncertified"} ${error.code.rejectErrorCode}: ${error.code.rejectMessage}`;
const MANAGEMENT = Principal.fromText("aaaaa-aa");

const settings = IDL.Record({ controllers: IDL.Opt(IDL.Vec(IDL.Principal)), freezing_threshold: IDL.Opt(IDL.Nat) });
const management = ({ IDL }) => IDL.Service({
  provisional_create_canister_with_cycles: IDL.Func(
    [IDL.Record({ amount: IDL.Opt(IDL.Nat), settings: IDL.Opt(settings) })], [IDL.Record({ canister_id: IDL.Principal })], []),
  install_code: IDL.Func([IDL.Record({
    mode: IDL.Variant({ install: IDL.Null, reinstall: IDL.Null, upgrade: IDL.Null }),
    canister_id: IDL.Principal, wasm_module: IDL.Vec(IDL.Nat8), arg: IDL.Vec(IDL.Nat8) })], [], []),
  update_settings: IDL.Func([IDL.Record({ canister_id: IDL.Principal, settings })], [], []),
  stop_canister: IDL.Func([IDL.Record({ canister_id: IDL.Principal })], [], []),
  start_canister: IDL.Func([IDL.Record({ canister_id: IDL.Principal })], [], []),
  delete_canister: IDL.Func([IDL.Record({ canister_id: IDL.Principal })], [], []),
  create_canister: IDL.Func([IDL.Record({ settings: IDL.Opt(settings) })], [IDL.Record({ canister_id: IDL.Principal })], []),
  canister_status: IDL.Func([IDL.Record({ canister_id: IDL.Principal })], [IDL.Record({
    status: IDL.Variant({ running: IDL.Null, stopping: IDL.Null, stopped: IDL.Null }),
    module_hash: IDL.Opt(IDL.Vec(IDL.Nat8)), cycles: IDL.Nat, memory_size: IDL.Nat,
    idle_cycles_burned_per_day: IDL.Nat,
    settings: IDL.Record({ controllers: IDL.Vec(IDL.Principal), freezing_threshold: IDL.Nat }) })], []),
});
const counter = ({ IDL }) => IDL.Service({
  get: IDL.Func([], [IDL.Nat64], ["query"]),
  add: IDL.Func([IDL.Nat64], [IDL.Nat64], []),
  crash: IDL.Func([], [], []),
});

async function drive(name, identity, creationTarget) {
  const agent = await HttpAgent.create({
    host: url, identity, shouldFetchRootKey: true, verifyQuerySignatures: true, retryTimes: 0,
  });
  const call = (_method, args) => (args[0]?.canister_id ? { effectiveCanisterId: args[0].canister_id } : creationTarget);
  const ic = Actor.createActor(management, { agent, canisterId: MANAGEMENT, callTransform: call, queryTransform: call });
  const { canister_id } = await ic.provisional_create_canister_with_cycles({ amount: [5_000_000_000_000n], settings: [] });
  await ic.install_code({ mode: { install: null }, canister_id, wasm_module: wasm, arg: new Uint8Array() });
  const actor = Actor.createActor(counter, { agent, canisterId: canister_id });
  const added = await actor.add(7n);
  const got = await actor.get();
  const trap = await actor.crash().then(() => "no trap", refusal);
  const after = await actor.get();
  const status = await ic.canister_status({ canister_id });
  const paths = ["time", "module_hash", "controllers", "subnet", "candid"];
  const read = await CanisterStatus.request({ agent, canisterId: canister_id, paths });
  await ic.stop_canister({ canister_id });
  const stopped = await actor.add(1n).then(() => "ran", refusal);
  await ic.start_canister({ canister_id });
  await ic.install_code({ mode: { upgrade: null }, canister_id, wasm_module: wasm, arg: new Uint8Array() });
  const upgraded = await actor.get();
  await ic.update_settings({ canister_id, settings: { controllers: [], freezing_threshold: [86_400n] } });
  const changed = (await ic.canister_status({ canister_id })).settings.freezing_threshold;
  const creation = await ic.create_canister({ settings: [] }).then(() => "created", refusal);
  await ic.stop_canister({ canister_id });
  await ic.delete_canister({ canister_id });
  const gone = await actor.get().then(() => "there", refusal);
  saw[name] = {
    canister: canister_id.toText(), added: String(added), got: String(got), trap, after: String(after),
    status: Object.keys(status.status)[0], module_hash: Buffer.from(status.module_hash[0]).toString("hex"),
    expected_hash: createHash("sha256").update(wasm).digest("hex"), cycles: String(status.cycles),
    idle: String(status.idle_cycles_burned_per_day), controllers: status.settings.controllers.map(String),
    me: identity.getPrincipal().toText(), read_hash: read.get("module_hash"),
    read_controllers: read.get("controllers").map(String), candid: read.get("candid"),
    subnet_nodes: [...read.get("subnet").nodeKeys.keys()].length, subnet: read.get("subnet").subnetId,
    stopped, upgraded: String(upgraded), changed: String(changed), creation, gone,
  };
}

await drive("ed25519", Ed25519KeyIdentity.generate(), { effectiveCanisterId: Principal.fromText("rwlgt-iiaaa-aaaaa-aaaaa-cai") });
await drive("secp256k1", Secp256k1KeyIdentity.generate(), { effectiveTarget: { subnetId: Principal.fromText(subnet) } });
console.log(JSON.stringify(saw));
