#!/usr/bin/env python3
"""Runs tutorials as their readers do: every command and every file of a page, in an empty folder.

    python3 tests/tutorials/run.py --quipu target/debug/quipu docs/src/tutorials/*.md

Fails at the first command whose output or exit code is not what the page shows. A command must
fail exactly if its shown output has a line that begins with `error:`. Prints the time of each step.
`page.py` describes the marks of a page.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from page import Command, PageError, Step, edited, fits, pattern, steps

COMMAND_S_MAX = 1800
"""The longest time of one command, and of waiting for the output of the one in the background."""
SHOWN_ADDRESS = "http://127.0.0.1:7878"
"""The address that pages show. A run listens on a free port."""
HOSTS = ("quipu dev", "quipu serve")


class Background:
    """A command that keeps running, and what it has printed."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.printed = ""
        self.seen = 0
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command} --listen 127.0.0.1:0"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout:
            with self.changed:
                self.printed += line
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def address(self) -> str:
        return self.wait_for(r"ready (http://\S+)\n", 0)[1]

    def expect(self, shown: list[str], address: str, place: str) -> None:
        """Waits until it has printed these lines, after those that were seen before."""
        expected = pattern([line.replace(SHOWN_ADDRESS, address) for line in shown])
        try:
            found = self.wait_for("(?:^|(?<=\n))" + expected, self.seen)
        except PageError as error:
            raise PageError(f"{place}: {error}\nexpected:\n" + "\n".join(shown)) from None
        self.seen = found.end()

    def wait_for(self, expected: str, start: int) -> re.Match[str]:
        until = time.monotonic() + COMMAND_S_MAX
        wanted = re.compile(expected)
        with self.changed:
            while True:
                if found := wanted.search(self.printed, start):
                    return found
                left = until - time.monotonic()
                has_ended = self.process.poll() is not None and not self.reader.is_alive()
                has_failed = re.search("^error:", self.printed[start:], re.MULTILINE)
                if has_ended or has_failed or left <= 0:
                    why = "ended" if has_ended else "failed" if has_failed else "took too long"
                    raise PageError(f"`{self.command}` {why}; it printed:\n{self.printed[start:]}")
                self.changed.wait(min(left, 1.0))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise PageError(f"`{self.command}` did not end after SIGINT") from None
        self.reader.join(60)
        return code


class Run:
    """One page in one folder."""

    def __init__(self, name: str, folder: Path, quipu: Path) -> None:
        self.name = name
        self.top = self.folder = folder / "work"
        self.top.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "quipu").symlink_to(quipu)
        self.place_file = folder / "place"
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        unwanted = ("QUIPU_", "CARGO_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
        # Nothing that depends on the terminal, and no hints about newer tools.
        plain = {"NO_COLOR": "1", "CARGO_TERM_COLOR": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.environment = {**kept, **plain, "PATH": path, "npm_config_update_notifier": "false"}
        self.address = SHOWN_ADDRESS
        self.background: Background | None = None
        self.seconds = 0.0

    def page(self, text: str) -> None:
        files: list[Step] = []
        try:
            for step in steps(text, self.name):
                if step.kind in ("file", "append", "edit"):
                    files.append(step)
                    continue
                self.write(files)
                files = []
                self.step(step)
            self.write(files)
            if self.background:
                raise PageError(f"{self.name}: `{self.background.command}` is never stopped")
        finally:
            if self.background:
                self.background.stop()

    def step(self, step: Step) -> None:
        place = f"{self.name}:{step.line}"
        if step.kind == "stop":
            self.timed(place, "stop", self.stop)
        elif step.kind == "background" and step.commands:
            self.timed(place, step.commands[0].text, lambda: self.start(step, place))
        elif step.kind == "background":
            self.timed(place, "output in the background", lambda: self.expect(step, place))
        for command in step.commands if step.kind == "run" else []:
            self.timed(place, command.text, lambda: self.command(command, place))

    def timed(self, place: str, title: str, action) -> None:
        begun = time.monotonic()
        action()
        seconds = time.monotonic() - begun
        self.seconds += seconds
        print(f"{seconds:8.1f} s  {place}  {title.splitlines()[0]}", flush=True)

    def write(self, files: list[Step]) -> None:
        """Writes files together, so that a watching command sees one change."""
        texts: dict[Path, str] = {}
        for step in files:
            place = f"{self.name}:{step.line}"
            path = self.folder / step.path
            block = "".join(f"{line}\n" for line in step.lines)
            if step.kind != "file" and path not in texts:
                if not path.is_file():
                    raise PageError(f"{place}: there is no file {step.path}")
                texts[path] = path.read_text()
            match step.kind:
                case "file":
                    texts[path] = block
                case "append":
                    texts[path] += block
                case _:
                    texts[path] = edited(texts[path], step.lines, place)
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def command(self, command: Command, place: str) -> None:
        script = f'{command.text}\ncode=$?\npwd > "$PLACE_FILE"\nexit $code'
        environment = {**self.environment, "PLACE_FILE": str(self.place_file)}
        if self.background:
            environment["QUIPU_URL"] = self.address
        try:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=COMMAND_S_MAX,
            )
        except subprocess.TimeoutExpired:
            raise PageError(f"{place}: `{command.text}` took over {COMMAND_S_MAX} s") from None
        if self.place_file.exists():
            self.folder = Path(self.place_file.read_text().strip())
        self.compare(command, place, done.returncode, done.stdout)

    def compare(self, command: Command, place: str, code: int, printed: str) -> None:
        printed = printed.replace(self.address, SHOWN_ADDRESS)
        fails = any(line.startswith("error:") for line in command.output)
        if (code != 0) != fails:
            raise PageError(f"{place}: `{command.text}` ended with {code}:\n{printed}")
        if command.shows_output and not fits(command.output, printed):
            shown = "\n".join(command.output)
            raise PageError(
                f"{place}: `{command.text}`: the output differs\nshown:\n{shown}\nprinted:\n{printed}"
            )

    def start(self, step: Step, place: str) -> None:
        command = step.commands[0]
        if self.background:
            raise PageError(f"{place}: `{self.background.command}` is still running")
        if not command.text.startswith(HOSTS):
            raise PageError(f"{place}: only {' and '.join(HOSTS)} run in the background")
        self.background = Background(command.text, self.folder, self.environment)
        self.address = self.background.address()
        self.background.expect(command.output, self.address, place)

    def expect(self, step: Step, place: str) -> None:
        if not self.background:
            raise PageError(f"{place}: nothing runs in the background")
        self.background.expect(step.lines, self.address, place)

    def stop(self) -> None:
        if not self.background:
            raise PageError(f"{self.name}: nothing runs in the background")
        background, self.background = self.background, None
        if code := background.stop():
            raise PageError(f"{self.name}: `{background.command}` ended with {code}")


def run(page: Path, quipu: Path, parent: Path | None, keeps: bool) -> bool:
    """Runs one page. Returns whether it did what it shows."""
    folder = Path(tempfile.mkdtemp(prefix=f"{page.stem}-", dir=parent)).resolve()
    print(f"{page.name}: in {folder}", flush=True)
    tutorial = Run(page.name, folder, quipu)
    try:
        tutorial.page(page.read_text())
    except PageError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    finally:
        if not keeps:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{page.name}: {tutorial.seconds:.0f} s", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path, help="the pages, in their order")
    parser.add_argument("--quipu", required=True, type=Path, help="the program `quipu`")
    parser.add_argument("--parent", type=Path, help="where the empty folders are made")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    words = parser.parse_args()
    quipu = words.quipu.resolve()
    if not os.access(quipu, os.X_OK):
        parser.error(f"{quipu} is not a program; build it with `cargo build --bin quipu`")
    done = [run(page, quipu, words.parent, words.keep) for page in words.pages]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
