"""Failures that a person can read."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any, NoReturn

_LINES_MAX = 200


def lines_of(value: Any, indent: str = "") -> list[str]:
    """Writes a value with a line for each part."""
    inner = indent + "  "
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        if not fields:
            return [f"{indent}{type(value).__name__}()"]
        parts = [line for name, part in fields for line in _named(f"{name}=", part, inner)]
        return [f"{indent}{type(value).__name__}(", *parts, f"{indent})"]
    if isinstance(value, (list, tuple)) and value:
        parts = [line for part in value for line in lines_of(part, inner)]
        return [f"{indent}[", *parts, f"{indent}]"]
    if isinstance(value, dict) and value:
        parts = [line for key, part in value.items() for line in _named(f"{key!r}: ", part, inner)]
        return [f"{indent}{{", *parts, f"{indent}}}"]
    return [f"{indent}{value!r}"]


def fail(what: str, expected: Any, found: Any) -> NoReturn:
    """Fails with what was expected and what was found."""
    changes = difflib.ndiff(lines_of(expected), lines_of(found))
    shown = [line.rstrip() for line in changes if not line.startswith("?")]
    more = len(shown) - _LINES_MAX
    text = "\n".join(shown[:_LINES_MAX]) + (f"\n... {more} more lines" if more > 0 else "")
    raise AssertionError(f"{what}\n- is expected, + was found:\n{text}")


def _named(name: str, value: Any, indent: str) -> list[str]:
    first, *rest = lines_of(value, indent)
    return [f"{indent}{name}{first[len(indent) :]}", *rest]
