// An independent audit of a model in a datanode storage canister. It shares no line and no library
// with datanode: it is written from canisters/storage/INTERFACE.md and the byte tables named there.
//
// It believes in the network's root key, this machine's clock, and the code in this folder with the
// npm packages of package-lock.json; in nothing that the canister, a node or datanode says. When it
// ends with 0, then
//   - the subnet that hosts the canister certified, at most five minutes ago, that this version of
//     this model is the one with this manifest, and which version is the latest;
//   - every chunk is stored, whole, and decodes to the bytes that the manifest names;
//   - joined, they are the files whose SHA-256 it prints (and writes, with --out): compare these
//     with what the model's maker published, since who sealed a model can have sealed anything;
//   - every tensor that the manifest lists begins where it says, in chunks of its file.
// It ends with 1 if chunks are damaged, and names them; with 2 if the rest cannot be proven.
// Nodes' signatures of single answers are not looked at: nothing rests on them.
//
// usage: npm ci --ignore-scripts; node audit.mjs --canister ID --model NAME [--version N]
//   [--seen N: the highest version that you have seen] [--identity PEM: who has a reader's grant]
//   [--url URL --root-key HEX: another network than the Internet Computer] [--out FOLDER]
import { run } from "./proof.mjs";

const { report, code } = await run(process.argv.slice(2));
console.log(JSON.stringify(report, null, 1));
process.exitCode = code;
