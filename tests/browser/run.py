#!/usr/bin/env python3
"""Web pages in a real browser try to act on an open host: nothing changes, and they read nothing.

    python3 tests/browser/run.py --quipu target/debug/quipu [--chromium PROGRAM]

One page has another origin. Another has a name that its owner made to lead to the host.
"""

import argparse
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

NAME = "evil.example"
EVENT = '{"events":[{"type":"planted","data":{}}]}'
PAGE = """<!doctype html><title>trying</title><pre id="said"></pre>
<form id="form" method="post" enctype="text/plain" target="frame" action="HOST/v1/streams/note-1/events">
<input name='{"events":[{"type":"planted","data":{"a":"' value='"}}]}'></form><iframe name="frame"></iframe>
<script>
const said = [];
async function attempt(what, options, path) {
  try {
    const answer = await fetch("HOST" + path, options);
    said.push(what + " " + answer.type + " " + answer.status + " " + (await answer.text()).slice(0, 40));
  } catch (error) {
    said.push(what + " failed");
  }
}
(async () => {
  const path = "/v1/streams/note-1/events", body = 'EVENT';
  document.getElementById("form").submit();
  await attempt("simple", { method: "POST", mode: "no-cors", body }, path);
  await attempt("json", { method: "POST", body, headers: { "content-type": "application/json" } }, path);
  await attempt("token", { method: "POST", body: '{"name":"eve","role":"admin"}', headers: { "content-type": "application/json" } }, "/v1/tokens");
  await attempt("delete", { method: "DELETE" }, "/v1/subscriptions/orders");
  await attempt("read", {}, "/v1/events");
  navigator.sendBeacon("HOST" + path, body);
  await new Promise((done) => {
    const stream = new EventSource("HOST/v1/subscribe");
    stream.onerror = () => { said.push("subscription failed"); stream.close(); done(); };
    stream.onopen = () => { said.push("subscription opened"); done(); };
  });
  document.getElementById("said").textContent = said.join("\\n");
  document.title = "done";
})();
</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    host = ""

    def do_GET(self) -> None:
        body = PAGE.replace("HOST", self.host).replace("EVENT", EVENT).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def shown(chromium: str, url: str) -> str:
    """The page after its script has ended."""
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             f"--host-resolver-rules=MAP {NAME} 127.0.0.1", "--virtual-time-budget=20000", "--dump-dom", url],
            capture_output=True, text=True, timeout=180, check=True,
        ).stdout


def ask(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=60) as answered:
        return json.load(answered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quipu", required=True, type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    given = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}
    host = subprocess.Popen(
        [given.quipu.resolve(), "serve", "--store", "memory:", "--listen", "127.0.0.1:0"],
        env=environment, stdout=subprocess.PIPE, text=True,
    )
    try:
        url = host.stdout.readline().split()[1]
        port = url.rsplit(":", 1)[1]
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = server.server_address[1]
        for origin, target in [
            (f"http://127.0.0.1:{own}", url),
            (f"http://{NAME}:{own}", url),
            (f"http://{NAME}:{own}", f"http://{NAME}:{port}"),
        ]:
            Pages.host = target
            page = shown(given.chromium, f"{origin}/")
            assert "<title>done</title>" in page, page
            said = page.split('<pre id="said">')[1].split("</pre>")[0].splitlines()
            print(f"{origin} to {target}: {said}")
            for line in said:
                what, *rest = line.split(" ")
                is_opaque = rest[:2] == ["opaque", "0"]
                assert rest[0] == "failed" or is_opaque or "403" in rest, line
        # The name itself leads to a refusal.
        page = shown(given.chromium, f"http://{NAME}:{port}/v1/events")
        assert "forbidden" in page, page
        assert ask(f"{url}/v1/events")["events"] == [], "a page has planted an event"
        assert ask(f"{url}/v1/tokens")["tokens"] == [], "a page has made a token"
        print("no page has changed or read anything")
    finally:
        host.terminate()
        host.wait()


if __name__ == "__main__":
    sys.exit(main())
