"""Hosts with guests that a test makes, and a Prometheus that scrapes them."""

import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROBE = ROOT / "target/guests/components/probe.wasm"
MARK = b"QUIPU-PROBE-CONFIG: "
"""Where a component of `tests/probe` has its configuration: see `tests/src/probe.rs`."""
PROBE_BYTES = 16 << 10
PATIENCE_S = 120


class Failed(Exception):
    """A check that failed."""


def until(what: str, is_so: Callable[[], object], patience_s: float = PATIENCE_S) -> object:
    """Waits until something is so, and returns it."""
    end = time.monotonic() + patience_s
    while not (found := is_so()):
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.2)
    return found


def probe(folder: Path, template: Path, name: str, **other: object) -> Path:
    """Writes a component whose manifest and behaviour are data."""
    config = {
        "name": name, "version": "1.0.0", "state": 1, "migrations": [], "events": [["noted", 1, []]],
        "unchanged": [], "steps": [], "projections": [], "snapshots": "as-it-is", **other,
    }
    component = template.read_bytes()
    begin = component.index(MARK) + len(MARK)
    text = json.dumps(config, separators=(",", ":")).encode()
    room = PROBE_BYTES - len(MARK)
    assert len(text) <= room, "the configuration is too long"
    file = folder / f"{name}-{config['version']}.wasm"
    file.write_bytes(component[:begin] + text.ljust(room) + component[begin + room :])
    return file


def projection(category: str, name: str) -> dict:
    """A projection of the probe: events name the keys of its documents, and what fails."""
    return {"name": name, "version": 1, "sources": [{"category": category}], "keys": "body"}


def certificate(folder: Path, days: int) -> None:
    """Writes a certificate that signs itself, `tls.crt`, and its key."""
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", "/CN=localhost", "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE",
        "-days", str(days),
        "-keyout", folder / "tls.key", "-out", folder / "tls.crt",
    ]
    subprocess.run(command, check=True, capture_output=True)


class Host:
    """A running host with a SQLite store, and the program as its client."""

    def __init__(self, quipu: Path, folder: Path, config: str = "", is_tls: bool = False) -> None:
        self.quipu, self.folder, self.token, self.is_tls = quipu, folder, "", is_tls
        self.store = folder / "quipu.db"
        if is_tls:
            certificate(folder, 365)
            config += f'[tls]\ncertificate = "{folder}/tls.crt"\nkey = "{folder}/tls.key"\n'
        (folder / "quipu.toml").write_text(config)
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [quipu, "serve", "--store", f"sqlite:{self.store}", "--listen", "127.0.0.1:0", "--config", folder / "quipu.toml"],
            env=self.environment(), stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise Failed(f"the host did not start: {(folder / 'log').read_text()}")
        self.url = line.split()[1]
        self.address = urllib.parse.urlsplit(self.url).netloc

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("QUIPU_")}

    def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        token = self.token if token is None else token
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        context = ssl.create_default_context(cafile=str(self.folder / "tls.crt")) if self.is_tls else None
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def get(self, path: str) -> str:
        return self.expected(200, "GET", path)

    def post(self, path: str, body: object) -> dict:
        text = self.expected(200, "POST", path, body)
        return json.loads(text)

    def expected(self, status: int, method: str, path: str, body: object = None) -> str:
        found, text = self.ask(method, path, body)
        if found != status:
            raise Failed(f"{method} {path}: expected {status}, found {found}: {text}")
        return text

    def command(self, stream: str, body: dict) -> tuple[int, str]:
        """Sends the command `note` of the probe, which decides one event with this body."""
        return self.ask("POST", f"/v1/streams/{stream}/commands", {"type": "note", "data": [["noted", body]]})

    def note(self, stream: str, body: dict) -> None:
        status, text = self.command(stream, body)
        if status != 200:
            raise Failed(f"{stream}: expected 200, found {status}: {text}")

    def append(self, stream: str) -> None:
        """Appends an event that needs no decision."""
        self.expected(200, "POST", f"/v1/streams/{stream}/events", {"events": [{"type": "noted", "data": {}}]})

    def run(self, *args: object, codes: tuple[int, ...] = (0,)) -> str:
        """Runs the program as a client."""
        environment = self.environment() | {"QUIPU_URL": self.url.replace("127.0.0.1", "localhost")}
        if self.is_tls:
            environment["QUIPU_CA"] = str(self.folder / "tls.crt")
        if self.token:
            environment["QUIPU_TOKEN"] = self.token
        command = [str(self.quipu), *map(str, args)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in codes:
            raise Failed(f"quipu {' '.join(command[1:])}: {done.stdout}{done.stderr}")
        return done.stdout

    def value(self, series: str) -> float | None:
        """The value of a series on the page; None when there is no such series."""
        lines = (line.rpartition(" ") for line in self.get("/metrics").splitlines())
        return next((float(value) for name, _, value in lines if name == series), None)

    def until(self, series: str, value: float) -> None:
        until(f"{series} is {value}", lambda: self.value(series) == value)

    def sql(self, *statements: str) -> None:
        """Changes the store from outside."""
        store = sqlite3.connect(self.store, timeout=60, isolation_level=None)
        for statement in statements:
            store.execute(statement)
        store.close()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.log.close()


class Prometheus:
    """A Prometheus that scrapes hosts, and evaluates rules, every second."""

    def __init__(self, folder: Path, hosts: list[Host], rules: Path) -> None:
        config = folder / "prometheus.json"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [self.scraped(host) for host in hosts],
        }))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.place = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = (folder / "prometheus.log").open("w")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb",
             f"--web.listen-address={self.place}", "--log.level=error"], stderr=self.log,
        )
        wanted = {host.address for host in hosts}
        until("Prometheus reads every host", lambda: self.scraping() == wanted)

    @staticmethod
    def scraped(host: Host) -> dict:
        """How a host is read. Every host has the job `quipu`, as the rules want."""
        return {
            "job_name": host.address,
            "scheme": "https" if host.is_tls else "http",
            "tls_config": {"insecure_skip_verify": True},
            **({"authorization": {"credentials": host.token}} if host.token else {}),
            "static_configs": [{"targets": [host.address], "labels": {"job": "quipu"}}],
        }

    def ask(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://{self.place}/api/v1/{path}", timeout=30) as answer:
            found = json.load(answer)
        if found["status"] != "success":
            raise Failed(f"{path}: {found}")
        return found["data"]

    def query(self, text: str) -> list[dict]:
        return self.ask(f"query?{urllib.parse.urlencode({'query': text})}")["result"]

    def scraping(self) -> set[str]:
        try:
            return {one["metric"]["instance"] for one in self.query("quipu_build_info")}
        except OSError:
            return set()

    def rules(self) -> list[dict]:
        """The alerts; none may have failed."""
        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        if failed := [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")]:
            raise Failed(f"rules that can't be evaluated: {failed}")
        return rules

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with the host."""
        alerts = (alert for rule in self.rules() for alert in rule["alerts"])
        return {(one["labels"]["instance"], one["labels"]["alertname"]) for one in alerts if one["state"] == "firing"}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.log.close()
