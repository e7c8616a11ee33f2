// Sends commands of the guest `coin` through types that openapi-typescript generated from the
// description of the domain, without a cast.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/domain.js";

const [url] = process.argv.slice(2);
assert(url !== undefined, "usage: domain URL");

const token = process.env["QUIPU_TOKEN"];
assert(token !== undefined, "QUIPU_TOKEN: the token of the host");

const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });
const path = { key: "ts 1" };

const deposit: components["schemas"]["CoinDeposit"] = { wei: 5 };
const deposited = await client.POST("/v1/domain/coin/{key}/deposit", {
  params: { path, header: { "Idempotency-Key": "ts-deposit" } },
  body: deposit,
});
assert.equal(deposited.data?.stream, "coin-ts 1");
assert.equal(deposited.data.version, 1);

const spent = await client.POST("/v1/domain/coin/{key}/spend", { params: { path }, body: { wei: 6 } });
assert(spent.error !== undefined);
const declared: components["schemas"]["CoinRejectionCode"] = "too-little";
assert.equal(spent.error.rejection?.code, declared);

await client.POST("/v1/domain/coin/{key}/spend", {
  params: { path },
  // @ts-expect-error The schema requires `wei`.
  body: { amount: 1 },
});
console.log("typescript: domain ok");
