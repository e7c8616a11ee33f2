#!/usr/bin/env python3
"""Recovery of a PostgreSQL store to a point in time with pgBackRest, as the page about backups says.

    python3 tests/pgbackrest/run.py --quipu target/debug/quipu [--component target/guests/components/account.wasm]
        [--events 2000] [--keep FOLDER]

Needs the Debian packages `postgresql` and `pgbackrest`. A host with a decider appends and executes commands while the full
backup is made. After that, more of both follow, and the time is noted; then still more. The server is killed and its data
removed. After the restore to that time the log equals the export that was made then, the host goes on after a gap of
positions and on the restored state, and `quipu verify` finds every stored byte and every decision as it was.
"""

import argparse
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

PGBACKREST = """
[global]
repo1-path={folder}/repository
repo1-retention-full=2
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=only-for-this-run
log-path={folder}
lock-path={folder}
spool-path={folder}
start-fast=y

[bank]
pg1-path={folder}/data
pg1-port={port}
pg1-socket-path={folder}
pg1-user=quipu
"""


class Server:
    """A PostgreSQL server whose log of changes pgBackRest archives."""

    def __init__(self, folder: Path, port: int) -> None:
        if not PROGRAMS:
            sys.exit("PostgreSQL is missing: apt-get install postgresql")
        if not shutil.which("pgbackrest"):
            sys.exit("pgBackRest is missing: apt-get install pgbackrest")
        self.folder, self.port, self.user = folder, port, None
        if os.getuid() == 0:
            self.user = "postgres"
            record = pwd.getpwnam(self.user)
            os.chown(folder, record.pw_uid, record.pw_gid)
        self.config = folder / "pgbackrest.conf"
        self.config.write_text(PGBACKREST.format(folder=folder, port=port))
        self.url = f"postgres://quipu@127.0.0.1:{port}/postgres"
        self.postgres("initdb", "--pgdata", folder / "data", "--username", "quipu", "--auth", "trust", "--encoding", "UTF8")

    def run(self, *command: object) -> str:
        command = [str(part) for part in command]
        # The server inherits what it is started with, so its output must not be a pipe.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, user=self.user, cwd="/", stdout=output, stderr=subprocess.STDOUT)
            output.seek(0)
            text = output.read()
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {text}")
        return text

    def postgres(self, program: str, *arguments: object) -> str:
        return self.run(PROGRAMS[-1] / program, *arguments)

    def pgbackrest(self, *arguments: object) -> str:
        return self.run("pgbackrest", f"--config={self.config}", "--stanza=bank", *arguments)

    def start(self) -> None:
        archive = f"pgbackrest --config={self.config} --stanza=bank archive-push %p"
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} "
            f"-c archive_mode=on -c archive_command='{archive}'"
        )
        data = self.folder / "data"
        self.postgres("pg_ctl", "--pgdata", data, "--wait", "--timeout=300", "--log", self.folder / "log", "-o", options, "start")

    def query(self, sql: str) -> str:
        return self.postgres("psql", "-XAtc", sql, self.url).strip()

    def lose(self) -> None:
        """Kills the server and removes all that it has stored."""
        data = self.folder / "data"
        os.kill(int((data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        time.sleep(2)
        shutil.rmtree(data)
        self.run("mkdir", "-m", "0700", data)


class Host:
    """A host of the store."""

    def __init__(self, program: str, server: Server) -> None:
        command = [program, "serve", "--store", server.url, "--listen", "127.0.0.1:0"]
        self.log = (server.folder / "host.log").open("a+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.log.seek(0)
            sys.exit(f"the host is not ready: {line}{self.log.read()}")
        self.url = line.split()[1]

    def append(self, count: int, stream: str) -> int:
        """Appends events one by one, and returns the last position."""
        position = 0
        for number in range(count):
            body = json.dumps({"events": [{"type": "measured", "data": {"n": number}}]}).encode()
            headers = {"content-type": "application/json"}
            request = urllib.request.Request(f"{self.url}/v1/streams/{stream}/events", body, headers)
            position = json.load(urllib.request.urlopen(request, timeout=60))["position"]
        return position

    def execute(self, count: int, stream: str, name: str = "deposit", data: dict | None = None) -> None:
        """Executes commands one by one."""
        for _ in range(count):
            body = json.dumps({"type": name, "data": data or {"amount": 1}}).encode()
            headers = {"content-type": "application/json"}
            request = urllib.request.Request(f"{self.url}/v1/streams/{stream}/commands", body, headers)
            urllib.request.urlopen(request, timeout=60).read()

    def balance(self, stream: str) -> int:
        """The balance of an account."""
        with urllib.request.urlopen(f"{self.url}/v1/streams/{stream}/state", timeout=60) as answer:
            return json.load(answer)["state"]["balance"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)


def quipu(program: str, *arguments: str) -> bytes:
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"quipu {' '.join(arguments)} ended with {done.returncode}: {done.stdout.decode()}")
    return done.stdout


def content(export: bytes) -> list[bytes]:
    """The lines of an export that have commits and events. The first and the last one describe the export."""
    return [line for line in export.splitlines() if b'"specversion"' in line]


def rehearse(program: str, component: Path, count: int, folder: Path, port: int) -> None:
    server = Server(folder, port)
    server.start()
    server.pgbackrest("stanza-create")
    server.pgbackrest("check")
    host = Host(program, server)

    quipu(program, "deploy", str(component), "--url", host.url)
    host.execute(1, "account-1", "open", {"owner": "ann"})

    writing = [
        threading.Thread(target=host.append, args=(count, "sensor-1")),
        threading.Thread(target=host.execute, args=(count, "account-1")),
    ]
    for thread in writing:
        thread.start()
    begun = time.monotonic()
    server.pgbackrest("--type=full", "backup")
    print(f"full backup under load: {time.monotonic() - begun:.1f} s")
    for thread in writing:
        thread.join()
    quipu(program, "backup", "--report", "--store", server.url)
    host.append(count, "sensor-2")
    host.execute(count, "account-1")

    time.sleep(1)
    target = server.query("SELECT now()")
    expected = content(quipu(program, "export", "--url", host.url))
    time.sleep(1)
    host.execute(count, "account-1")
    last = host.append(count, "sensor-3")
    server.query("SELECT pg_switch_wal()")
    host.process.kill()
    host.process.wait()
    server.lose()

    begun = time.monotonic()
    server.pgbackrest("--type=time", f"--target={target}", "--target-action=promote", "restore")
    server.start()
    while server.query("SELECT pg_is_in_recovery()") == "t":
        time.sleep(0.1)
    print(f"restored to {target}: {time.monotonic() - begun:.1f} s")

    restored = content(quipu(program, "export", "--store", server.url))
    if restored != expected:
        sys.exit(f"the log differs: {len(restored)} lines, expected {len(expected)}")
    host = Host(program, server)
    if host.balance("account-1") != 2 * count:
        sys.exit(f"the balance is {host.balance('account-1')}, expected {2 * count}")
    host.execute(1, "account-1")
    position = host.append(1, "sensor-1")
    # Every command is decided a second time, and every stored byte is compared with its digest.
    verified = quipu(program, "verify", "--projections", "--url", host.url).decode().strip()
    print(verified)
    if f"{2 * count + 2:,} commands re-decided" not in verified:
        sys.exit(f"not all of {2 * count + 2} commands were re-decided")
    host.stop()
    if position <= last:
        sys.exit(f"position {position} was used before the restore, which had come to {last}")
    print(f"{len(restored)} lines of the export as they were; the host goes on at position {position}, after {last}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", required=True)
    parser.add_argument("--component", type=Path, default=Path("target/guests/components/account.wasm"))
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--port", type=int, default=54399)
    parser.add_argument("--keep", type=Path, help="a folder that stays")
    options = parser.parse_args()
    program = str(Path(options.quipu).resolve())
    component = options.component.resolve()
    if options.keep:
        options.keep.mkdir(parents=True)
        return rehearse(program, component, options.events, options.keep.resolve(), options.port)
    with tempfile.TemporaryDirectory() as folder:
        rehearse(program, component, options.events, Path(folder), options.port)


if __name__ == "__main__":
    main()
