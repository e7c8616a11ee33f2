"""The command ``python -m quipu_guest``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from .build import BuildError, Built, build
from .errors import DefinitionError


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns the exit code: 0, 1 after an error, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m quipu_guest")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build the component of a guest")
    building.add_argument("--entry", default="app.py", help="module that defines the guest")
    building.add_argument("--out", help="file to write; by default NAME.wasm")
    building.add_argument("--verbose", action="store_true", help="show the reports of tools")
    testing = commands.add_parser("test", help="run unittest, several times in other hash orders")
    testing.add_argument("--orders", type=int, default=3, help="number of runs, 1 to 20")
    testing.add_argument("rest", nargs=argparse.REMAINDER, help="arguments of unittest")
    given = parser.parse_args(arguments)
    if given.command == "test":
        if not 1 <= given.orders <= 20:
            parser.error(f"--orders is {given.orders}, expected 1 to 20")
        return _test(given.orders, given.rest)
    return _build(given.entry, given.out, given.verbose)


def _build(entry: str, out: str | None, verbose: bool) -> int:
    try:
        built = build(entry, out, verbose)
    except (BuildError, DefinitionError) as error:
        print(f"error: {error}", file=sys.stderr)
        report = getattr(error, "report", "")
        if verbose and report:
            print(report, file=sys.stderr)
        return 1
    for warning in built.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(_summary(built))
    return 0


def _summary(built: Built) -> str:
    guest = built.guest
    lines = [f"{built.path}: {guest['name']} {guest['version']}, {built.size:,} bytes"]
    lines.append(f"imports      {', '.join(built.surface.imports) or 'nothing'}")
    for name in ("commands", "events", "steps", "projections"):
        if guest[name]:
            lines.append(f"{name:<12} {', '.join(guest[name])}")
    return "\n".join(lines)


def _test(orders: int, rest: list[str]) -> int:
    """Runs unittest with other orders of sets and other hashes of strings each time."""
    arguments = [it for it in rest if it != "--"]
    for order in range(orders):
        environment = {**os.environ, "PYTHONHASHSEED": str(order)}
        command = [sys.executable, "-m", "unittest", *arguments]
        code = subprocess.run(command, env=environment).returncode
        if code != 0:
            print(f"error: the tests fail with PYTHONHASHSEED={order}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
