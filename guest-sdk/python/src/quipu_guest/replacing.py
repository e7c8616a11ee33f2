"""Copies of frozen dataclasses."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from .records import is_plain

Value = TypeVar("Value")

_plain: dict[type, frozenset[str] | None] = {}


def replace(value: Value, /, **changes: Any) -> Value:
    """Returns a copy of a dataclass with other values of some fields.

    It does the same as ``dataclasses.replace``, with less fuel for a frozen class without
    ``__post_init__``.
    """
    cls = value.__class__
    try:
        fields = _plain[cls]
    except KeyError:
        fields = _plain[cls] = _fields(cls)
    if fields is None or not fields.issuperset(changes):
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]
    copy = object.__new__(cls)
    members = copy.__dict__
    members.update(value.__dict__)
    members.update(changes)
    return copy


def _fields(cls: type) -> frozenset[str] | None:
    """The names of the fields of a class that can be copied; none for any other."""
    if not dataclasses.is_dataclass(cls) or not is_plain(cls):
        return None
    fields = dataclasses.fields(cls)
    return frozenset(it.name for it in fields) if all(it.init for it in fields) else None
