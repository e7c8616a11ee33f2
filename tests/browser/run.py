#!/usr/bin/env python3
"""Web pages in a real browser try to act on an open host: nothing changes, and they read nothing.

    python3 tests/browser/run.py --quipu target/debug/quipu [--chromium PROGRAM]

One page has another origin. Another was loaded from its own server under a name that its owner then makes to lead to the host,
so that to the browser its requests have the same origin (DNS rebinding). The same page under a name of the host may act, which
shows that its requests reach the host.
"""

import argparse
import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
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
    const stream = new EventSource("HOST/v1/events/subscribe");
    stream.onerror = () => { said.push("subscription failed"); stream.close(); done(); };
    stream.onopen = () => { said.push("subscription opened"); done(); };
  });
  document.getElementById("said").textContent = said.join("\\n");
  document.title = "done";
})();
</script>"""


# Asks its own server to make way for the host, and then sends requests to where it came from.
REBOUND = """<!doctype html><title>trying</title><pre id="said"></pre><script>
const said = [];
const path = "/v1/streams/note-1/events", body = 'EVENT', json = { "content-type": "application/json" };
async function attempt(what, options, path) {
  try {
    const answer = await fetch(path, options);
    const text = (await answer.text()).replaceAll("\\n", " ").slice(0, 300);
    said.push(what + " " + answer.status + " " + text);
  } catch (error) {
    said.push(what + " failed " + error);
  }
}
(async () => {
  await fetch("/makes-way");
  await attempt("append", { method: "POST", body, headers: json }, path);
  await attempt("read", {}, "/v1/events");
  await attempt("console", {}, "/console");
  await new Promise((done) => {
    const stream = new EventSource("/v1/events/subscribe");
    stream.onerror = () => { said.push("subscription failed"); stream.close(); done(); };
    stream.onopen = () => { said.push("subscription opened"); stream.close(); done(); };
  });
  // From the first token on every request needs one.
  await attempt("token", { method: "POST", body: '{"name":"eve","role":"viewer"}', headers: json }, "/v1/tokens");
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


class MakesWay(http.server.ThreadingHTTPServer):
    """Serves the page, and starts the host on its own port when the page asks for it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, quipu: Path) -> None:
        super().__init__(("127.0.0.1", 0), OfRebound)
        self.quipu = quipu
        self.port = self.server_address[1]
        self.connections: list[socket.socket] = []
        self.hosts = contextlib.ExitStack()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def make_way(self, asking: socket.socket) -> None:
        self.shutdown()
        self.socket.close()
        # The browser must not reach this server through a connection that it has opened early.
        for connection in self.connections:
            if connection is not asking:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.hosts.enter_context(running(self.quipu, self.port))


class OfRebound(http.server.BaseHTTPRequestHandler):
    server: MakesWay

    def do_GET(self) -> None:
        body = REBOUND.replace("EVENT", EVENT).encode() if self.path == "/" else b""
        if self.path == "/makes-way":
            self.server.make_way(self.connection)
        # A request for an icon may have lost its connection meanwhile.
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running(quipu: Path, port: int) -> Iterator[str]:
    """The address of a host."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}
    host = subprocess.Popen(
        [quipu.resolve(), "serve", "--store", "memory:", "--listen", f"127.0.0.1:{port}"],
        env=environment, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield host.stdout.readline().split()[1]
    finally:
        host.terminate()
        host.wait()


def ask(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=60) as answered:
        return json.load(answered)


def said_by(page: str) -> list[str]:
    assert "<title>done</title>" in page, page
    return page.split('<pre id="said">')[1].split("</pre>")[0].splitlines()


def of_another_origin(quipu: Path, chromium: str) -> None:
    with running(quipu, 0) as url:
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
            said = said_by(shown(chromium, f"{origin}/"))
            print(f"{origin} to {target}: {said}")
            for line in said:
                _, *rest = line.split(" ")
                is_opaque = rest[:2] == ["opaque", "0"]
                assert rest[0] == "failed" or is_opaque or "403" in rest, line
        # The name itself leads to a refusal.
        page = shown(chromium, f"http://{NAME}:{port}/v1/events")
        assert "forbidden" in page, page
        assert ask(f"{url}/v1/events")["events"] == [], "a page has planted an event"
        assert ask(f"{url}/v1/tokens")["tokens"] == [], "a page has made a token"
    print("no page of another origin has changed or read anything")


@contextlib.contextmanager
def after_rebinding(quipu: Path, chromium: str, name: str) -> Iterator[tuple[dict[str, str], str]]:
    """What each request of the page got, and the address of the host."""
    server = MakesWay(quipu)
    with server.hosts:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = said_by(shown(chromium, f"http://{name}:{server.port}/"))
        print(f"http://{name}:{server.port}, which leads to the host: {said}")
        yield dict(line.split(" ", 1) for line in said), f"http://127.0.0.1:{server.port}"


def of_the_same_origin(quipu: Path, chromium: str) -> None:
    requests = ["append", "read", "console", "token"]
    with after_rebinding(quipu, chromium, NAME) as (said, url):
        for what in requests:
            is_refused = said[what].startswith("403 ") and f"this host is not known as {NAME}" in said[what]
            assert is_refused, f"{what}: {said[what]}"
        assert said["subscription"] == "failed", said
        assert ask(f"{url}/v1/events")["events"] == [], "a page has planted an event"
        assert ask(f"{url}/v1/tokens")["tokens"] == [], "a page has made a token"
    # Under a name of the host the same requests do what they ask for.
    with after_rebinding(quipu, chromium, "127.0.0.1") as (said, _):
        for what in requests:
            assert said[what].startswith("2"), f"{what}: {said[what]}"
        assert "planted" in said["read"], said
        assert said["subscription"] == "opened", said
    print("no page has changed or read anything after rebinding")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quipu", required=True, type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    given = parser.parse_args()
    of_another_origin(given.quipu, given.chromium)
    of_the_same_origin(given.quipu, given.chromium)


if __name__ == "__main__":
    sys.exit(main())
