"""The text of an exception that a guest did not catch."""

from __future__ import annotations

import linecache
import os
import types

from .log import bounded
from .records import GENERATED

#: Longest text of a fault.
TEXT_BYTES_MAX = 4096
_MESSAGE_BYTES_MAX = 1024
_CAUSES_MAX = 3
_FRAMES_MAX = 30
#: Directory of this package.
SDK = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: Directories from which names of files are shortened.
roots: list[str] = []


def text_of(error: BaseException) -> str:
    """Returns the traceback of an exception, at most 4 KiB, without the frames of this package.

    The innermost frames are kept. Nothing is read from files, because a component has none.
    """
    chain: list[tuple[str, BaseException]] = [("", error)]
    while len(chain) < _CAUSES_MAX:
        last = chain[-1][1]
        if last.__cause__ is not None:
            chain.append(("caused by", last.__cause__))
        elif last.__context__ is not None and not last.__suppress_context__:
            chain.append(("while handling", last.__context__))
        else:
            break
    parts: list[str] = []
    for number, (relation, link) in enumerate(chain):
        room = TEXT_BYTES_MAX if number == 0 else TEXT_BYTES_MAX - _bytes(parts)
        text = _one(link, max(room - 40, 0))
        parts.append(f"\n{relation}: {text}" if relation else text)
    return bounded("".join(parts), TEXT_BYTES_MAX)


def _one(error: BaseException, room: int) -> str:
    head = bounded(_head(error), _MESSAGE_BYTES_MAX)
    lines = _frames(error.__traceback__)
    left_out = 0
    while lines and (len(lines) > _FRAMES_MAX or _bytes([head, *lines]) > room):
        lines.pop(0)
        left_out += 1
    if left_out:
        lines.insert(0, f"\n  ... {left_out} outer frames")
    return head + "".join(lines)


def _head(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception as other:
        message = f"its text raised {type(other).__name__}"
    name = type(error).__name__
    return f"{name}: {message}" if message else name


def _frames(traceback: types.TracebackType | None) -> list[str]:
    lines = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = code.co_filename
        if not file.startswith(SDK) and file != GENERATED:
            source = _source(file, traceback.tb_lineno)
            line = f"\n  {_short(file)}:{traceback.tb_lineno} in {code.co_name}"
            lines.append(bounded(f"{line}: {source}" if source else line, 256))
        traceback = traceback.tb_next
    return lines


def _source(file: str, line: int) -> str:
    entry = linecache.cache.get(file)
    lines = entry[2] if entry is not None and len(entry) > 2 else []
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def _short(file: str) -> str:
    for root in roots:
        if file.startswith(root):
            return file[len(root) :].lstrip("/\\")
    return file


def _bytes(texts: list[str]) -> int:
    return sum(len(text.encode("utf-8", "replace")) for text in texts)
