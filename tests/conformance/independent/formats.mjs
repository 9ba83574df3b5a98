// The bytes that a datanode storage canister keeps, read by the published tables alone:
// frames, codecs 0 to 2, chunk records, placement records. All numbers are little-endian.
// Bytes from the network are untrusted: what does not follow its table is an Error that says so.
import { blake3 } from "@noble/hashes/blake3.js";
import { decompress } from "fzstd";

export const CHUNKS_A_PAGE = 16_384;
const MAX_CHUNK_BYTES = 2_080_768;
const RECORD_BYTES = 80;
const NODE_BYTES = 30;
const RUN_BYTES = 6;
const WIDTHS = [1, 2, 2, 4, 1, 1]; // of the element types bytes, F16, BF16, F32, F8_E4M3, F8_E5M2
const PLANES = [0, 1, 1, 2, 0, 0]; // of the element types in codec 2; 0: it has none

export const demand = (holds, sentence) => {
  if (!holds) throw new Error(sentence);
};
export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const same = (one, other) => Buffer.compare(one, other) === 0;
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const zero = (bytes) => bytes.every((byte) => byte === 0);
const tag = (bytes) => Buffer.from(bytes.subarray(0, 4)).toString("latin1");

// A frame (datanode/frame.py), believed because its BLAKE3 is the address that somebody believed in.
export function frame(bytes, address) {
  demand(same(blake3(bytes), address), "its BLAKE3 is not its address");
  demand(bytes.length >= 64 && tag(bytes) === "DNCF" && bytes[4] === 1, "not a frame of version 1");
  const header = view(bytes);
  const [codec, element] = [bytes[5], bytes[6]];
  const rawBytes = header.getUint32(8, true);
  const payload = bytes.subarray(64);
  demand(element < WIDTHS.length, `element type ${element} is not known`);
  demand(zero(bytes.subarray(7, 8)) && zero(bytes.subarray(52, 64)), "reserved bytes are set");
  demand(header.getUint32(12, true) === payload.length, "the payload has another length");
  demand(payload.length <= rawBytes && rawBytes <= MAX_CHUNK_BYTES, "a length is out of bounds");
  const rowBytes = header.getUint32(48, true) * WIDTHS[element];
  demand(rowBytes === 0 || (element !== 0 && rawBytes % rowBytes === 0), "not whole rows");
  return { codec, element, rawBytes, content: bytes.subarray(16, 48), payload };
}

// The raw bytes of a frame: those with its content digest.
export function decoded({ codec, element, rawBytes, content, payload }) {
  let raw = payload;
  if (codec === 1) raw = unzstd(payload, rawBytes);
  else if (codec === 2) raw = masksplit(payload, rawBytes, element);
  else demand(codec === 0, `codec ${codec} is not known`);
  demand(raw.length === rawBytes && same(blake3(raw), content), "its raw bytes are not its content");
  return raw;
}

// A part of a manifest is a raw frame of bytes.
export function manifestPart(bytes, address) {
  const read = frame(bytes, address);
  demand(read.codec === 0 && read.element === 0, "not a raw frame of bytes");
  return decoded(read);
}

// The raw bytes of a chunk, whose record says what its frame must be.
export function chunk(bytes, record) {
  const read = frame(bytes, record.frame);
  const told = ["codec", "element", "rawBytes"].every((name) => read[name] === record[name]);
  demand(told && bytes.length === record.frameBytes && same(read.content, record.content), "its record says otherwise");
  return decoded(read);
}

// One zstd frame; giving the output's room bounds what a hostile stream can allocate.
const unzstd = (stream, bytes) => decompress(stream, new Uint8Array(bytes));

// Codec 2 (datanode/codec/masksplit.py): one plane of words, or two, upper halves first.
function masksplit(payload, rawBytes, element) {
  const bytes = view(payload);
  const width = WIDTHS[element];
  const count = Math.floor(rawBytes / width);
  const planes = payload[0];
  demand(planes > 0 && planes === PLANES[element] && zero(payload.subarray(1, 4)), "a wrong plane count");
  const raw = new Uint8Array(rawBytes);
  const out = view(raw);
  let at = 4 + 16 * planes;
  for (let plane = 0; plane < planes; plane++) {
    const header = 4 + 16 * plane;
    const mask = bytes.getUint16(header, true);
    const symbolCount = bytes.getUint16(header + 2, true);
    const [patchCount, streamBytes] = [bytes.getUint32(header + 4, true), bytes.getUint32(header + 8, true)];
    demand(zero(payload.subarray(header + 12, header + 16)), "reserved bytes of a plane are set");
    demand(symbolCount >= 1 && symbolCount <= 256 && patchCount <= count, "a plane's counts are wrong");
    demand((symbolCount === 1) === (streamBytes === 0), "a plane with one symbol has no stream");
    const patches = at + 2 * symbolCount;
    const patchSymbols = patches + 4 * patchCount;
    const rawPlane = patchSymbols + 2 * patchCount;
    const free = [...Array(16).keys()].filter((bit) => !(mask & (1 << bit))); // the bits outside of it
    const stream = rawPlane + free.length * Math.ceil(count / 8);
    const indices = streamBytes
      ? unzstd(payload.subarray(stream, stream + streamBytes), count)
      : new Uint8Array(count);
    const words = unpack(payload.subarray(rawPlane, stream), free, count);
    const inside = (symbol) => {
      demand((symbol & ~mask) === 0, "a symbol has bits outside of its mask");
      return symbol;
    };
    const table = Array.from({ length: symbolCount }, (_, i) => inside(bytes.getUint16(at + 2 * i, true)));
    const symbols = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      demand(indices[i] < symbolCount, "a plane's stream names a symbol that it does not have");
      symbols[i] = table[indices[i]];
    }
    for (let i = 0; i < patchCount; i++) {
      const place = bytes.getUint32(patches + 4 * i, true);
      demand(place < count, "a patch lies beyond the plane");
      symbols[place] = inside(bytes.getUint16(patchSymbols + 2 * i, true));
    }
    const shift = 2 * (planes - 1 - plane); // the upper half is behind the lower one
    for (let i = 0; i < count; i++) out.setUint16(width * i + shift, words[i] | symbols[i], true);
    at = stream + streamBytes;
  }
  demand(payload.length - at === rawBytes - width * count, "the tail has another length");
  raw.set(payload.subarray(at), width * count);
  return raw;
}

// The raw plane (datanode/codec/bits.py): the bits outside of the mask, sub-plane after sub-plane.
function unpack(plane, free, count) {
  const words = new Uint16Array(count);
  const eighth = Math.ceil(count / 8);
  let at = 0;
  for (const width of [16, 8, 4, 2, 1]) {
    if (!(free.length & width)) continue;
    const used = free.length & ~(2 * width - 1); // bits of the wider sub-planes
    const places = free.slice(used, used + width);
    const spread = Uint16Array.from({ length: 1 << width }, (_, field) =>
      places.reduce((word, place, bit) => word | (((field >> bit) & 1) << place), 0));
    const length = width * eighth;
    for (let i = 0; i < count; i++) {
      const field = width === 16 ? plane[at + 2 * i] | (plane[at + 2 * i + 1] << 8)
        : (plane[at + (i % length)] >> (width * Math.floor(i / length))) & ((1 << width) - 1);
      words[i] |= spread[field];
    }
    at += length;
  }
  return words;
}

// A chunk page (datanode/manifest/pages.py): records of 80 bytes.
export function chunkRecords(page) {
  demand(page.length % RECORD_BYTES === 0, "a chunk page is not whole records");
  return Array.from({ length: page.length / RECORD_BYTES }, (_, index) => {
    const record = page.subarray(index * RECORD_BYTES, (index + 1) * RECORD_BYTES);
    demand(zero(record.subarray(74)), "reserved bytes of a chunk record are set");
    return {
      content: record.subarray(0, 32), frame: record.subarray(32, 64),
      rawBytes: view(record).getUint32(64, true), frameBytes: view(record).getUint32(68, true),
      codec: record[72], element: record[73],
    };
  });
}

// A placement record (datanode/placement.py): the node of each run of chunks.
export function placementRecord(raw) {
  demand(raw.length >= 48 && tag(raw) === "DNPL" && raw[4] === 1, "not a placement record of version 1");
  const bytes = view(raw);
  const [nodeCount, runCount] = [bytes.getUint16(6, true), bytes.getUint32(12, true)];
  const runsAt = 48 + NODE_BYTES * nodeCount;
  demand(raw[5] === 0 && raw.length === runsAt + RUN_BYTES * runCount, "a placement record of another length");
  const nodes = Array.from({ length: nodeCount }, (_, index) => {
    const node = raw.subarray(48 + NODE_BYTES * index, 48 + NODE_BYTES * (index + 1));
    return node.subarray(1, 1 + node[0]);
  });
  const runs = Array.from({ length: runCount }, (_, index) => ({
    node: bytes.getUint16(runsAt + RUN_BYTES * index, true),
    chunks: bytes.getUint32(runsAt + RUN_BYTES * index + 2, true),
  }));
  return { manifest: raw.subarray(16, 48), chunkCount: bytes.getUint32(8, true), nodes, runs };
}
