"""Every query of the dashboards has a result, on a host on which everything that they show has happened."""

import json
import math
from pathlib import Path

from hosts import ROOT, Failed, Host, Prometheus, probe, projection, until

MAY_BE_EMPTY: dict[str, str] = {}
"""Queries that need no result, with the reason."""

CONFIG = """
[engine]
snapshots = { note = { every = 1000 } }
"""


def queries() -> list[tuple[str, str]]:
    """Each query with its dashboard and its panel."""
    found = []
    for board in sorted((ROOT / "ops/grafana").glob("*.json")):
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel.get("targets", []):
                text = target["expr"].replace("$job", ".*").replace("$instance", ".*")
                text = text.replace("$__rate_interval", "1m")
                found.append((f"{board.stem}: {panel['title']}", text))
    return found


def start(quipu: Path, template: Path, folder: Path) -> Host:
    """A host on which everything has happened."""
    host = Host(quipu, folder, CONFIG, is_tls=True)
    try:
        fill(host, template)
    except BaseException:
        host.stop()
        raise
    return host


def fill(host: Host, template: Path) -> None:
    def component(name: str, **other: object) -> Path:
        return probe(host.folder, template, name, **other)

    projections = [
        projection("note", "notes"),
        projection("note", "stopped") | {"keys": "one"},
        projection("note", "paused") | {"does": "heal"},
        projection("note", "rebuilt") | {"does": "heal"},
    ]
    first = component("note", decides="reject", projections=projections)
    host.run("deploy", first, "--on-error", "notes=park", "--on-error", "stopped=stop")
    host.run("deploy", component("weary", decides="trap"))
    for number in range(3):
        host.note("note-1", {"n": number, "keys": ["a"]})
    for name in ("paused", "rebuilt"):
        host.until(f'quipu_projection_lag_seconds{{projection="{name}"}}', 0)
    host.run("projection", "paused", "pause")
    host.run("projection", "rebuilt", "rebuild", "--hold", "--wait")
    host.note("note-1", {"keys": ["b"], "bad": {"apply": "bad-event", "key": "b"}})
    host.note("note-1", {"keys": ["a"], "bad": {"apply": "bad-event", "key": "all"}})
    answers(host)
    # The second generation can't use the snapshot of the first one. The third one would decide otherwise.
    host.run("snapshot", "note-1")
    second = component("note", version="1.1.0", state=2, decides="reject", projections=projections)
    host.run("deploy", second)
    host.note("note-1", {"n": 1, "keys": ["a"]})
    third = component("note", version="1.2.0", state=2, projections=projections)
    host.run("preflight", third, codes=(1,))
    host.run("verify")
    host.post("/v1/backups", {})
    host.run("ship", host.folder / "shipped", "--once")
    host.post("/v1/subscriptions/mail/claim", {"lease_ms": 600_000})
    host.append("letter-1")
    host.until('quipu_projection_parked_events{projection="notes"}', 1)
    host.until('quipu_projection_failing{projection="stopped"}', 1)


def answers(host: Host) -> None:
    """A rejection, and a fault."""
    for stream, expected in (("note-1", 422), ("weary-1", 502)):
        status, text = host.command(stream, {"word": "odd"})
        if status != expected:
            raise Failed(f"{stream}: expected {expected}, found {status}: {text}")


def check(prometheus: Prometheus, host: Host) -> None:
    """Asks every query, while commands are executed, until each has a result."""
    unknown = set(MAY_BE_EMPTY) - {text for _, text in queries()}
    if unknown:
        raise Failed(f"no dashboard has the queries {sorted(unknown)}")
    rounds, empty = 0, queries()

    def answered() -> bool:
        nonlocal rounds, empty
        rounds += 1
        host.note(f"note-round-{rounds}", {"n": 1, "keys": ["a"]})
        answers(host)
        empty = [one for one in queries() if one[1] not in MAY_BE_EMPTY and not has_result(prometheus, one[1])]
        return not empty

    try:
        until("every query has a result", answered, 60)
    except Failed as failed:
        lines = [f"{name}: {text}" for name, text in empty]
        raise Failed("\n".join([str(failed), "queries without a result:", *lines])) from None
    for text, reason in MAY_BE_EMPTY.items():
        print(f"may be empty, because {reason}: {text}")
    print(f"{len(queries())} queries of dashboards: each has a result")


def has_result(prometheus: Prometheus, text: str) -> bool:
    return any(not math.isnan(float(one["value"][1])) for one in prometheus.query(text))
