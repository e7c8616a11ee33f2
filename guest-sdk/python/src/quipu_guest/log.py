"""Lines for the host's log. Natively they go to stderr.

They are write-only, so they cannot make a guest impure. The host limits a line to 4 KiB, and an
instance to 100 lines in a second.
"""

from __future__ import annotations

import sys
from typing import Callable

_LEVELS = ("trace", "debug", "info", "warn", "error")


def trace(message: str) -> None:
    """Logs at the finest level."""
    _write(0, message)


def debug(message: str) -> None:
    """Logs a line for developers."""
    _write(1, message)


def info(message: str) -> None:
    """Logs a line for operators."""
    _write(2, message)


def warn(message: str) -> None:
    """Logs that something is odd, and handled."""
    _write(3, message)


def error(message: str) -> None:
    """Logs that something is wrong."""
    _write(4, message)


def _write(level: int, message: str) -> None:
    _sink(level, bounded(str(message)))


def bounded(text: str, bytes_max: int = 4096) -> str:
    """Returns a text in UTF-8 of at most so many bytes. What has no form in UTF-8 is escaped."""
    encoded = text[: bytes_max + 1].encode("utf-8", "backslashreplace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - 3].decode("utf-8", "ignore") + "..."


def _stderr(level: int, message: str) -> None:
    print(f"{_LEVELS[level]}: {message}", file=sys.stderr)


_sink: Callable[[int, str], None] = _stderr


def send_to(sink: Callable[[int, str], None]) -> None:
    """Sends all lines to a function. For the component."""
    global _sink
    _sink = sink
