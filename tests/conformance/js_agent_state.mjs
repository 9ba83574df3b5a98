// The JS agent with a pinned root key: call then poll, state trees, delegations, hostile answers.
// usage: node js_agent_state.mjs URL ROOT_KEY_HEX SUBNET COUNTER ; prints one JSON object of what it saw.
import { Actor, HttpAgent, KnownPath, LookupPathStatus, StatePaths, lookup_path, pollForResponse } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { DelegationChain, DelegationIdentity, Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Principal } from "@icp-sdk/core/principal";

const [host, rootKeyHex, subnetText, counterText] = process.argv.slice(2);
const rootKey = Uint8Array.from(Buffer.from(rootKeyHex, "hex"));
const subnetId = Principal.fromText(subnetText);
const canisterId = Principal.fromText(counterText);
const agentOf = (identity, more = {}) =>
  HttpAgent.create({ host, identity, rootKey, verifyQuerySignatures: true, retryTimes: 0, ...more });
const said = (work) => work.then(() => "believed", (error) => error.code.name);

const owner = Ed25519KeyIdentity.generate();
const agent = await agentOf(owner);
const nat64 = (number) => IDL.encode([IDL.Nat64], [number]);
const read = (bytes) => String(IDL.decode([IDL.Nat64], bytes)[0]);
const saw = {};

// Version 2 of the interface: accepted, then polled for.
const sent = await agent.call(canisterId, { methodName: "add", arg: nat64(4n), callSync: false });
saw.accepted = sent.response.status;
saw.polled = read((await pollForResponse(agent, { canisterId }, sent.requestId)).reply);
// Version 4: the certificate comes with the answer.
const synced = await agent.call(canisterId, { methodName: "add", arg: nat64(5n) });
saw.synced = [synced.response.status, typeof synced.response.body?.certificate];
const updated = await agent.update(canisterId, { methodName: "add", arg: nat64(1n), effectiveCanisterId: canisterId });
saw.updated = read(updated.reply);
const plain = Actor.createActorWithExtendedDetails(
  ({ IDL }) => IDL.Service({ add: IDL.Func([IDL.Nat64], [IDL.Nat64], []) }), { agent, canisterId });
const detailed = await plain.add(2n);
saw.detailed = [String(detailed.result), detailed.certificate.lookup_path(["time"]).status === LookupPathStatus.Found];

// State of the canister, of the request, of the subnet.
const paths = [
  StatePaths.time, StatePaths.canisterControllers(canisterId), StatePaths.canisterModuleHash(canisterId),
  StatePaths.canisterCandid(canisterId), StatePaths.canisterMetadataString(canisterId, "absent"),
  new KnownPath(["request_status", sent.requestId, "status"], (bytes) => Buffer.from(bytes).toString()),
];
const state = (await agent.readState({ canisterId }, { paths })).values;
saw.state = [
  Math.abs(Date.now() - state.get(paths[0]).getTime()) < 60_000, state.get(paths[1]).map(String),
  Buffer.from(state.get(paths[2])).toString("hex"), state.get(paths[3]), state.get(paths[4]), state.get(paths[5]),
];
const about = [StatePaths.subnetPublicKey(subnetId), StatePaths.subnetCanisterRanges(subnetId)];
const { values: subnet } = await agent.readState({ subnetId }, { paths: about });
const within = ([low, high]) => low.ltEq(canisterId) && canisterId.ltEq(high);
saw.subnet = [subnet.get(about[0]).length, subnet.get(about[1]).some(within)];
saw.subnet_of = (await agent.getSubnetIdFromCanister(canisterId)).toText();
await agent.syncTime({ canisterId });
saw.clock = Math.abs(agent.getTimeDiffMsecs()) < 60_000;

// Somebody to whom a key was delegated, for this canister and for another.
const session = Ed25519KeyIdentity.generate();
const soon = new Date(Date.now() + 60_000);
const delegated = async (targets) => {
  const chain = await DelegationChain.create(owner, session.getPublicKey(), soon, { targets });
  return agentOf(DelegationIdentity.fromDelegation(session, chain));
};
const friend = await delegated([canisterId]);
saw.same_principal = (await friend.getPrincipal()).toText() === owner.getPrincipal().toText();
saw.delegated = read((await friend.update(canisterId, { methodName: "add", arg: nat64(0n), effectiveCanisterId: canisterId })).reply);
const astray = await delegated([Principal.fromText("rwlgt-iiaaa-aaaaa-aaaaa-cai")]);
saw.astray = await astray.call(canisterId, { methodName: "add", arg: nat64(1n) }).then(() => "taken", (error) => error.code.status);

// What must not be believed: another root key, an answer that somebody changed.
const wrong = rootKey.slice();
wrong[wrong.length - 1] ^= 1;
saw.other_key = await said((await agentOf(owner, { rootKey: wrong })).readState({ canisterId }, { paths: [StatePaths.time] }));
const changed = async (url, options) => {
  const response = await fetch(url, options);
  const body = new Uint8Array(await response.arrayBuffer());
  if (String(url).endsWith("/query")) {
    const at = Buffer.from(body).indexOf("DIDL");
    body[at + 7] ^= 1;
  }
  return new Response(body, { status: response.status, headers: response.headers });
};
const victim = await agentOf(owner, { fetch: changed });
saw.changed_query = await said(victim.query(canisterId, { methodName: "get", arg: IDL.encode([], []) }));
console.log(JSON.stringify(saw));
