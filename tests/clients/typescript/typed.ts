// Uses the client of this repository, `clients/typescript`, with the types that openapi-typescript
// generated from the description of the domain, without a cast.

import assert from "node:assert/strict";
import { Quipu, type DomainOf } from "@quipu/client";
import type { components, paths } from "./generated/domain.js";

const [url] = process.argv.slice(2);
assert(url !== undefined, "usage: typed URL");

const token = process.env["QUIPU_TOKEN"];
assert(token !== undefined, "QUIPU_TOKEN: the token of the host");

const quipu = new Quipu<DomainOf<paths, components>>({ url, token });

const { version } = await quipu.execute("coin-typed", { type: "deposit", data: { wei: 5 } });
assert.equal(version, 1);
try {
  await quipu.execute("coin-typed", { type: "spend", data: { wei: 6 } });
  assert.fail("it was not rejected");
} catch (error) {
  assert.equal(quipu.rejectionOf("coin-typed", error)?.code, "too-little");
}

const { position } = await quipu.execute("loan-typed", { type: "submit", data: { amount: 1000 } });
assert(position !== null);
const found = await quipu.document("applications", "typed", { after: position, timeout: 30_000 });
assert.equal(found?.document.amount, 1000);

export async function isRefused() {
  // @ts-expect-error The schema requires `wei`.
  await quipu.execute("coin-typed", { type: "spend", data: { amount: 1 } });
  // @ts-expect-error There is no such projection.
  await quipu.document("application", "typed");
}
console.log("typescript: typed ok");
