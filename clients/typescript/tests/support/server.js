// A server that answers as a test scripts it: broken, slow, or hostile.

import { createServer } from 'node:http';

/** Starts a server; `answer(request, response)` is called with `request.text`, the whole body. */
export async function startServer(t, answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    request.text = Buffer.concat(parts).toString();
    requests.push(request);
    answer(request, response, requests.length);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

export function json(response, value, status = 200, headers = {}) {
  response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json', ...headers });
  response.end(JSON.stringify(value));
}

export function problem(response, code, status, headers = {}) {
  json(response, { type: `urn:quipu:problem:${code}`, title: code, status, detail: `scripted ${code}`, code }, status, headers);
}
