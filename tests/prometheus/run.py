#!/usr/bin/env python3
"""A real Prometheus reads a host, and answers every query of the dashboards and the alerts.

    apt-get install --no-install-recommends prometheus
    python3 tests/prometheus/run.py --quipu target/debug/quipu

`promtool` checks the page of the host and the rules, and runs the unit tests of the rules: series that fire each
alert, and series that don't. `--rules-only` ends after these tests, and needs no host. Then `prometheus` scrapes the host for some seconds, and
every query must be answered. Queries without a result are printed: what they show did not happen here.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "ops/prometheus/quipu.rules.yml"
RULE_TESTS = ROOT / "ops/prometheus/quipu.tests.yml"
EVENT = {"events": [{"type": "noted", "data": {"n": 1}}]}


def read(url: str, body: object = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def promtool(arguments: list, page: str | None = None) -> None:
    done = subprocess.run(["promtool", *arguments], input=page, text=True, capture_output=True, check=False)
    print("promtool", *arguments[:2], "->", done.returncode, done.stdout.strip(), done.stderr.strip())
    if done.returncode or (page is not None and done.stderr):
        sys.exit(1)


def queries() -> list[tuple[str, str]]:
    found = []
    for board in sorted((ROOT / "ops/grafana").glob("*.json")):
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel.get("targets", []):
                text = target["expr"].replace("$job", ".*").replace("$instance", ".*")
                text = text.replace("$__rate_interval", "1m")
                found.append((f"{board.stem}: {panel['title']}", text))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quipu", type=Path)
    parser.add_argument("--port", default=19090, type=int)
    parser.add_argument("--rules-only", action="store_true")
    given = parser.parse_args()
    promtool(["check", "rules", str(RULES)])
    promtool(["test", "rules", str(RULE_TESTS)])
    if given.rules_only:
        return
    if given.quipu is None:
        parser.error("--quipu is missing: the program of the host")
    with tempfile.TemporaryDirectory() as folder:
        command = [given.quipu, "serve", "--store", f"sqlite:{folder}/q.db", "--listen", "127.0.0.1:0"]
        host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url = host.stdout.readline().split()[1]
        read(f"{url}/v1/streams/note-1/events", EVENT)
        promtool(["check", "metrics"], read(f"{url}/metrics"))
        config = Path(folder) / "prometheus.json"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{
                "job_name": "quipu",
                "static_configs": [{"targets": [urllib.parse.urlsplit(url).netloc]}],
            }],
        }))
        place = f"127.0.0.1:{given.port}"
        server = subprocess.Popen([
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={place}", "--log.level=error",
        ])
        try:
            asked(f"http://{place}", url)
        finally:
            server.terminate()
            host.terminate()
            server.wait()
            host.wait()


def asked(prometheus: str, url: str) -> None:
    for _ in range(60):
        try:
            text = read(f"{prometheus}/api/v1/query?query=count(quipu_build_info)")
            if json.loads(text)["data"]["result"]:
                break
        except OSError:
            pass
        time.sleep(1)
    for _ in range(5):
        read(f"{url}/v1/streams/note-1/events", EVENT)
        time.sleep(1)
    empty = []
    for name, query in queries():
        answer = json.loads(read(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
        assert answer["status"] == "success", (name, answer)
        if not answer["data"]["result"]:
            empty.append(name)
    rules = json.loads(read(f"{prometheus}/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in rules for rule in group["rules"]]
    failed = [rule["name"] for rule in rules if rule.get("lastError")]
    assert not failed, failed
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    print(f"{len(queries())} queries of dashboards and {len(rules)} alerts were evaluated")
    print("without a result here:", ", ".join(sorted(set(empty))) or "none")
    print("firing:", ", ".join(firing) or "none")


if __name__ == "__main__":
    main()
