// Compiles a Motoko actor with the compiler that npm's `motoko` carries.
// usage: node motoko.mjs SOURCE WASM
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import motoko from "motoko";

const [source, target] = process.argv.slice(2);
const core = createRequire(import.meta.url)("motoko/packages/latest/core.json");
motoko.loadPackage(core);
motoko.write("Main.mo", readFileSync(source, "utf8"));
motoko.setPublicMetadata(["candid:service"]);
writeFileSync(target, motoko.wasm("Main.mo", "ic").wasm);
