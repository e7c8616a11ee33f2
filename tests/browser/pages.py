#!/usr/bin/env python3
"""Measures the pages of the console on a long log: the time of each at the host, and its bytes.

    python3 tests/browser/pages.py --quipu target/release/quipu [--events 1000000] [--reads 50]

The store is filled with raw appends to 1,000 streams, next to the demo. Each page is read one after the other over one
connection; its time is until the last byte. The first page counts with all files that it refers to.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

APPEND_EVENTS = 500
STREAMS = 1_000


def read(connection: http.client.HTTPConnection, path: str) -> tuple[bytes, float]:
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Accept": "text/html"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, f"{path}: {answer.status} {body[:300]}"
    return body, 1_000 * (time.perf_counter() - begun)


def fill(connection: http.client.HTTPConnection, count: int) -> None:
    """Appends events of a hundred bytes or so to streams in turn."""
    for begin in range(0, count, APPEND_EVENTS):
        events = [{"type": "noted", "data": {"number": begin + n, "text": "some words that a note has"}} for n in range(min(APPEND_EVENTS, count - begin))]
        stream = f"note-{begin // APPEND_EVENTS % STREAMS}"
        connection.request("POST", f"/v1/streams/{stream}/events", json.dumps({"events": events}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        if sys.stderr.isatty() and begin % 50_000 == 0:
            print(f"\r{begin:,} of {count:,} events", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def pages(first: str) -> list[str]:
    """The pages that the first page refers to, and that of a stream; of each kind one."""
    found = [link.replace("&amp;", "&") for link in re.findall(r'href="(/console/[^"#?]*)["?]', first)]
    kinds = {path.split("/")[2] + str(path.count("/")): path for path in [*found, "/console/streams/note-1"]}
    return ["/console", *(path for path in kinds.values() if "/assets/" not in path and "/sign" not in path)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", required=True, type=Path)
    parser.add_argument("--events", default=1_000_000, type=int)
    parser.add_argument("--reads", default=50, type=int)
    given = parser.parse_args()
    quipu = str(given.quipu.resolve())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([quipu, "demo", "--commands", "400", "--keep", f"{folder}/demo"], check=True, stdout=subprocess.DEVNULL)
        store = next(Path(f"{folder}/demo").glob("*.db"))
        host = subprocess.Popen([quipu, "serve", "--store", f"sqlite:{store}", "--listen", "127.0.0.1:0"], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            address = urllib.parse.urlsplit(host.stdout.readline().split()[1]).netloc
            connection = http.client.HTTPConnection(address, timeout=120)
            fill(connection, given.events)
            first = read(connection, "/console")[0].decode()
            files = dict.fromkeys(re.findall(r'(?:href|src)="([^"#]*/assets/[^"#]*)"', first))
            sizes = {path: len(read(connection, path)[0]) for path in files}
            print(f"first page: {len(first) + sum(sizes.values()):,} bytes; {len(first):,} of its own, {len(sizes)} files")
            print(f"{'median':>9} {'longest':>9} {'bytes':>9}  page")
            for path in pages(first):
                found = [read(connection, path) for _ in range(given.reads)]
                times = [ms for _, ms in found]
                print(f"{statistics.median(times):>6.1f} ms {max(times):>6.1f} ms {len(found[-1][0]):>9,}  {path}")
        finally:
            host.terminate()
            host.wait()


if __name__ == "__main__":
    sys.exit(main())
