"""Each alert fires after its cause was made on a real host, and nothing else fires.

Every cause has a host of its own. First all hosts are well, and nothing may fire. Then the causes are made, one on each
host but the last, and exactly the expected alerts of each host have to fire.
"""

import datetime
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hosts import ROOT, Failed, Host, Prometheus, certificate, probe, projection, until

RULES = ROOT / "ops/prometheus/quipu.rules.yml"
WELL_S = 15
"""How long nothing may fire on hosts that are well, and nothing further after the expected alerts fire."""
FOR = "4s"
"""How long a condition has to hold, in place of the minutes and hours of the rules."""
SHORTER = [
    ("quipu_store_figures_age_seconds > 120", "quipu_store_figures_age_seconds > 20"),
    ("and quipu_projection_lag_seconds > 30\n          and delta(quipu_projection_lag_seconds[2m])",
     "and quipu_projection_lag_seconds > 5\n          and delta(quipu_projection_lag_seconds[30s])"),
    ("quipu_projection_lag_seconds > 60", "quipu_projection_lag_seconds > 5"),
    ("quipu_subscription_lag_events > 10000", "quipu_subscription_lag_events > 10"),
    ("and quipu_subscription_lag_seconds > 300\n          and delta(quipu_subscription_lag_seconds[5m])",
     "and quipu_subscription_lag_seconds > 5\n          and delta(quipu_subscription_lag_seconds[30s])"),
]
"""Thresholds and windows that would take minutes."""
NOT_MADE = {
    "QuipuEventsLost": "it needs a standby of PostgreSQL that was promoted too early",
    "QuipuPartFailing": "it needs a part of the host that panics, which nothing from outside causes",
}
"""Alerts whose cause can't be made here, with the reason. `quipu.tests.yml` fires them with series."""
CONFIG = """
[projections]
lease_ms = 2000
"""
DAY_S = 24 * 3_600


@dataclass
class Cause:
    """What happens to a host, and the alerts that have to fire."""

    name: str
    make: Callable[[Host], None]
    alerts: set[str]
    config: str = CONFIG
    is_tls: bool = False
    has_token: bool = False


def copied_rules(folder: Path) -> Path:
    """Writes the rules with times that a test can wait for, and prints what it changed."""
    text = RULES.read_text()
    for old, new in SHORTER:
        if text.count(old) != 1:
            raise Failed(f"the rules have {text.count(old)} times: {old}")
        text = text.replace(old, new)
        print("instead of", " ".join(old.split()), "the test has", " ".join(new.split()))
    text, count = re.subn(r"\n( +)for: \S+", rf"\n\1for: {FOR}", text)
    print(f"{count} alerts wait for {FOR} instead of minutes or hours")
    file = folder / "quipu.rules.yml"
    file.write_text(text)
    return file


def park(host: Host) -> None:
    host.note("note-1", {"keys": ["a"], "bad": {"apply": "bad-event", "key": "a"}})


def stop_projection(host: Host) -> None:
    """An error stops the projection, so its lag grows."""
    host.note("note-1", {"keys": ["a"], "bad": {"apply": "bad-event", "key": "all"}})
    until("the projection has stopped", lambda: json.loads(host.run("projection", "stops", "--json"))["state"] == "stopped")
    host.note("note-1", {"keys": []})


def pause(host: Host) -> None:
    """An operator wants this lag."""
    host.run("projection", "parks", "pause")
    host.note("note-1", {"keys": ["a"]})


def kill_owner(host: Host) -> None:
    """Leases of builds end, and nobody can claim them, while the log grows."""
    host.sql(
        "CREATE TRIGGER dead_owner BEFORE UPDATE OF held_until ON builds WHEN NEW.held_until IS NOT NULL"
        " BEGIN SELECT RAISE(IGNORE); END",
        "UPDATE builds SET held_until = NULL",
    )
    series = 'quipu_projection_owned{projection="parks"}'
    host.until(series, 0)
    host.note("note-1", {"keys": ["a"]})


def fault(host: Host) -> None:
    status, text = host.command("note-2", {"word": "odd"})
    if status != 502:
        raise Failed(f"a fault: expected 502, found {status}: {text}")


def refuse_logins(host: Host) -> None:
    """Somebody tries tokens, more than one per second of the five minutes of the rule."""
    for _ in range(600):
        status, text = host.ask("GET", "/v1/tokens", token="qp_guessed")
        if status not in (401, 429):
            raise Failed(f"a guessed token: expected 401 or 429, found {status}: {text}")


def let_certificate_expire(host: Host) -> None:
    certificate(host.folder, 7)
    host.reload()


def replace_store(host: Host) -> None:
    """Somebody moves the file of the store away."""
    host.store.rename(host.folder / "moved.db")


def fail_commits(host: Host) -> None:
    host.sql("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no space'); END")
    status, text = host.command("note-1", {"keys": []})
    if status < 500:
        raise Failed(f"a commit that fails: expected 500, found {status}: {text}")


def silence_store(host: Host) -> None:
    """Figures of the store can't be read any more."""
    host.sql("ALTER TABLE checkpoints RENAME TO checkpoints_moved")


def overload(host: Host) -> None:
    """More callers than the host admits."""
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda number: host.command(f"note-{number}", {"keys": []})[0], range(64)))
    if 503 not in answers:
        raise Failed(f"an overloaded host: expected 503, found {answers}")


def lag_subscription(host: Host) -> None:
    """Its owner handles nothing."""
    host.post("/v1/subscriptions/mail/claim", {"lease_ms": 600_000})
    for _ in range(12):
        host.append("letter-1")


def leave_subscription(host: Host) -> None:
    """Its owner has left."""
    claim = host.post("/v1/subscriptions/mail/claim", {"lease_ms": 600_000})
    host.expected(204, "POST", "/v1/subscriptions/mail/release", {"token": claim["token"]})
    host.append("letter-1")


def forget_backup(host: Host) -> None:
    host.sql("DELETE FROM meta WHERE name = 'last_backup'")


def age(job: str, days: int) -> Callable[[Host], None]:
    """Moves the last time of a job some days back."""

    def change(host: Host) -> None:
        at = datetime.datetime.now().timestamp() - days * DAY_S
        host.sql(f"UPDATE meta SET value = x'{int(at * 1e6).to_bytes(8).hex()}' WHERE name = 'last_{job}'")

    return change


CAUSES = [
    Cause("a host that is down", Host.kill, {"QuipuDown"}),
    Cause("a store that was moved away", replace_store, {"QuipuStoreNotWritable"}),
    Cause("a store whose figures can't be read", silence_store, {"QuipuStoreSilent"}),
    Cause("a commit that fails", fail_commits, {"QuipuCommandsFailed"}),
    Cause("a parked event", park, {"QuipuParkedEvents"}),
    Cause("a projection that has stopped", stop_projection, {"QuipuProjectionFailing", "QuipuProjectionLag"}),
    Cause("a dead owner of projections", kill_owner, {"QuipuProjectionWithoutOwner", "QuipuProjectionLag"}),
    Cause("a paused projection", pause, set()),
    Cause("a fault of a guest", fault, {"QuipuGuestFaults"}),
    Cause("too many callers", overload, {"QuipuOverloaded"}, CONFIG + "[engine]\nin_flight_max = 1\n"),
    Cause("a subscription whose owner is slow", lag_subscription, {"QuipuSubscriptionLag"}),
    Cause("a subscription without an owner", leave_subscription, {"QuipuSubscriptionWithoutHandler"}),
    Cause("guessed tokens", refuse_logins, {"QuipuCredentialsRefused"}, has_token=True),
    Cause("a certificate that expires", let_certificate_expire, {"QuipuCertificateExpires"}, is_tls=True),
    Cause("an old backup", age("backup", 2), {"QuipuBackupOld"}),
    Cause("no backup", forget_backup, {"QuipuBackupMissing"}),
    Cause("an old verify", age("verify", 9), {"QuipuVerifyOld"}),
    Cause("nothing", lambda _: None, set()),
]


def start(cause: Cause, quipu: Path, component: Path, folder: Path) -> Host:
    """A host that is well: with guests, events, a backup and a verify."""
    folder.mkdir()
    # Only the first host compiles the component.
    config = f'cache_dir = "{folder.parent}/compiled"\n{cause.config}'
    host = Host(quipu, folder, config, cause.is_tls)
    try:
        host.run("deploy", component, "--on-error", "parks=park", "--on-error", "stops=stop")
        host.note("note-1", {"keys": ["a"]})
        host.post("/v1/backups", {})
        host.run("verify")
        for name in ("parks", "stops"):
            host.until(f'quipu_projection_lag_seconds{{projection="{name}"}}', 0)
        if cause.has_token:
            host.token = host.run("token", "create", "operator", "--role", "admin").split()[0]
    except BaseException:
        host.stop()
        raise
    return host


def check(quipu: Path, template: Path, folder: Path) -> None:
    known = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    covered = {alert for cause in CAUSES for alert in cause.alerts} | set(NOT_MADE)
    if known != covered:
        raise Failed(f"alerts without a cause here, or causes without an alert: {sorted(known ^ covered)}")
    rules = copied_rules(folder)
    projections = [projection("note", "parks"), projection("note", "stops") | {"keys": "one"}]
    component = probe(folder, template, "note", decides="trap", projections=projections)
    hosts: list[Host] = []
    try:
        for number, cause in enumerate(CAUSES):
            hosts.append(start(cause, quipu, component, folder / f"host-{number}"))
        prometheus = Prometheus(folder, hosts, rules)
        try:
            fire(prometheus, hosts)
        finally:
            prometheus.stop()
    finally:
        for host in hosts:
            host.stop()


def fire(prometheus: Prometheus, hosts: list[Host]) -> None:
    names = {host.address: cause.name for host, cause in zip(hosts, CAUSES)}
    expected = {(host.address, alert) for host, cause in zip(hosts, CAUSES) for alert in cause.alerts}

    def others(allowed: set[tuple[str, str]]) -> None:
        if found := prometheus.firing() - allowed:
            raise Failed(f"unexpected alerts: {sorted((names[host], alert) for host, alert in found)}")

    quiet(lambda: others(set()))
    print(f"{len(hosts)} hosts are well: no alert fires")
    for host, cause in zip(hosts, CAUSES):
        cause.make(host)

    fired: set[tuple[str, str]] = set()

    def missing() -> set[tuple[str, str]]:
        nonlocal fired
        others(expected)
        fired |= prometheus.firing()
        return expected - fired

    try:
        until("every expected alert fires", lambda: not missing())
    except Failed as failed:
        left = sorted((names[host], alert) for host, alert in missing())
        raise Failed(f"{failed}" + (f"; missing: {left}" if left else "")) from None
    quiet(lambda: others(expected))
    for cause in CAUSES:
        print(f"{cause.name}: {', '.join(sorted(cause.alerts)) or 'no alert'}")
    for alert, reason in NOT_MADE.items():
        print(f"{alert} was not made: {reason}")


def quiet(holds: Callable[[], None]) -> None:
    end = time.monotonic() + WELL_S
    while time.monotonic() < end:
        holds()
        time.sleep(0.5)
