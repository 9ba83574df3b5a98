// Checks the certificate of an answer over HTTP with npm's `@dfinity/response-verification`.
// usage: node verified.mjs URL ROOT_KEY_HEX CANISTER PATH ; prints one JSON object.
import { request } from "node:http";
import { verifyRequestResponsePair } from "@dfinity/response-verification";
import { Principal } from "@icp-sdk/core/principal";

const [url, rootKey, canister, path] = process.argv.slice(2);

const { hostname, port } = new URL(url);
const answer = await new Promise((resolve, reject) => {
  const sent = request({ hostname, port, path, headers: { host: `${canister}.localhost` } }, async (response) => {
    const parts = [];
    for await (const part of response) parts.push(part);
    const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
    resolve({ status_code: response.statusCode, headers, body: new Uint8Array(Buffer.concat(parts)) });
  });
  sent.on("error", reject).end();
});

const asked = { url: path, method: "GET", headers: [], body: new Uint8Array() };
const judge = (response, key) => {
  try {
    const found = verifyRequestResponsePair(
      asked, response, Principal.fromText(canister).toUint8Array(), BigInt(Date.now()) * 1_000_000n,
      300_000_000_000n, key, 2);
    return found;
  } catch (error) {
    return `refused: ${error.message ?? error}`;
  }
};
const key = Uint8Array.from(Buffer.from(rootKey, "hex"));
const flipped = (text) => `${text.slice(0, 200)}${text[200] === "A" ? "B" : "A"}${text.slice(201)}`;
const other = answer.headers.map(([name, value]) => [name, name === "ic-certificate" ? flipped(value) : value]);
const wrong = key.slice();
wrong[wrong.length - 1] ^= 1;
console.log(JSON.stringify({
  status: answer.status_code, length: answer.body.length, verdict: judge(answer, key),
  forged: judge({ ...answer, headers: other }, key), other_key: judge(answer, wrong),
}));
