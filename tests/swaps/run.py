#!/usr/bin/env python3
"""One stream, continued by guests of three languages while the host runs.

    python3 tests/swaps/run.py --quipu target/debug/quipu [--store postgres://…] RUST.wasm TYPESCRIPT.wasm PYTHON.wasm

The components are the account in Rust (`example-guests/account`), TypeScript and Python
(`tests/guests`). Each decides some commands, and leaves a snapshot that the next one continues from;
at the end the first one does so too. Before each swap a preflight decides everything recorded with
the next guest, so the events and the rejections of all guests are compared. Then each state is
compared with the one before the swap, and every snapshot with the events.

The store has to be empty; without --store it is a new SQLite file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

READY_S_MAX = 60
STREAM = "account-1"
LIMITS = """
[guests]
# A program with debug information takes long to compile the component of Python.
compile_memory_bytes_max = 8589934592
compile_time_max_ms = 600000

[http]
upload_time_max_ms = 1200000
"""

VALIDATE = """
[engine]
validate = { account = "enforce" }
"""

ROUNDS = [
    [("open", {"owner": "Zoë"}), ("deposit", {"amount": 9007199254740990}), ("withdraw", {"amount": 1})],
    [("deposit", {"amount": 2}), ("withdraw", {"amount": 9007199254740000})],
    [("deposit", {"amount": 10}), ("withdraw", {"amount": 1000})],
    [("close", {})],
]
"""The accepted commands of each guest."""

REFUSED = [
    ("open", {"owner": "eve"}, "already-open"),
    ("deposit", {"amount": 0}, "invalid-amount"),
    ("withdraw", {"amount": -5}, "invalid-amount"),
    ("deposit", {"amount": 9007199254740991}, "balance-limit"),
]
"""Commands that each guest rejects while the account is open, with the code."""

EVENTS = [
    ("opened", {"owner": "Zoë"}),
    ("deposited", {"amount": 9007199254740990}),
    ("withdrawn", {"amount": 1}),
    ("deposited", {"amount": 2}),
    ("withdrawn", {"amount": 9007199254740000}),
    ("deposited", {"amount": 10}),
    ("withdrawn", {"amount": 1000}),
    ("closed", {}),
]


class Failed(Exception):
    """A check that failed."""


class Host:
    """A running host, and the program as its client."""

    def __init__(self, program: str, folder: Path, store: str, config_text: str) -> None:
        self.program = program
        config = folder / "quipu.toml"
        config.write_text(config_text)
        command = [program, "serve", "--store", store, "--listen", "127.0.0.1:0", "--config", str(config)]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.log.seek(0)
            raise Failed(f"the host did not start: {self.log.read()}")
        self.url = line.removeprefix("ready ").strip()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(READY_S_MAX)
        self.log.close()

    def tried(self, *args: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "QUIPU_URL": self.url}
        return subprocess.run([self.program, *args], env=environment, capture_output=True, text=True, check=False)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        done = self.tried(*args)
        if done.returncode != 0:
            raise Failed(f"quipu {' '.join(args)}: {done.stderr}")
        return done

    def events(self) -> list[tuple[str, object]]:
        lines = self.run("stream", STREAM, "--json").stdout.splitlines()
        events = [json.loads(line) for line in lines]
        return [(event["type"], event["data"]) for event in events]

    def state(self) -> object:
        return json.loads(self.run("stream", STREAM, "--state", "--json").stdout)["state"]


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Failed(f"{what}: expected {expected}, found {found}")


def swap(host: Host, component: str) -> None:
    """Activates a component. Nothing may speak against it: neither a decision nor a snapshot."""
    found = json.loads(host.run("preflight", component, "--json").stdout)
    expect(f"{component}: objections", found["objections"], [])
    for judged in found["commands"]:
        same = judged["same"] + judged["refused_same"]
        others = {name: judged[name] for name in ("different", "rejected", "refused_other", "accepted")}
        expect(f"{component}: {judged['command']}", others, dict.fromkeys(others, 0))
        if same == 0:
            raise Failed(f"{component}: no command {judged['command']} was decided a second time")
    host.run("deploy", component)


def decide(host: Host, commands: list[tuple[str, dict]]) -> None:
    for name, data in commands:
        host.run("execute", STREAM, name, json.dumps(data))


def reject(host: Host) -> None:
    for name, data, code in REFUSED:
        done = host.tried("execute", STREAM, name, json.dumps(data))
        if f"rejected as {code}:" not in done.stderr:
            raise Failed(f"{name} {data}: expected the rejection {code}, found {done.stderr}{done.stdout}")


def mismatch(host: Host) -> None:
    """Data that do not match the schema are refused before the guest reads them."""
    done = host.tried("execute", STREAM, "deposit", '{"amount": "5"}')
    text = "command deposit does not match its schema: /amount: type: expected integer, found string"
    if text not in done.stderr:
        raise Failed(f"a deposit of a text: expected {text!r}, found {done.stderr}")


def check(host: Host, components: list[str]) -> None:
    if host.run("deployments", "--json").stdout:
        raise Failed("the store is not empty: expected one without deployments")
    state, version = None, 0
    for number, (component, commands) in enumerate(zip([*components, components[0]], ROUNDS)):
        swap(host, component)
        if number > 0:
            expect(f"{component}: the state after the swap", host.state(), state)
        decide(host, commands)
        version += len(commands)
        if number < len(components):
            reject(host)
            # The account in Rust declares no schemas.
            if number > 0:
                mismatch(host)
        taken = json.loads(host.run("snapshot", STREAM, "--json").stdout)
        expect(f"{component}: the version of the snapshot", taken["version"], version)
        checked = json.loads(host.run("snapshot", "--check", "account", "--json").stdout)
        worth = {name: checked[name] for name in ("agree", "differ", "unusable")}
        if worth["agree"] == 0 or worth["differ"] + worth["unusable"] > 0:
            raise Failed(f"{component}: snapshots: {worth}")
        state = host.state()
    expect("the events", host.events(), EVENTS)
    modules = {line["digest"] for line in map(json.loads, host.run("deployments", "--json").stdout.splitlines())}
    expect("the number of guests", len(modules), len(components))
    host.run("verify")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", required=True, help="the program")
    parser.add_argument("--store", help="an empty store, for example postgres://…?schema=swaps")
    parser.add_argument("components", nargs=3, help="the account in Rust, TypeScript and Python")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quipu-swaps-") as folder:
        try:
            host = Host(given.quipu, Path(folder), given.store or f"sqlite:{folder}/swaps.db", VALIDATE + LIMITS)
            try:
                check(host, given.components)
            finally:
                host.stop()
        except Failed as failed:
            print(f"error: {failed}", file=sys.stderr)
            return 1
    print(f"{len(EVENTS)} events of {len(given.components)} guests, with crossing snapshots")
    return 0


if __name__ == "__main__":
    sys.exit(main())
