// Transfers tokens of an ICRC-1 ledger with npm's `@icp-sdk/canisters`, as two people.
// usage: node ledger.mjs URL ROOT_KEY_HEX LEDGER ; prints one JSON object of what it saw.
import { IcrcLedgerCanister } from "@icp-sdk/canisters/ledger/icrc";
import { Actor, HttpAgent } from "@icp-sdk/core/agent";
import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Principal } from "@icp-sdk/core/principal";

const [host, rootKey, ledger] = process.argv.slice(2);
const canisterId = Principal.fromText(ledger);

async function person() {
  const identity = Ed25519KeyIdentity.generate();
  const agent = await HttpAgent.create({
    host, identity, rootKey: Uint8Array.from(Buffer.from(rootKey, "hex")), verifyQuerySignatures: true, retryTimes: 0,
  });
  return { agent, owner: identity.getPrincipal(), icrc: IcrcLedgerCanister.create({ agent, canisterId }) };
}

const [alice, bob] = [await person(), await person()];
const minting = ({ IDL }) => IDL.Service({
  mint: IDL.Func([IDL.Record({ owner: IDL.Principal, subaccount: IDL.Opt(IDL.Vec(IDL.Nat8)) }), IDL.Nat], [], []),
});
await Actor.createActor(minting, { agent: alice.agent, canisterId }).mint({ owner: alice.owner, subaccount: [] }, 1000n);

const to = { owner: bob.owner, subaccount: [] };
const refusal = ({ errorType }) => `refused ${errorType?.InsufficientFunds?.balance ?? errorType?.BadFee?.expected_fee}`;
const saw = {
  fee: await alice.icrc.transactionFee({ certified: true }),
  symbol: Object.fromEntries(await alice.icrc.metadata({}))["icrc1:symbol"].Text,
  block: await alice.icrc.transfer({ to, amount: 300n, fee: 10n }),
  alice: await alice.icrc.balance({ owner: alice.owner }),
  bob: await bob.icrc.balance({ owner: bob.owner, certified: true }),
  too_much: await bob.icrc.transfer({ to: { owner: alice.owner, subaccount: [] }, amount: 301n }).then(() => "sent", refusal),
  bad_fee: await bob.icrc.transfer({ to: { owner: alice.owner, subaccount: [] }, amount: 1n, fee: 3n }).then(() => "sent", refusal),
  back: await bob.icrc.transfer({ to: { owner: alice.owner, subaccount: [] }, amount: 290n }),
  left: await bob.icrc.balance({ owner: bob.owner }),
};
console.log(JSON.stringify(saw, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
