// Uses a host through types that openapi-typescript generated from its description, without a
// cast: uploads a module, activates it, executes a command with metadata, reads the event back,
// and follows a subscription across a reconnect.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/schema.js";

type Event = components["schemas"]["Event"];
type Reached = components["schemas"]["Reached"];
type Problem = components["schemas"]["Problem"];

const [url, component] = process.argv.slice(2);
assert(url !== undefined && component !== undefined, "usage: client URL COMPONENT");

const token = process.env["QUIPU_TOKEN"];
assert(token !== undefined, "QUIPU_TOKEN: the token of the host");

const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

/** The data of an answer; throws the problem otherwise. */
function expectData<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) {
    throw new Error(`${answer.error?.code}: ${answer.error?.detail}`);
  }
  return answer.data;
}

// Upload and download.
const bytes = await readFile(component);
const uploaded = expectData(
  await client.POST("/v1/modules", {
    body: bytes,
    bodySerializer: (body) => body,
    headers: { "Content-Type": "application/wasm" },
  }),
);
assert.equal(uploaded.name, "account");
assert.equal(uploaded.bytes, bytes.length);
const downloaded = expectData(
  await client.GET("/v1/modules/{digest}/wasm", {
    params: { path: { digest: uploaded.digest } },
    parseAs: "arrayBuffer",
  }),
);
assert(Buffer.from(downloaded).equals(bytes));
const activated = expectData(
  await client.POST("/v1/deployments", { body: { digest: uploaded.digest } }),
);
// A string would be lines, which only `Accept: application/x-ndjson` brings.
assert(typeof activated !== "string");
assert.equal(activated.name, "account");

// A command with metadata, and its event.
const stream = "account-ts 1";
const executed = expectData(
  await client.POST("/v1/streams/{stream}/commands", {
    params: { path: { stream }, header: { "Idempotency-Key": "ts-open" } },
    body: { type: "open", data: { owner: "ann" }, metadata: { tenant: "north", tries: [1, 2] } },
  }),
);
assert.equal(executed.version, 1);
const page = expectData(
  await client.GET("/v1/streams/{stream}/events", {
    params: { path: { stream }, query: { direction: "backward", limit: 1 } },
  }),
);
const opened = page.events[0];
assert(opened !== undefined);
assert.equal(opened.type, "opened");
assert.deepEqual(opened.metadata, { tenant: "north", tries: [1, 2] });

// A problem is one of the documented codes.
const rejected = await client.POST("/v1/streams/{stream}/commands", {
  params: { path: { stream } },
  body: { type: "withdraw", data: { amount: 5 } },
});
const code: components["schemas"]["ProblemCode"] | undefined = rejected.error?.code;
assert.equal(code, "rejected");
assert.equal(rejected.error?.rejection?.code, "insufficient-funds");

// A subscription, followed until two deposits have come, with a reconnect after the first.
let seen: string | undefined;
const first = await follow(1);
assert.equal(first[0]?.type, "opened");
for (const amount of [3, 4]) {
  expectData(
    await client.POST("/v1/streams/{stream}/commands", {
      params: { path: { stream } },
      body: { type: "deposit", data: { amount } },
    }),
  );
}
const rest = await follow(2);
assert.deepEqual(
  rest.map((event) => event.data),
  [{ amount: 3 }, { amount: 4 }],
);
console.log("typescript: ok");

/** The next events of the stream, after the last id that was seen. */
async function follow(count: number): Promise<Event[]> {
  const ending = new AbortController();
  const body = expectData(
    await client.GET("/v1/streams/{stream}/subscribe", {
      params: {
        path: { stream },
        ...(seen === undefined ? {} : { header: { "Last-Event-ID": seen } }),
      },
      parseAs: "stream",
      signal: ending.signal,
    }),
  );
  assert(body !== null);
  const events: Event[] = [];
  let text = "";
  for await (const part of body.pipeThrough(new TextDecoderStream())) {
    text += part;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name: string) =>
        lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      seen = field("id")[0] ?? seen;
      const data = field("data").join("\n");
      switch (field("event")[0]) {
        case "event": {
          const event: Event = JSON.parse(data);
          events.push(event);
          break;
        }
        case "caught-up": {
          const reached: Reached = JSON.parse(data);
          assert(typeof reached.version === "number");
          break;
        }
        case "error": {
          const problem: Problem = JSON.parse(data);
          throw new Error(`${problem.code}: ${problem.detail}`);
        }
      }
      if (events.length === count) {
        ending.abort();
        return events;
      }
    }
  }
  throw new Error("the subscription ended");
}
