// What a storage canister says of a model, believed as far as a certificate of the subnet proves it.
import { createHash, createPrivateKey } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { Actor, AnonymousIdentity, Cbor, Certificate, HttpAgent, IC_ROOT_KEY, lookup_path, reconstruct } from "@icp-sdk/core/agent";
import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Secp256k1KeyIdentity } from "@icp-sdk/core/identity/secp256k1";
import { Principal } from "@icp-sdk/core/principal";
import { CHUNKS_A_PAGE, chunk, chunkRecords, demand, hex, manifestPart, placementRecord, same } from "./formats.mjs";

const INTERFACE = 2;
const MAX_CHUNKS_A_READ = 4_096;
const BYTES_AT_ONCE = 64_000_000; // of frames: bounds what is held in memory
const PATH = /^(?!.*(^|\/)\.{0,2}(\/|$))[A-Za-z0-9._/-]{1,512}$/; // no part that is empty, `.` or `..`

// What is used of storage.did.
const storage = ({ IDL }) => {
  const digest = IDL.Vec(IDL.Nat8);
  const error = IDL.Variant({
    unauthorized: IDL.Null, not_found: IDL.Text, conflict: IDL.Text, bad_request: IDL.Text,
    too_large: IDL.Record({ limit: IDL.Nat64, got: IDL.Nat64 }),
  });
  const answer = (ok) => [IDL.Variant({ Ok: ok, Err: error })];
  const part = IDL.Variant({ head: IDL.Null, chunk_page: IDL.Nat32, tensor_page: IDL.Nat32, placement: IDL.Null });
  const frame = IDL.Variant({ frame: IDL.Vec(IDL.Nat8), elsewhere: IDL.Null, did_not_fit: IDL.Null, missing: IDL.Null });
  const witness = IDL.Record({ certificate: IDL.Opt(IDL.Vec(IDL.Nat8)), witness: IDL.Vec(IDL.Nat8) });
  return IDL.Service({
    witness: IDL.Func([IDL.Record({ model: IDL.Text, version: IDL.Opt(IDL.Nat32) })], answer(witness), ["query"]),
    get_manifest: IDL.Func([IDL.Record({ model: IDL.Text, manifest: digest, part })], answer(IDL.Vec(IDL.Nat8)), ["query"]),
    get_frames: IDL.Func([IDL.Record({ model: IDL.Text, manifest: digest, chunks: IDL.Vec(IDL.Nat32) })], answer(IDL.Vec(frame)), ["query"]),
  });
};

// Audit a model; the options are those of the command line.
export async function audit(given) {
  const { model } = given;
  demand(given.canister && model, "--canister and --model are needed, see audit.mjs");
  const canisterId = Principal.fromText(given.canister);
  const rootKey = Uint8Array.from(Buffer.from(given["root-key"] ?? IC_ROOT_KEY, "hex"));
  const agent = await HttpAgent.create({
    host: given.url ?? "https://icp-api.io", rootKey, identity: identity(given.identity), verifyQuerySignatures: false });
  const canister = Actor.createActor(storage, { agent, canisterId });

  // The numbers are the steps of INTERFACE.md, "Read, and prove what was read".
  const wanted = given.version === undefined ? [] : [Number(given.version)];
  const answer = ok(await canister.witness({ model, version: wanted })); // 1
  const proven = await provenVersion(answer, { model, version: wanted[0], canisterId, rootKey }); // 2 to 5
  const seen = Number(given.seen ?? 0);
  demand(proven.latest >= seen, `the latest version is ${proven.latest}, and ${seen} was seen before`);
  const ask = { model, manifest: proven.manifest };
  const part = async (part, address) => {
    try {
      return manifestPart(ok(await canister.get_manifest({ ...ask, part })), address);
    } catch (error) {
      throw new Error(`${Object.keys(part)[0]} of the manifest: ${error.message}`);
    }
  };
  const head = Cbor.decode(await part({ head: null }, proven.manifest)); // 6
  demand(head.v === 1, `manifest version ${head.v} is not known`);
  const records = [];
  for (const [index, address] of head.chunks.entries()) {
    demand(records.length === index * CHUNKS_A_PAGE, "a chunk page before the last is not full");
    records.push(...chunkRecords(await part({ chunk_page: index }, address)));
  }
  demand(records.length === head.chunk_count, "the chunk pages have another count than the head");
  const tensors = [];
  for (const [index, address] of head.tensors.entries())
    tensors.push(...Cbor.decode(await part({ tensor_page: index }, address)));
  demand(tensors.length === head.tensor_count, "the tensor pages have another count than the head");
  const placement = placementRecord(await part({ placement: null }, proven.placement));
  checkPlacement(placement, { manifest: proven.manifest, chunkCount: records.length, node: canisterId.toUint8Array() });
  const starts = [0]; // of each chunk, counted over all files, and the end of the last
  for (const { rawBytes } of records) starts.push(starts.at(-1) + rawBytes);
  checkFiles(head.files, starts);
  checkTensors(tensors, head.files, starts);

  const damaged = []; // 7
  const files = [];
  const frames = (chunks) => framesOf(canister, { ...ask, chunks });
  for (const file of head.files) files.push(await rebuilt(file, records, frames, damaged, given.out));
  return {
    model, version: proven.version, latest: proven.latest, certified: proven.time,
    manifest: hex(proven.manifest), placement: hex(proven.placement),
    chunks: records.length, tensors: tensors.length, metadata: head.metadata, files, damaged,
  };
}

// What the subnet certifies. The answer's own version and digests are not believed, nor needed.
async function provenVersion(answer, { model, version: wanted, canisterId, rootKey }) {
  demand(answer.certificate.length, "there is no certificate");
  // 2: the SDK verifies the signatures from the root key down, that the subnet which signed is the
  // one that hosts the canister, and that the time is within five minutes of this machine's clock.
  const certificate = await Certificate.create({ certificate: answer.certificate[0], rootKey, principal: { canisterId } });
  const state = certificate.cert.tree;
  const certified = found(state, "canister", canisterId.toUint8Array(), "certified_data");
  const tree = Cbor.decode(answer.witness); // 3
  demand(same(await reconstruct(tree), certified), "the witness is not what the subnet certified");
  const known = number(found(tree, "dn", "interface")); // 4
  demand(known === INTERFACE, `interface version ${known} is not known`);
  const latest = number(found(tree, "dn", "model", model, "latest")); // 5
  const version = wanted ?? latest;
  const label = Buffer.alloc(4);
  label.writeUInt32BE(version);
  const digests = found(tree, "dn", "model", model, label);
  demand(digests.length === 64, "a version is two digests");
  const nanoseconds = leb128(found(state, "time"));
  return {
    version, latest, manifest: digests.subarray(0, 32), placement: digests.subarray(32),
    time: new Date(Number(nanoseconds / 1_000_000n)).toISOString() };
}

function checkPlacement({ manifest, chunkCount, nodes, runs }, wanted) {
  demand(same(manifest, wanted.manifest) && chunkCount === wanted.chunkCount, "the placement is of another manifest");
  demand(nodes.length === 1 && same(nodes[0], wanted.node), "chunks are placed on other nodes");
  demand(runs.reduce((sum, run) => sum + run.chunks, 0) === chunkCount, "the placement leaves chunks out");
}

function checkFiles(files, starts) {
  let next = 0;
  for (const [index, [path, length, , first, count]] of files.entries()) {
    demand(PATH.test(path) && (index === 0 || files[index - 1][0] < path), `${path} is not a path, or not in order`);
    demand(Number.isSafeInteger(count) && count >= 0, `${count} is not a count of chunks`);
    demand(first === next && length === starts[first + count] - starts[first], `the chunks of ${path} are not its bytes`);
    next += count;
  }
  demand(next === starts.length - 1, "chunks belong to no file");
}

function checkTensors(tensors, files, starts) {
  for (const [name, , , index, offset, first, count] of tensors) {
    const [path, length, , fileFirst, fileCount] = files[index] ?? [];
    demand(path !== undefined && offset <= length, `${name} lies outside of the files`);
    demand(fileFirst <= first && first + count <= fileFirst + fileCount, `${name} has chunks of another file`);
    const begins = offset - (starts[first] - starts[fileFirst]); // small neighbours share a chunk
    const inside = begins >= 0 && begins < starts[first + 1] - starts[first];
    demand(count === 0 || inside, `${name} does not begin in its first chunk`);
  }
}

// Read, check and join the chunks of one file, in order; those that are damaged are named.
async function rebuilt([path, length, digest, first, count], records, frames, damaged, out) {
  const sha256 = createHash("sha256");
  const before = damaged.length;
  const target = out && join(out, path);
  if (target) mkdirSync(dirname(target), { recursive: true });
  const file = target && openSync(`${target}.part`, "w");
  for (let next = first; next < first + count;) {
    const indices = [];
    for (let bytes = 0; next < first + count && indices.length < MAX_CHUNKS_A_READ && bytes < BYTES_AT_ONCE; next++) {
      bytes += records[next].frameBytes;
      indices.push(next);
    }
    const got = await frames(indices);
    for (const index of indices) {
      try {
        demand(got.has(index), "it is missing");
        const raw = chunk(got.get(index), records[index]);
        sha256.update(raw);
        if (file) writeSync(file, raw);
      } catch (error) {
        damaged.push({ chunk: index, file: path, frame: hex(records[index].frame), reason: error.message });
      }
    }
  }
  if (file) closeSync(file);
  if (damaged.length > before) {
    if (target) rmSync(`${target}.part`);
    return { path, bytes: length, sha256: null };
  }
  const sum = sha256.digest();
  demand(same(sum, digest), `the SHA-256 of ${path} is not the manifest's`);
  if (target) renameSync(`${target}.part`, target);
  return { path, bytes: length, sha256: hex(sum) };
}

async function framesOf(canister, { chunks, ...ask }) {
  const frames = new Map();
  for (let left = chunks; left.length;) {
    const answers = ok(await canister.get_frames({ ...ask, chunks: left }));
    demand(answers.length === left.length && !("did_not_fit" in answers[0]), "not an answer for each chunk");
    for (const [i, answer] of answers.entries()) if ("frame" in answer) frames.set(left[i], answer.frame);
    left = left.filter((_, i) => "did_not_fit" in answers[i]);
  }
  return frames;
}

function ok(answer) {
  if ("Ok" in answer) return answer.Ok;
  const [[name, more]] = Object.entries(answer.Err);
  throw new Error(`the canister answers ${name}${typeof more === "string" ? `: ${more}` : ""}`);
}

function found(tree, ...path) {
  const { status, value } = lookup_path(path, tree);
  demand(status === "Found", `the witness or the certificate does not show ${path[0]}/.../${path.at(-1)}`);
  return value;
}

function number(bytes) {
  demand(bytes.length === 4, "a number has 4 bytes");
  return Buffer.from(bytes).readUInt32BE();
}

function leb128(bytes) {
  return bytes.reduceRight((value, byte) => (value << 7n) | BigInt(byte & 0x7f), 0n);
}

function identity(pem) {
  if (!pem) return new AnonymousIdentity();
  const { crv, d } = createPrivateKey(readFileSync(pem)).export({ format: "jwk" });
  const secret = new Uint8Array(Buffer.from(d, "base64url"));
  return crv === "secp256k1" ? Secp256k1KeyIdentity.fromSecretKey(secret) : Ed25519KeyIdentity.generate(secret);
}

// Audit as the command line says; returns what is printed, and the exit code.
export async function run(args) {
  const names = ["canister", "model", "version", "seen", "identity", "url", "root-key", "out"];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  try {
    const report = await audit(parseArgs({ args, options }).values);
    return { report, code: report.damaged.length ? 1 : 0 };
  } catch (error) {
    return { report: { refused: error.message.split("\n")[0] }, code: 2 };
  }
}
