#!/usr/bin/env python3
"""The loan decider in three languages: compared on a whole log, then swapped while commands run.

    python3 tests/swaps/loans.py --quipu target/debug/quipu [--store postgres://…] [--log FILE] \\
        RUST.wasm TYPESCRIPT.wasm PYTHON.wasm

The components are `loan`, `loan-ts` and `loan-py` of `example-guests`. The file has commands of
applications for a loan, one JSON object a line, plain or gzipped; the default is the variable
QUIPU_LOAN_LOG. The store has to be empty; without --store it is a new SQLite file.

The component in Rust executes the commands of the file. A preflight with each other component then
decides all of them a second time: none may differ. After that, clients take new applications through
the whole process while the components are swapped: Rust, TypeScript, Python, Rust. Each client also
has one application that all of them decide. No command may fail or be rejected, each event has to
name the module that was active, and `quipu verify` re-decides the whole log, each command by its
module.
"""

import argparse
import hashlib
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from run import LIMITS, Failed, Host, expect

PREFLIGHT_S_MAX = 86_400
WAIT_S_MAX = 600

SUBMITTED = [("submit", {"amount": 12_000}), ("partly-submit", {}), ("preaccept", {}), ("accept", {})]
WORK = {"item": "assess-application"}
WORKED = [("start-work", WORK), ("complete-work", WORK)]
GRANTED = [
    ("select-offer", {}),
    ("finalize", {}),
    ("create-offer", {}),
    ("send-offer", {}),
    ("return-offer", {}),
    ("accept-offer", {}),
    ("approve", {}),
    ("register", {}),
    ("activate", {}),
]
PLANNED = [("schedule-work", WORK)]
PROCESS = [*SUBMITTED, *PLANNED, *WORKED, *GRANTED]
"""The commands of a whole application, each of which is accepted with one event."""

OTHER_DECISIONS = ["lifted", "as_active", "different", "rejected", "unread", "failed", "impure", "undecided"]
OTHER_REJECTIONS = ["refused_other", "accepted", "refused_failed"]
"""What a preflight counts in place of `same` and `refused_same`."""


@dataclass
class Answered:
    """A command that was accepted, with the times of its request and its answer."""

    sent: float
    answered: float
    position: int
    module: str


@dataclass
class Swap:
    """An activation, with the times of its request and its answer."""

    module: str
    begin: float
    end: float


class Client(threading.Thread):
    """Takes one application after the other through the process, and repeats no request."""

    def __init__(self, url: str, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.address, self.number, self.stop = urlsplit(url).netloc, number, stop
        self.long = f"loan-long-{number}"
        self.answers: list[Answered] = []
        self.failures: list[str] = []
        self.applications = 0

    def run(self) -> None:
        self.connection = http.client.HTTPConnection(self.address, timeout=WAIT_S_MAX)
        self.all(self.long, [*SUBMITTED, *PLANNED])
        while not self.stop.is_set() and not self.failures:
            self.all(f"loan-short-{self.number}-{self.applications}", PROCESS)
            self.all(self.long, WORKED)
            self.applications += 1
        self.all(self.long, GRANTED)

    def all(self, stream: str, commands: list[tuple[str, dict]]) -> None:
        for name, data in commands:
            if not self.execute(stream, name, data):
                return

    def execute(self, stream: str, name: str, data: dict) -> bool:
        body = json.dumps({"type": name, "data": data})
        sent = time.monotonic()
        try:
            path = f"/v1/streams/{stream}/commands"
            self.connection.request("POST", path, body, {"content-type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{stream} {name}: {error!r}")
            return False
        if answer.status != 200:
            self.failures.append(f"{stream} {name}: {answer.status} {text[:300]!r}")
            return False
        executed = json.loads(text)
        self.answers.append(Answered(sent, time.monotonic(), executed["position"], executed["module"]))
        return True


def processor_s(host: Host) -> float:
    """Processor time of the host up to now, with its compilers that ended; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{host.process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def fill(host: Host, component: str, log: str) -> dict:
    """Executes the commands of the file."""
    if host.run("deployments", "--json").stdout:
        raise Failed("the store is not empty: expected one without deployments")
    host.run("deploy", component)
    summary = json.loads(host.run("execute", "--file", log, "--category", "loan", "--json").stdout)
    accepted, rejected = summary["accepted"], summary["rejected"]
    expect("commands of the file that failed", summary["failed"], 0)
    rate = summary["commands"] / summary["seconds"]
    counts = f"{accepted:,} accepted, {rejected:,} rejected, {rate:,.0f} a second"
    print(f"{summary['commands']:,} commands: {counts}", flush=True)
    return summary


def upload(host: Host, component: str) -> None:
    """Uploads a component, so that compiling it is not part of what is measured afterwards."""
    begin, used = time.monotonic(), processor_s(host)
    host.run("preflight", component, "--events", "1")
    took, used = time.monotonic() - begin, processor_s(host) - used
    print(f"{component}: uploaded and compiled in {took:.1f} s, {used:.1f} s of processor time", flush=True)


def preflight(host: Host, component: str, summary: dict) -> None:
    """Decides everything that is recorded a second time. Nothing may differ."""
    begin, used = time.monotonic(), processor_s(host)
    found = json.loads(host.run("preflight", component, "--seconds", str(PREFLIGHT_S_MAX), "--json").stdout)
    took, used = time.monotonic() - begin, processor_s(host) - used
    counted = ("same", "refused_same", *OTHER_DECISIONS, *OTHER_REJECTIONS)
    total = {name: sum(judged[name] for judged in found["commands"]) for name in counted}
    different = sum(total[name] for name in OTHER_DECISIONS)
    decided = total["same"] + different
    print(
        f"{component}: {decided:,} decisions, {different:,} different; {total['refused_same']:,} rejections, "
        f"{sum(total[name] for name in OTHER_REJECTIONS):,} different; {decided / took:,.0f} decisions a second, "
        f"{used / decided * 1e6:,.0f} µs of processor time for each",
        flush=True,
    )
    others = {name: total[name] for name in (*OTHER_DECISIONS, *OTHER_REJECTIONS)}
    expect(f"{component}: what differs", others, dict.fromkeys(others, 0))
    expect(f"{component}: decisions", decided, summary["accepted"])
    expect(f"{component}: events", (found["events"], found["until"]), (summary["accepted"], found["head"]))
    blocking = [objection for objection in found["objections"] if objection["blocks"]]
    expect(f"{component}: what blocks it", blocking, [])


def until_decided(clients: list[Client], applications: int) -> None:
    """Waits until each client has taken this number of applications more through the process."""
    wanted = [client.applications + applications for client in clients]
    end = time.monotonic() + WAIT_S_MAX
    while any(client.applications < least for client, least in zip(clients, wanted)):
        check_failures(clients)
        if time.monotonic() > end:
            raise Failed(f"{applications} applications took more than {WAIT_S_MAX} s")
        time.sleep(0.05)


def check_failures(clients: list[Client]) -> None:
    failures = [failure for client in clients for failure in client.failures]
    if failures:
        raise Failed("\n".join([f"{len(failures)} commands failed", *failures[:20]]))


def swap(host: Host, component: str, clients: list[Client], applications: int) -> Swap:
    """Activates a component while the clients send commands, and waits until it has decided whole applications."""
    module = digest(component)
    begin = time.monotonic()
    host.run("deploy", component)
    end = time.monotonic()
    answers = [answer for client in clients for answer in list(client.answers)]
    during = [answer.answered - answer.sent for answer in answers if answer.answered > begin and answer.sent < end]
    until_decided(clients, applications)
    slowest = f"the slowest took {max(during) * 1000:,.0f} ms" if during else "none"
    active = f"active after {end - begin:.1f} s with its preflight"
    print(f"{component}: {active}; {len(during):,} commands meanwhile, {slowest}", flush=True)
    return Swap(module, begin, end)


def digest(component: str) -> str:
    return hashlib.sha256(Path(component).read_bytes()).hexdigest()


def check_modules(answers: list[Answered], first: str, swaps: list[Swap]) -> None:
    """A command is decided by a module that was active between its request and its answer."""
    for answer in answers:
        before = [first] + [swap.module for swap in swaps if swap.end <= answer.sent]
        meanwhile = [swap.module for swap in swaps if swap.end > answer.sent and swap.begin < answer.answered]
        possible = [before[-1], *meanwhile]
        if answer.module not in possible:
            raise Failed(f"position {answer.position}: expected one of {possible}, found {answer.module}")


def check_log(host: Host, answers: list[Answered], head: int, first: str, swaps: list[Swap]) -> None:
    """Each accepted command is stored once, in the name of its module, and plans follow one another."""
    lines = host.run("events", "--after", str(head), "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    found = {event["position"]: event["commit"]["module"] for event in events}
    expect("events of the applications", len(events), len(answers))
    if found != {answer.position: answer.module for answer in answers}:
        raise Failed("events have other positions or modules than the answers to their commands")
    plans = [event["commit"]["plan"] for event in events]
    expect("the plans, in the order of the log", plans, sorted(plans))
    modules = [first, *(swap.module for swap in swaps)]
    deployed = [json.loads(line) for line in host.run("deployments", "--json").stdout.splitlines()]
    active = {deployment["plan"]: deployment["digest"] for deployment in deployed}
    expect("the modules of the plans", [active[plan] for plan in sorted(set(plans))], modules)
    expect("the module of each event", [event["commit"]["module"] for event in events], [active[plan] for plan in plans])


def check_states(host: Host, clients: list[Client]) -> None:
    """The applications that all modules decided are granted."""
    for client in clients:
        state = json.loads(host.run("stream", client.long, "--state", "--json").stdout)["state"]
        found = {name: state[name] for name in ("status", "activated", "open_work")}
        expect(client.long, found, {"status": "granted", "activated": True, "open_work": {}})


def swap_under_load(host: Host, components: list[str], given: argparse.Namespace, head: int) -> None:
    stop = threading.Event()
    clients = [Client(host.url, number, stop) for number in range(given.clients)]
    begin = time.monotonic()
    for client in clients:
        client.start()
    try:
        until_decided(clients, given.applications)
        swaps = [swap(host, component, clients, given.applications) for component in [*components[1:], components[0]]]
    finally:
        stop.set()
        for client in clients:
            client.join(WAIT_S_MAX)
    check_failures(clients)
    took = time.monotonic() - begin
    answers = [answer for client in clients for answer in client.answers]
    first = digest(components[0])
    check_modules(answers, first, swaps)
    check_log(host, answers, head, first, swaps)
    check_states(host, clients)
    for component in components:
        module = digest(component)
        times = [answer.answered - answer.sent for answer in answers if answer.module == module]
        print(f"{component}: {len(times):,} commands, half of them within {statistics.median(times) * 1000:.1f} ms")
    rate = len(answers) / took
    print(f"{len(answers):,} commands, {rate:,.0f} a second, {len(swaps)} swaps, 0 failed", flush=True)


def check(host: Host, given: argparse.Namespace) -> None:
    components = given.components
    expect("the number of different components", len({digest(component) for component in components}), 3)
    summary = fill(host, components[0], given.log)
    for component in components[1:]:
        upload(host, component)
        preflight(host, component, summary)
    swap_under_load(host, components, given, summary["accepted"])
    begin = time.monotonic()
    host.run("verify")
    print(f"every decision is verified, in {time.monotonic() - begin:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", required=True, help="the program")
    parser.add_argument("--store", help="an empty store, for example postgres://…?schema=loans")
    parser.add_argument("--log", default=os.environ.get("QUIPU_LOAN_LOG"), help="the file of commands")
    parser.add_argument("--clients", type=int, default=4, help="clients that send commands during the swaps")
    parser.add_argument("--applications", type=int, default=20, help="applications of each client between two swaps")
    parser.add_argument("components", nargs=3, help="the loan decider in Rust, TypeScript and Python")
    given = parser.parse_args()
    if not given.log:
        parser.error("--log or QUIPU_LOAN_LOG has to name the file of commands")
    with tempfile.TemporaryDirectory(prefix="quipu-loans-") as folder:
        try:
            host = Host(given.quipu, Path(folder), given.store or f"sqlite:{folder}/loans.db", LIMITS)
            try:
                check(host, given)
            finally:
                host.stop()
        except Failed as failed:
            print(f"error: {failed}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
