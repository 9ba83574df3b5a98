// A canister in TypeScript: compiled into the engine that npm's `azle` carries as Wasm.
import { IDL, StableBTreeMap, msgCaller, query, trap, update } from "azle";

export default class {
  notes = new StableBTreeMap<string, string>(0);
  writes = 0;

  @update([IDL.Text, IDL.Text], IDL.Nat32)
  write(name: string, text: string): number {
    this.notes.insert(name, text);
    this.writes += 1;
    if (text === "trap") trap("asked to");
    return this.writes;
  }

  @query([IDL.Text], IDL.Opt(IDL.Text))
  read(name: string): [string] | [] {
    const text = this.notes.get(name);
    return text === undefined ? [] : [text];
  }

  @query([], IDL.Principal)
  whoami() {
    return msgCaller();
  }
}
