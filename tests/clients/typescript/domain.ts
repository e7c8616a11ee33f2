// Sends commands of the guest `coin`, and reads documents of `loan-views`, through types that
// openapi-typescript generated from the description of the domain, without a cast.

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
// A document, as fresh as the command.
const submitted = await client.POST("/v1/domain/loan/{key}/submit", {
  params: { path },
  body: { amount: 1000 },
});
const position = submitted.data?.position;
assert(typeof position === "number");
const found = await client.GET("/v1/views/applications/{key}", {
  params: { path, query: { after: position, timeout: 30_000 } },
});
assert.equal(found.data?.key, "ts 1");
assert(found.data.position >= position);
const { document } = found.data;
assert(typeof document === "object" && document !== null && "amount" in document);
assert.equal(document.amount, 1000);
const page = await client.GET("/v1/views/applications", {
  params: { query: { where: ["amount>=1000"], after: position, limit: 10 } },
});
assert.deepEqual(page.data?.documents.map(({ key }) => key), ["ts 1"]);
const missing = await client.GET("/v1/views/applications/{key}", { params: { path: { key: "nobody" } } });
assert.equal(missing.error?.code, "document-not-found");
console.log("typescript: domain ok");
