"""Bounds of fields, for ``typing.Annotated``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

#: Bounds of an ``int`` without ``Between``: what other guests and clients can read.
INT_MIN = -(1 << 63)
INT_MAX = (1 << 64) - 1


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included: ``Annotated[int, Between(1, 6)]``."""

    min: float
    max: float


@dataclass(frozen=True)
class Length:
    """Bounds of the length of a string in characters, or of a list in elements."""

    min: int = 0
    max: int | None = None


@dataclass(frozen=True)
class Name:
    """The name of a field in JSON: ``Annotated[str, Name("event-type")]``."""

    name: str


U32 = Annotated[int, Between(0, (1 << 32) - 1)]
U64 = Annotated[int, Between(0, (1 << 64) - 1)]
I32 = Annotated[int, Between(-(1 << 31), (1 << 31) - 1)]
I64 = Annotated[int, Between(-(1 << 63), (1 << 63) - 1)]
