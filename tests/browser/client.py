#!/usr/bin/env python3
"""The client for TypeScript in Chromium: a page of another origin loads its modules as they are, without a bundler.

    python3 tests/browser/client.py --quipu target/debug/quipu --modules FOLDER [--chromium PROGRAM]

FOLDER has the components of `example-guests/loan` and `example-guests/loan-views`. The page executes commands, reads a document with `after`, and subscribes. Then the host is killed, and started on the same store
and address: the subscription resumes, and delivers each event once. A page whose origin is not in `origins` gets nothing.
"""

import argparse
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from console import Browser

SOURCES = Path(__file__).resolve().parents[2] / "clients/typescript/src"
ALL_S = 600
STREAM = "loan-browser"
PAGE = """<!doctype html><title>client</title>
<script type="module">
import { Quipu, RejectionError } from "./src/index.js";
const quipu = new Quipu({ url: "HOST" }), stream = "STREAM";
globalThis.quipu = quipu;
globalThis.page = { events: [], caughtUp: 0, lost: [], ended: null };

globalThis.decide = async (type, data) => {
  const { version, position, replayed } = await quipu.execute(stream, { type, data }, { id: type });
  return { version, position, replayed };
};

globalThis.codeOf = async (type, data) => {
  const error = await quipu.execute(stream, { type, data }).then(() => null, (thrown) => thrown);
  return error instanceof RejectionError ? quipu.rejectionOf(stream, error).code : `no rejection: ${error}`;
};

globalThis.read = async (after) => {
  const { document, position } = await quipu.document("applications", "browser", { after, timeout: 30_000 });
  return { status: document.status, events: document.events, isFresh: position >= after };
};

globalThis.subscribe = () => {
  const options = {
    onCaughtUp: () => { page.caughtUp += 1; },
    onReconnect: (error) => { page.lost.push(error.code); },
  };
  (async () => {
    for await (const { version, type } of quipu.subscribeStream(stream, options)) page.events.push(`${version} ${type}`);
  })().catch((error) => { page.ended = String(error); });
};
document.title = "ready";
</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    """The page, and the modules of the client."""

    host = ""

    def do_GET(self) -> None:
        name = self.path.removeprefix("/src/")
        if name == "/":
            page = PAGE.replace("HOST", self.host).replace("STREAM", STREAM)
            self.answer(200, "text/html", page.encode())
        elif name in os.listdir(SOURCES):
            self.answer(200, "text/javascript", (SOURCES / name).read_bytes())
        else:
            self.answer(404, "text/plain", b"")

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Host:
    """A host that can be killed, and started on the same store and address."""

    def __init__(self, quipu: Path, modules: Path, origin: str, folder: Path) -> None:
        config = folder / "quipu.toml"
        config.write_text(f"[http]\norigins = [{json.dumps(origin)}]\n")
        store = ["--store", f"sqlite:{folder}/client.db", "--modules", str(modules)]
        self.command = [str(quipu.resolve()), "serve", *store, "--config", str(config), "--listen"]
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}
        self.start("127.0.0.1:0")

    def start(self, listen: str) -> None:
        self.process = subprocess.Popen([*self.command, listen], env=self.environment, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def restart(self) -> None:
        self.start(self.url.removeprefix("http://"))


def expect(what: str, found: object, expected: object) -> None:
    assert found == expected, f"{what}: expected {expected}, found {found}"


def works(browser: Browser, host: Host, origin: str) -> None:
    browser.open(origin)
    browser.until("document.title === 'ready'")
    submitted = browser.evaluate("decide('submit', { amount: 1000 })")
    expect("the first command", (submitted["version"], submitted["replayed"]), (1, False))
    replayed = browser.evaluate("decide('submit', { amount: 1000 })")
    expect("the same command", replayed, submitted | {"replayed": True})
    expect("a rejection", browser.evaluate("codeOf('submit', { amount: 5 })"), "already-submitted")
    document = browser.evaluate(f"read({submitted['position']})")
    expect("the document", document, {"status": "submitted", "events": 1, "isFresh": True})

    browser.evaluate("subscribe()")
    browser.until("page.caughtUp >= 1")
    browser.evaluate("decide('partly-submit')")
    browser.until("page.events.length === 2")
    host.kill()
    browser.until("page.lost.length >= 2")
    host.restart()
    browser.until("page.caughtUp >= 2")
    accepted = browser.evaluate("decide('preaccept')")
    browser.until("page.events.length >= 3")
    expect("the document after the restart", browser.evaluate(f"read({accepted['position']})")["events"], 3)
    expect("the events", browser.evaluate("page.events"), [
        "1 application-submitted",
        "2 application-partly-submitted",
        "3 application-preaccepted",
    ])
    expect("why the connection was lost", set(browser.evaluate("page.lost")), {"unreachable"})
    expect("why the subscription ended", browser.evaluate("page.ended"), None)
    thrown = [event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]
    expect("exceptions of the page", thrown, [])


def is_refused(browser: Browser, stranger: str) -> None:
    """The same page from an origin that is not listed."""
    browser.open(stranger)
    browser.until("document.title === 'ready'")
    code = "({ code }) => code"
    expect("a read", browser.evaluate(f"quipu.document('applications', 'browser').then(() => 'read', {code})"), "unreachable")
    expect("a command", browser.evaluate(f"decide('cancel').then(() => 'executed', {code})"), "unreachable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", required=True, type=Path)
    parser.add_argument("--modules", required=True, type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    given = parser.parse_args()
    # A browser that does not answer ends this program.
    signal.alarm(ALL_S)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    with tempfile.TemporaryDirectory() as folder:
        host = Host(given.quipu, given.modules, f"http://127.0.0.1:{port}", Path(folder))
        try:
            Pages.host = host.url
            browser = Browser(given.chromium, f"{folder}/profile")
            try:
                works(browser, host, f"http://127.0.0.1:{port}/")
                is_refused(browser, f"http://localhost:{port}/")
            finally:
                browser.close()
        finally:
            host.kill()
    print("the client works in a browser, and resumes after its connection was lost")


if __name__ == "__main__":
    sys.exit(main())
