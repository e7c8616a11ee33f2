#!/usr/bin/env python3
"""From save to served: twenty edits of a new project in `quipu dev`.

    python3 tests/edits/run.py --quipu target/release/quipu [--languages rust,ts,python] [--edits 20]

For each language `quipu new` makes a project, and `quipu dev` serves it. Each edit replaces the message
of a rejection in the source. The time ends when `quipu dev` says that the new component serves. Then a
command has to be rejected with the new message, the newest deployment has to be the component that was
built, and for --quiet seconds there must be no second build. At the end a source that can't be built
has to leave the last version serving.

It needs the tools of the languages (`quipu doctor`), and npm and PyPI for their packages.
"""

import argparse
import hashlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

SERVED_S_MAX = 900
STOP_S_MAX = 60
MESSAGE = "open it first"
"""The message of a rejection in the source of each new project."""
SOURCES = {"rust": "src/lib.rs", "ts": "src/index.ts", "js": "src/index.js", "python": "app.py"}
INSTALL = {
    "rust": [],
    "ts": [["npm", "install", "--no-audit", "--no-fund", "--silent"]],
    "js": [["npm", "install", "--no-audit", "--no-fund", "--silent"]],
    "python": [
        ["python3", "-m", "venv", ".venv"],
        [".venv/bin/python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt"],
    ],
}
BROKEN = "\n)}] this can not be built\n"


class Failed(Exception):
    """A check that failed."""


class Dev:
    """`quipu dev` in a project, with its lines on standard error."""

    def __init__(self, program: str, project: Path) -> None:
        self.program, self.project = program, project
        self.lines: queue.Queue[tuple[float, str]] = queue.Queue()
        command = [program, "dev", "--listen", "127.0.0.1:0"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=project, stdout=pipe, stderr=pipe, text=True)
        threading.Thread(target=self.read, daemon=True).start()
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise Failed(f"quipu dev did not start: {[line for _, line in self.taken()]}")
        self.url = line.removeprefix("ready ").strip()

    def read(self) -> None:
        for line in self.process.stderr:
            self.lines.put((time.monotonic(), line.rstrip()))

    def taken(self) -> list[tuple[float, str]]:
        """The lines up to now."""
        lines = []
        while not self.lines.empty():
            lines.append(self.lines.get())
        return lines

    def outcome(self) -> tuple[float, str]:
        """Waits until a build serves or has failed; the time and the line."""
        end = time.monotonic() + SERVED_S_MAX
        while True:
            try:
                at, line = self.lines.get(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise Failed(f"no component was served within {SERVED_S_MAX} s") from None
            if is_outcome(line):
                return at, line

    def served(self) -> float:
        """Waits until a build serves; the time."""
        at, line = self.outcome()
        if " serves with plan " not in line:
            raise Failed(f"expected a component that serves, found: {line}")
        return at

    def expect_quiet(self, seconds: float) -> None:
        """Fails if something else is built."""
        time.sleep(seconds)
        more = [line for _, line in self.taken() if is_outcome(line) or line.startswith("changed: ")]
        if more:
            raise Failed(f"one edit was built more than once: {more}")

    def deployments(self) -> list[dict]:
        command = [self.program, "deployments", "--json"]
        environment = {**os.environ, "QUIPU_URL": self.url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def rejection(self) -> str:
        """The answer to a command that is rejected."""
        body = json.dumps({"type": "add", "data": {"amount": 1}}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/streams/bank-1/commands", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=SERVED_S_MAX) as answer:
                raise Failed(f"expected a rejection, found {answer.read()!r}")
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def expect_served(self, message: str, digest: str, plans: int) -> None:
        deployments = self.deployments()
        newest = max(deployments, key=lambda deployment: deployment["plan"])
        if (newest["digest"], len(deployments)) != (digest, plans):
            raise Failed(f"expected {digest} as deployment {plans}, found {newest} of {len(deployments)}")
        answer = self.rejection()
        if json.dumps(message)[1:-1] not in answer:
            raise Failed(f"expected a rejection with {message!r}, found {answer}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(STOP_S_MAX)


def is_outcome(line: str) -> bool:
    return " serves with plan " in line or " is unchanged and serves" in line or is_failure(line)


def is_failure(line: str) -> bool:
    """The last line of a build that failed; the tools write other lines with `error: `."""
    return line.endswith(("; no module is active yet", "; the module that was active stays active"))


def save(project: Path, source: Path, text: str) -> float:
    """Replaces the source as a whole, as editors do; the time."""
    new = project.parent / "new"
    new.write_text(text)
    begin = time.monotonic()
    new.replace(source)
    return begin


def digest(project: Path) -> str:
    return hashlib.sha256((project / "build/bank.wasm").read_bytes()).hexdigest()


def new(program: str, folder: Path, language: str) -> Path:
    """Makes a project, and installs what its build needs."""
    project = folder / language / "bank"
    project.parent.mkdir()
    subprocess.run([program, "new", "bank", "--lang", language], cwd=project.parent, check=True, capture_output=True)
    for command in INSTALL[language]:
        subprocess.run(command, cwd=project, check=True)
    return project


def measure(given: argparse.Namespace, folder: Path, language: str) -> list[float]:
    """Seconds from save to served, of each edit."""
    project = new(given.quipu, folder, language)
    source = project / SOURCES[language]
    text = source.read_text()
    if text.count(MESSAGE) != 1:
        raise Failed(f"{source}: expected {MESSAGE!r} once, found it {text.count(MESSAGE)} times")
    dev, times = Dev(given.quipu, project), []
    try:
        dev.served()
        dev.expect_quiet(given.quiet)
        seen = {digest(project)}
        for edit in range(1, given.edits + 1):
            message = f"{MESSAGE}, says edit {edit}"
            begin = save(project, source, text.replace(MESSAGE, message))
            times.append(dev.served() - begin)
            dev.expect_quiet(given.quiet)
            if digest(project) in seen:
                raise Failed(f"edit {edit} did not change the component")
            seen.add(digest(project))
            dev.expect_served(message, digest(project), edit + 1)
            print(f"{language}: edit {edit} served after {times[-1]:.2f} s", flush=True)
        expect_last(dev, project, source, given)
    finally:
        dev.stop()
    return times


def expect_last(dev: Dev, project: Path, source: Path, given: argparse.Namespace) -> None:
    """A source that can't be built leaves the last version serving."""
    last = digest(project)
    save(project, source, source.read_text() + BROKEN)
    _, line = dev.outcome()
    if not is_failure(line):
        raise Failed(f"expected a build that fails, found: {line}")
    dev.expect_quiet(given.quiet)
    dev.expect_served(f"{MESSAGE}, says edit {given.edits}", last, given.edits + 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quipu", required=True, type=lambda path: str(Path(path).resolve()), help="the program")
    parser.add_argument("--languages", default="rust,ts,python", help="of rust, ts, js and python")
    parser.add_argument("--edits", type=int, default=20, help="edits of each project")
    parser.add_argument("--quiet", type=float, default=2.0, help="seconds without a build after each edit")
    given = parser.parse_args()
    languages = given.languages.split(",")
    if unknown := [language for language in languages if language not in SOURCES]:
        parser.error(f"unknown language {unknown[0]}: expected {', '.join(SOURCES)}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="quipu-edits-") as folder:
        for language in languages:
            try:
                times = measure(given, Path(folder), language)
            except (Failed, subprocess.CalledProcessError) as failed:
                print(f"error: {language}: {failed}", file=sys.stderr)
                return 1
            figures = (min(times), statistics.median(times), max(times))
            rows.append(f"| {language} | {len(times)} | " + " | ".join(f"{figure:.1f} s" for figure in figures) + " |")
    print("\n| language | edits | fastest | median | slowest |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
