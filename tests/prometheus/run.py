#!/usr/bin/env python3
"""A real Prometheus reads hosts: every query of the dashboards has a result, and alerts fire when they should.

    apt-get install --no-install-recommends prometheus openssl
    python3 tests/prometheus/run.py --quipu target/debug/quipu

`promtool` checks the rules, and runs their unit tests: series that fire each alert, and series that don't.
`--rules-only` ends after these tests, and needs no host. Then there are two parts; `--part` names one of them:

- `panels`: everything that the dashboards show happens on a host: projections in each state, a parked event, a fault,
  a rejection, a preflight with objections, a backup and so on. `promtool` checks its page, and each query of each
  panel must have a result.
- `alerts`: many hosts are well, and no alert may fire. Then each of them gets a cause, and exactly its alerts must
  fire. The times of the rules are shortened, and the output says how.

The exit code is 1 if anything else happens.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import causes
import panels
from hosts import PROBE, Failed, Prometheus

RULE_TESTS = causes.RULES.with_name("quipu.tests.yml")


def promtool(arguments: list, page: str | None = None) -> None:
    done = subprocess.run(["promtool", *arguments], input=page, text=True, capture_output=True, check=False)
    print("promtool", *arguments[:2], "->", done.returncode)
    if done.returncode or (page is not None and done.stderr):
        raise Failed(f"{done.stdout}{done.stderr}")


def check_panels(quipu: Path, template: Path, folder: Path) -> None:
    host = panels.start(quipu, template, folder)
    try:
        promtool(["check", "metrics"], host.get("/metrics"))
        prometheus = Prometheus(folder, [host], causes.RULES)
        try:
            panels.check(prometheus, host)
            print(f"{len(prometheus.rules())} alerts were evaluated")
        finally:
            prometheus.stop()
    finally:
        host.stop()


PARTS = {"panels": check_panels, "alerts": causes.check}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", type=Path, help="the program of the host")
    parser.add_argument("--probe", type=Path, default=PROBE, help="the component of tests/probe: `quipu build tests/probe`, or any `cargo test`, makes it")
    parser.add_argument("--part", choices=PARTS, help="only one part")
    parser.add_argument("--rules-only", action="store_true", help="only the unit tests of the rules")
    given = parser.parse_args()
    # Whoever waits for the end sees how far it is.
    sys.stdout.reconfigure(line_buffering=True)
    # Hosts end with this program, also under `timeout`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not given.rules_only:
        if given.quipu is None:
            parser.error("--quipu is missing: the program of the host")
        if not given.probe.is_file():
            parser.error(f"{given.probe} is missing: run `cargo test --package quipu-tests` first, or name it with --probe")
    try:
        promtool(["check", "rules", str(causes.RULES)])
        promtool(["test", "rules", str(RULE_TESTS)])
        parts = [] if given.rules_only else [given.part] if given.part else list(PARTS)
        for part in parts:
            with tempfile.TemporaryDirectory(prefix="quipu-prometheus-") as folder:
                PARTS[part](given.quipu.resolve(), given.probe, Path(folder))
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
