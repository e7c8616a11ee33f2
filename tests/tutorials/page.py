"""Reads a tutorial: the blocks that its reader runs, and the files that its reader writes.

A mark is an HTML comment on the line before a block:

    <!-- file: PATH -->      the block is the content of this file
    <!-- append: PATH -->    the block is added at the end of this file
    <!-- edit: PATH -->      the block is a `diff`: its lines with ` ` and `-` are in the file once, and
                             are replaced by its lines with ` ` and `+`; `@@` begins another place
    <!-- background -->      a block with a command: it keeps running; a block without one: what the
                             running command prints next
    <!-- stop -->            ends the running command with SIGINT, as Ctrl-C does; without a block

`sh` blocks are commands without output. In `console` blocks a line with `$ ` is a command, which
goes on after `\\` at the end of a line; the lines after it are its output. All other blocks without
a mark are only read.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

MARK = re.compile(r"<!-- (file|append|edit|background|stop)(?:: (\S+))? -->")
FENCE = re.compile(r"^```(\S*)$")
WITH_PATH = ("file", "append", "edit")


class PageError(Exception):
    """The page can't be run, or what it shows is not what happens."""


@dataclass
class Command:
    """One command, and the lines that the page shows after it."""

    text: str
    output: list[str] = field(default_factory=list)
    shows_output: bool = True


@dataclass
class Step:
    """A part of the page that does something. `kind` is `run` or a word of the marks."""

    kind: str
    line: int
    path: str = ""
    lines: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


def steps(text: str, name: str) -> list[Step]:
    """The steps of a page, in their order."""
    found: list[Step] = []
    mark: Step | None = None
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        place = f"{name}:{number}"
        if comment := MARK.fullmatch(line.strip()):
            if mark:
                raise PageError(f"{name}:{mark.line}: no block follows the mark")
            mark = marked(comment, number, place)
            if mark.kind == "stop":
                found.append(mark)
                mark = None
        elif line.startswith("<!--"):
            raise PageError(f"{place}: unknown mark: {line}")
        elif fence := FENCE.match(line):
            body = block(lines, place)
            if step := of_block(fence[1], body, mark, number, place):
                found.append(step)
            mark = None
        elif mark and line.strip():
            raise PageError(f"{name}:{mark.line}: the mark is not on the line before a block")
    if mark:
        raise PageError(f"{name}:{mark.line}: no block follows the mark")
    return found


def marked(comment: re.Match[str], number: int, place: str) -> Step:
    kind, path = comment[1], comment[2] or ""
    if (kind in WITH_PATH) != bool(path):
        raise PageError(f"{place}: `{kind}` " + ("has no path" if path else "needs a path"))
    if path.startswith("/") or ".." in Path(path).parts:
        raise PageError(f"{place}: {path} is not inside the folder of the tutorial")
    return Step(kind, number, path)


def block(lines: "enumerate[str]", place: str) -> list[str]:
    """The lines up to the end of the block."""
    body = []
    for _, line in lines:
        if line == "```":
            return body
        body.append(line)
    raise PageError(f"{place}: the block has no end")


def of_block(
    language: str, body: list[str], mark: Step | None, number: int, place: str
) -> Step | None:
    """The step that a block is, or None for one that is only read."""
    if mark and mark.kind in WITH_PATH:
        if (mark.kind == "edit") != (language == "diff"):
            raise PageError(f"{place}: an edit is a `diff` block, and only an edit is one")
        return Step(mark.kind, number, mark.path, lines=body)
    if language not in ("sh", "console"):
        return Step("background", number, lines=body) if mark else None
    found = commands(body, language == "console", place)
    if mark and len(found) != 1:
        raise PageError(f"{place}: one command runs in the background, found {len(found)}")
    return Step(mark.kind if mark else "run", number, commands=found)


def commands(body: list[str], is_console: bool, place: str) -> list[Command]:
    found: list[Command] = []
    continues = False
    for line in body:
        if continues:
            found[-1].text += "\n" + line
        elif not is_console:
            if not line.strip() or line.startswith("#"):
                continue
            found.append(Command(line, shows_output=False))
        elif line.startswith("$ "):
            found.append(Command(line[2:]))
        elif found:
            found[-1].output.append(line)
            continue
        else:
            raise PageError(f"{place}: output without a command: {line}")
        continues = line.endswith("\\")
    if not found:
        raise PageError(f"{place}: the block has no command")
    return found


def pattern(shown: list[str]) -> str:
    """The regular expression of shown output. A line `…` fits any lines, also none; `…` within a
    line fits any text of it."""
    parts = []
    for line in shown:
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            text = re.escape(line.rstrip()).replace("…", r"[^\n]*?")
            parts.append(text + r"[ \t]*\n")
    return "".join(parts)


def fits(shown: list[str], printed: str) -> bool:
    """Whether printed output is what the page shows, apart from blank lines at both ends."""
    printed = printed.strip("\n")
    text = printed + "\n" if printed else ""
    return re.fullmatch(pattern(shown), text) is not None


def edited(text: str, diff: list[str], place: str) -> str:
    """The text after a diff. Each of its parts begins with `@@`, except the first."""
    part: list[str] = []
    for line in [*diff, "@@"]:
        if not line.startswith("@@"):
            part.append(line or " ")
            continue
        if part:
            text = replaced(text, part, place)
        part = []
    return text


def replaced(text: str, part: list[str], place: str) -> str:
    if odd := [line for line in part if line[0] not in " +-"]:
        raise PageError(f"{place}: a line of a diff begins with a space, `+` or `-`: {odd[0]}")
    old = "".join(f"{line[1:]}\n" for line in part if line[0] != "+")
    new = "".join(f"{line[1:]}\n" for line in part if line[0] != "-")
    places = [found.start() for found in re.finditer(f"^(?={re.escape(old)})", text, re.MULTILINE)]
    if not old or len(places) != 1:
        count = f"{len(places)} times, expected once"
        raise PageError(f"{place}: the file has these lines {count}:\n{old}")
    return text[: places[0]] + new + text[places[0] + len(old) :]
