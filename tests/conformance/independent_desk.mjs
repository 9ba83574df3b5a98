// For the tests: audits one after another in one process, a JSON array of arguments a line.
import { createInterface } from "node:readline";
import { run } from "./proof.mjs";

for await (const line of createInterface({ input: process.stdin }))
  console.log(JSON.stringify(await run(JSON.parse(line))));
