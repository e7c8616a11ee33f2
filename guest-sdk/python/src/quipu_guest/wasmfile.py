"""The imports and exports of a component file."""

from __future__ import annotations

import dataclasses

from .errors import DefinitionError

_COMPONENT = b"\0asm\x0d\0\x01\0"
_IMPORTS, _EXPORTS = 10, 11


@dataclasses.dataclass(frozen=True)
class Surface:
    """Names of what a component imports and exports."""

    imports: tuple[str, ...]
    exports: tuple[str, ...]


def surface_of(data: bytes) -> Surface:
    """Reads the sections of a component. Raises DefinitionError for other bytes."""
    if data[:8] != _COMPONENT:
        raise DefinitionError("not a component")
    names: dict[int, list[str]] = {_IMPORTS: [], _EXPORTS: []}
    at = 8
    while at < len(data):
        kind, (size, start) = data[at], _number(data, at + 1)
        if kind in names:
            names[kind].extend(_names(data, start, kind == _IMPORTS))
        at = start + size
    return Surface(tuple(names[_IMPORTS]), tuple(names[_EXPORTS]))


def _names(data: bytes, start: int, is_import: bool) -> list[str]:
    """The names of a section of imports or exports."""
    count, at = _number(data, start)
    names = []
    for _ in range(count):
        length, at = _number(data, at + 1)
        names.append(data[at : at + length].decode())
        at += length
        if is_import:
            at = _after_kind(data, at)
            continue
        # What is exported, and optionally the type under which it is.
        _, at = _number(data, at + (2 if data[at] == 0 else 1))
        at = _after_kind(data, at + 1) if data[at] else at + 1
    return names


def _after_kind(data: bytes, at: int) -> int:
    """The place after the description of an import or export."""
    kind = data[at]
    if kind == 0 or kind == 2:
        at += 1
    if kind == 3:
        at += 1
        if data[at] == 1:
            return at + 1
    return _number(data, at + 1)[1]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Reads an unsigned LEB128 number; returns it and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise DefinitionError("not a component")
