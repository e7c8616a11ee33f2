#!/usr/bin/env python3
"""Rolling restarts of two hosts behind HAProxy, under load, with clients that never retry.

    python3 tests/haproxy/run.py --quipu target/debug/quipu [--restarts 20] [--clients 8] [--upgrade] [--from PROGRAM]

Needs the Debian packages `haproxy` and `postgresql`. The hosts share a store in a PostgreSQL server
of their own. Each client keeps one connection to HAProxy and sends appends and reads. One host after the
other gets SIGTERM and is started again. No request may fail, and each append is stored once.

With --upgrade, the store gets an additive migration of a later version halfway, while both hosts run. With --from, the
hosts are first started with an older program. Then the new one migrates the store while they run. The first two restarts
replace the older program by the new one, the next two the new one by the older one, and so on: so each restart changes the
program of a host, and half of the time the hosts have different ones.
"""

import argparse
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

READY_S_MAX = 60
# What an additive migration of a later program does.
ADDITIVE = """
SET search_path TO bank;
ALTER TABLE events ADD COLUMN later bytea;
CREATE TABLE later (later_id bigint PRIMARY KEY);
INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (9998, 'later', TRUE, '\\x00', 0);
"""
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

HAPROXY = """
global
    maxconn 1000
    stats socket {stats} mode 600

defaults
    mode http
    timeout connect 2s
    # /readyz answers within a second.
    timeout check 2s
    timeout client 60s
    timeout server 60s
    # A connection that the host refuses carried no request.
    retries 3
    option redispatch
    retry-on conn-failure

frontend quipu
    bind 127.0.0.1:{port}
    default_backend hosts

backend hosts
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 200ms fall 2 rise 1
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""

# The delay is longer than HAProxy needs to notice, and requests in flight are answered meanwhile.
CONFIG = """
listen = "127.0.0.1:{port}"
store = "{store}"

[http]
drain_delay_ms = 3000
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Postgres:
    """A server for this run."""

    def __init__(self, folder: Path) -> None:
        if not PROGRAMS:
            sys.exit("PostgreSQL is missing: apt-get install postgresql")
        self.programs = PROGRAMS[-1]
        self.user = None
        if os.getuid() == 0:
            self.user = "postgres"
            record = pwd.getpwnam(self.user)
            os.chown(folder, record.pw_uid, record.pw_gid)
        self.data = folder / "data"
        self.port = free_port()
        self.run("initdb", "--pgdata", self.data, "--username", "quipu", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run("pg_ctl", "--pgdata", self.data, "--wait", "--log", folder / "log", "-o", options, "start")
        self.url = f"postgres://quipu@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(command, user=self.user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{program}: {done.stderr}")

    def execute(self, sql: str) -> None:
        self.run("psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--command", sql, self.url)

    def stop(self) -> None:
        self.run("pg_ctl", "--pgdata", self.data, "--mode", "immediate", "stop")


class Host:
    """A host that is started and stopped repeatedly, always at the same port."""

    def __init__(self, program: str, folder: Path, store: str, name: str) -> None:
        self.program, self.name, self.port = program, name, free_port()
        self.config = folder / f"{name}.toml"
        self.config.write_text(CONFIG.format(port=self.port, store=store))
        self.log = (folder / f"{name}.log").open("w+")
        self.start()

    def start(self) -> None:
        command = [self.program, "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.log.seek(0)
            sys.exit(f"{self.name} is not ready: {line}{self.log.read()}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=READY_S_MAX)
        if code:
            sys.exit(f"{self.name} ended with {code}")


class Client(threading.Thread):
    """Sends one request after the other, and repeats none."""

    def __init__(self, port: int, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.stream, self.stop = port, f"sensor-{number}", stop
        self.appended, self.read, self.failures = 0, 0, []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.stop.is_set():
            events = {"events": [{"type": "measured", "data": {"n": self.appended + 1}}]}
            if self.request(connection, "POST", f"/v1/streams/{self.stream}/events", events) is not None:
                self.appended += 1
            page = self.request(connection, "GET", f"/v1/streams/{self.stream}/events?direction=backward&limit=1")
            if page is not None:
                self.read += 1
                if page["version"] != self.appended:
                    self.failures.append(f"{self.stream}: version {page['version']}, expected {self.appended}")

    def request(self, connection: http.client.HTTPConnection, method: str, path: str, body: dict | None = None) -> dict | None:
        try:
            headers = {"content-type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200:
                return json.loads(text)
            self.failures.append(f"{method} {path}: {answer.status} {text[:300]!r}")
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{method} {path}: {error!r}")
            connection.close()
        return None


def until_answered(port: int) -> None:
    end = time.monotonic() + READY_S_MAX
    while time.monotonic() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"nothing answers at port {port}")


def until_up(stats: Path) -> None:
    """Waits until HAProxy takes both hosts: one that it does not know yet can't replace the other."""
    end = time.monotonic() + READY_S_MAX
    states = []
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(stats))
            asking.sendall(b"show stat\n")
            text = asking.makefile().read()
        rows = [line.split(",") for line in text.splitlines() if line.startswith("hosts,")]
        states = [row[17] for row in rows if row[1] in ("one", "two")]
        if states == ["UP", "UP"]:
            return
        time.sleep(0.05)
    sys.exit(f"HAProxy sees the hosts as {states}")


def until_appended(clients: list, more: int) -> None:
    """Waits for appends, or for the first that fails."""
    wanted = sum(client.appended for client in clients) + more
    while sum(client.appended for client in clients) < wanted and not any(client.failures for client in clients):
        time.sleep(0.05)


def program_after(restart: int, arguments: argparse.Namespace) -> str:
    """The program that a restart starts. With --from it is another one than before."""
    is_new = restart // 2 % 2 == 0
    return arguments.quipu if is_new or not arguments.earlier else arguments.earlier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quipu", required=True)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--upgrade", action="store_true")
    parser.add_argument("--from", dest="earlier")
    arguments = parser.parse_args()
    if not shutil.which("haproxy", path="/usr/sbin:/usr/bin"):
        sys.exit("haproxy is missing: apt-get install haproxy")
    folder = Path(tempfile.mkdtemp(prefix="quipu-haproxy-"))
    cluster = Path(tempfile.mkdtemp(prefix="quipu-haproxy-pg-"))
    postgres = Postgres(cluster)
    hosts, proxy, clients = [], None, []
    try:
        store = f"{postgres.url}?schema=bank"
        hosts = [Host(arguments.earlier or arguments.quipu, folder, store, name) for name in ("one", "two")]
        port = free_port()
        config = folder / "haproxy.cfg"
        stats = folder / "stats"
        config.write_text(HAPROXY.format(port=port, one=hosts[0].port, two=hosts[1].port, stats=stats))
        haproxy_log = (folder / "haproxy.log").open("w")
        proxy = subprocess.Popen(["/usr/sbin/haproxy", "-f", str(config)], stdout=haproxy_log, stderr=haproxy_log)
        until_answered(port)
        until_up(stats)
        stop = threading.Event()
        clients = [Client(port, number, stop) for number in range(arguments.clients)]
        for client in clients:
            client.start()
        if arguments.earlier:
            until_appended(clients, 10)
            migrated = subprocess.run([arguments.quipu, "migrate", "--store", store], capture_output=True, text=True)
            print("migrate:", migrated.stdout.strip(), migrated.stderr.strip(), flush=True)
            if migrated.returncode:
                sys.exit(1)
            until_appended(clients, 10)
        replaced = 0
        for number in range(arguments.restarts):
            if arguments.upgrade and number == arguments.restarts // 2:
                postgres.execute(ADDITIVE)
                print("migrated", flush=True)
            host = hosts[number % 2]
            host.stop()
            before, host.program = host.program, program_after(number, arguments)
            replaced += before != host.program
            host.start()
            until_up(stats)
            until_appended(clients, 10)
            print(f"restart {number + 1}: {host.name}, {sum(client.appended for client in clients)} appends", flush=True)
        stop.set()
        for client in clients:
            client.join(READY_S_MAX)
        appended, read = (sum(getattr(client, name) for client in clients) for name in ("appended", "read"))
        failures = [failure for client in clients for failure in client.failures]
        for failure in failures[:20]:
            print(failure)
        print(f"{arguments.restarts} restarts, {replaced} with another program, {appended} appends, {read} reads, {len(failures)} failed")
        if failures or not appended or (arguments.earlier and replaced != arguments.restarts):
            sys.exit(1)
    finally:
        for host in hosts:
            host.process.kill()
            host.process.wait()
        if proxy:
            proxy.terminate()
            proxy.wait()
        postgres.stop()
        shutil.rmtree(cluster, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
