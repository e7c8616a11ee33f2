#!/usr/bin/env python3
"""Measures what open consoles cost: commands per second without and with 20 of them, from 20 addresses.

    python3 tests/browser/consoles.py --quipu target/debug/quipu [--consoles 20] [--commands 4000] [--rounds 5]

Each console refreshes the overview every 5 s, as its button does. In a third part each follows the log live. The parts
alternate, and the medians are compared.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from contextlib import closing
from pathlib import Path

REFRESH_S = 5


class Consoles:
    """Open consoles, each in a thread of its own."""

    def __init__(self, url: str, count: int, path: str) -> None:
        self.host, self.path, self.pages, self.bytes = urllib.parse.urlsplit(url).netloc, path, 0, 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.read, args=(number, number / count), daemon=True) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def read(self, number: int, begin: float) -> None:
        # People do not read at the same moment, and not from the same machine.
        self.over.wait(begin * REFRESH_S)
        address = (f"127.0.1.{1 + number}", 0)
        while not self.over.is_set():
            try:
                with closing(http.client.HTTPConnection(self.host, timeout=60, source_address=address)) as connection:
                    connection.request("GET", self.path)
                    answer = connection.getresponse()
                    assert answer.status == 200, answer.read()
                    while part := answer.read1(1 << 16):
                        self.bytes += len(part)
                        if self.over.is_set():
                            return
            except OSError as error:
                print("a console failed:", error, file=sys.stderr)
            self.pages += 1
            self.over.wait(REFRESH_S)

    def close(self) -> None:
        self.over.set()


def load(quipu: str, url: str, folder: str, commands: int, part: str) -> float:
    """Commands per second of new applications."""
    file = Path(folder) / "commands.ndjson"
    lines = ({"stream": f"loan-{part}-{number}", "type": "submit", "data": {"amount": 1_000}} for number in range(commands))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [quipu, "execute", "--file", file, "--url", url, "--json", "--in-flight", "64"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    said = json.loads(said.splitlines()[-1])
    assert said["accepted"] == commands, said
    return commands / said["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", required=True, type=Path)
    parser.add_argument("--consoles", default=20, type=int)
    parser.add_argument("--commands", default=4_000, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    given = parser.parse_args()
    quipu = str(given.quipu.resolve())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([quipu, "demo", "--commands", "400", "--keep", f"{folder}/demo"], check=True, stdout=subprocess.DEVNULL)
        store = next(Path(f"{folder}/demo").glob("*.db"))
        host = subprocess.Popen([quipu, "serve", "--store", f"sqlite:{store}", "--listen", "127.0.0.1:0"], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            url = host.stdout.readline().split()[1]
            load(quipu, url, folder, given.commands, "first")
            found: dict[str, list[float]] = {"none": [], "overview": [], "live log": []}
            for number in range(given.rounds):
                for name, path in [("none", None), ("overview", "/console"), ("live log", "/console/log/live")]:
                    consoles = Consoles(url, given.consoles, path) if path else None
                    rate = load(quipu, url, folder, given.commands, f"{name[0]}{number}")
                    found[name].append(rate)
                    if consoles:
                        consoles.close()
                    print(f"{name}: {rate:.0f} commands/s", f"{consoles.pages} pages, {consoles.bytes >> 10} KiB" if consoles else "")
            base = statistics.median(found["none"])
            for name, rates in found.items():
                median = statistics.median(rates)
                print(f"{name}: median {median:.0f} commands/s, {100 * (median / base - 1):+.1f} %")
        finally:
            host.terminate()
            host.wait()


if __name__ == "__main__":
    sys.exit(main())
