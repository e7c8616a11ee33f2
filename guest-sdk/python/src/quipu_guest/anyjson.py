"""JSON texts, and values of any form."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from json.encoder import encode_basestring as quote
from typing import Any

from .errors import Unfit
from .shapes import TEXTS, is_text, unfit

#: Deepest nesting of arrays and objects that is written.
DEPTH_MAX = 128


class Digits(float):
    """A number with fraction or exponent that keeps the digits of its text."""

    text: str

    def __new__(cls, text: str) -> Digits:
        number = super().__new__(cls, text)
        number.text = text
        return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unfit(f"the field {twice[:64]!r} is there twice")
    return value


def _constant(name: str) -> Any:
    raise Unfit(f"{name} is not a number in JSON")


class Reader:
    """Parses JSON texts. A field that is there twice does not fit."""

    def __init__(self, keep_digits: bool = False) -> None:
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=Digits if keep_digits else None,
        )
        self._scan = self._decoder.scan_once  # type: ignore[attr-defined]

    def __call__(self, text: str) -> Any:
        try:
            value, end = self._scan(text, 0)
            if end == len(text):
                return value
        except StopIteration:
            pass
        except (ValueError, RecursionError) as error:
            raise Unfit(str(error)) from None
        return self._whole(text)

    def _whole(self, text: str) -> Any:
        """Allows white space around the value."""
        try:
            return self._decoder.decode(text)
        except (ValueError, RecursionError) as error:
            raise Unfit(str(error)) from None


#: Parses a JSON text; raises Unfit.
parse = Reader()
#: The same, for bodies of which parts are written again: numbers keep their digits.
parse_exactly = Reader(keep_digits=True)


def dump(value: Any, depth: int = 0) -> str:
    """Returns the JSON text of any value; raises Unfit.

    Dataclasses are objects, enums are their values, and times, dates, UUIDs, decimal numbers and
    bytes are strings.
    """
    if depth > DEPTH_MAX:
        raise Unfit(f"more than {DEPTH_MAX} values in each other")
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return dump(value.value, depth + 1)
    if isinstance(value, str):
        if not is_text(value):
            raise unfit("a string", value)
        return quote(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _float(value)
    return _compound(value, depth)


def _float(value: float) -> str:
    if isinstance(value, Digits):
        return value.text
    if not math.isfinite(value):
        raise unfit("a finite number", value)
    return repr(float(value))


def _compound(value: Any, depth: int) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([dump(part, depth + 1) for part in value]) + "]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        from .typeshapes import shape_of

        return shape_of(type(value)).write(value)
    if isinstance(value, Mapping):
        parts = []
        for key, part in value.items():
            name = key.value if isinstance(key, enum.Enum) else key
            if not is_text(name):
                raise unfit("keys that are strings", name)
            parts.append(f"{quote(name)}:{dump(part, depth + 1)}")
        return "{" + ",".join(parts) + "}"
    for kind, shape in TEXTS.items():
        if isinstance(value, kind):
            return shape.write(value)
    raise unfit("a value that has a form in JSON", value)


class AnyJson:
    """A value of any form."""

    frozen = False

    def read(self, value: Any) -> Any:
        return value

    def write(self, value: Any) -> str:
        return dump(value)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {}
