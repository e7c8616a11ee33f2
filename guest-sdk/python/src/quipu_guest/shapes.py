"""How values are read from JSON and written as JSON. Each type of Python has one shape."""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import enum
import json
import math
import uuid
from json.encoder import encode_basestring as quote
from typing import Any, Callable, Protocol

from .bounds import INT_MAX, INT_MIN
from .errors import Unfit
from .map import Map

#: The value of a field that is missing.
MISSING = object()
_DATETIME, _DATE = datetime.datetime, datetime.date


class Shape(Protocol):
    """Reads and writes the values of one type."""

    @property
    def frozen(self) -> bool:
        """Whether no part of a value can change."""

    def read(self, value: Any) -> Any:
        """Returns the value of this type; raises Unfit."""

    def write(self, value: Any) -> str:
        """Returns the JSON text of a value; raises Unfit."""

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        """Returns the JSON Schema. Named types are added to ``defs``."""


def found(value: Any) -> str:
    """Describes a value that does not fit, in at most about 60 characters."""
    if value is MISSING:
        return "nothing"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    if isinstance(value, (bool, int, float, str)):
        text = repr(value)[:200] if not isinstance(value, bool) else str(value).lower()
        text = text.encode("utf-8", "backslashreplace").decode()
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a value of type {type(value).__name__}"


def unfit(expected: str, value: Any) -> Unfit:
    """The error of a value that does not fit."""
    if value is MISSING:
        return Unfit("the field is missing")
    return Unfit(f"expected {expected}, found {found(value)}")


def is_text(value: Any) -> bool:
    """Whether a value is a string that has a form in UTF-8: no half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Int:
    """A number without fraction."""

    frozen = True

    def __init__(self, low: int = INT_MIN, high: int = INT_MAX) -> None:
        self.low, self.high = low, high

    def read(self, value: Any) -> int:
        if value.__class__ is int and self.low <= value <= self.high:
            return value  # type: ignore[no-any-return]
        raise unfit(f"a whole number from {self.low} to {self.high}", value)

    def write(self, value: Any) -> str:
        return str(self.read(int(value) if isinstance(value, enum.IntEnum) else value))

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Float:
    """A finite double."""

    frozen = True

    def __init__(self, low: float = -math.inf, high: float = math.inf) -> None:
        self.low, self.high = low, high

    def read(self, value: Any) -> float:
        if value.__class__ is int or isinstance(value, float):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and self.low <= number <= self.high:
                return number
        bounds = "" if math.isinf(self.low) else f" from {self.low} to {self.high}"
        raise unfit(f"a number{bounds}", value)

    def write(self, value: Any) -> str:
        return repr(self.read(value))

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "number"}
        if math.isfinite(self.low):
            schema |= {"minimum": self.low, "maximum": self.high}
        return schema


class Bool:
    """``true`` or ``false``."""

    frozen = True

    def read(self, value: Any) -> bool:
        if value is True or value is False:
            return value
        raise unfit("true or false", value)

    def write(self, value: Any) -> str:
        return "true" if self.read(value) else "false"

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "boolean"}


class Str:
    """A string."""

    frozen = True

    def __init__(self, low: int = 0, high: int | None = None) -> None:
        self.low, self.high = low, high

    def read(self, value: Any) -> str:
        if is_text(value):
            if self.low <= len(value) and (self.high is None or len(value) <= self.high):
                return value  # type: ignore[no-any-return]
            most = "" if self.high is None else f" to {self.high}"
            raise Unfit(f"expected {self.low}{most} characters, found {len(value)}")
        raise unfit("a string", value)

    def write(self, value: Any) -> str:
        return quote(self.read(value))

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string"}
        if self.low:
            schema["minLength"] = self.low
        if self.high is not None:
            schema["maxLength"] = self.high
        return schema


class Text:
    """A value that has a form as a string: a time, a date, a UUID, a decimal number or bytes."""

    frozen = True

    def __init__(
        self,
        expected: str,
        parse: Callable[[str], Any],
        form: Callable[[Any], str],
        schema: dict[str, Any],
    ) -> None:
        self._expected, self._parse, self._form, self._schema = expected, parse, form, schema

    def read(self, value: Any) -> Any:
        if is_text(value):
            try:
                return self._parse(value)
            except (ValueError, ArithmeticError, binascii.Error):
                pass
        raise unfit(self._expected, value)

    def write(self, value: Any) -> str:
        try:
            return quote(self._form(value))
        except (ValueError, TypeError, AttributeError):
            raise unfit(self._expected, value) from None

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", **self._schema}


class Choice:
    """One of several strings or numbers: an enum, or a ``Literal``."""

    frozen = True

    def __init__(self, values: dict[Any, Any]) -> None:
        """``values`` leads from each value in JSON to the value in Python."""
        self._values = values
        self._texts = {id(value): json.dumps(key) for key, value in values.items()}
        self._keep = list(values.values())
        names = ", ".join(json.dumps(key) for key in values)
        self._expected = names if len(names) <= 200 else f"one of {len(values)} values"

    def read(self, value: Any) -> Any:
        if value.__class__ is str or value.__class__ is int:
            chosen = self._values.get(value, MISSING)
            if chosen is not MISSING:
                return chosen
        raise unfit(self._expected, value)

    def write(self, value: Any) -> str:
        text = self._texts.get(id(value))
        if text is None:
            # An equal string is another object.
            text = next((self._texts[id(it)] for it in self._keep if _same(it, value)), None)
        if text is None:
            raise unfit(self._expected, value)
        return text

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"enum": list(self._values)}


class Nullable:
    """A value or ``null``."""

    def __init__(self, inner: Shape) -> None:
        self.inner = inner

    @property
    def frozen(self) -> bool:
        return self.inner.frozen

    def read(self, value: Any) -> Any:
        return None if value is None else self.inner.read(value)

    def write(self, value: Any) -> str:
        return "null" if value is None else self.inner.write(value)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [self.inner.schema(defs), {"type": "null"}]}


class Sequence:
    """An array of equal elements, as a list or a tuple."""

    def __init__(self, inner: Shape, kind: type, low: int, high: int | None) -> None:
        self.inner, self.kind, self.low, self.high = inner, kind, low, high

    @property
    def frozen(self) -> bool:
        return self.kind is tuple and self.inner.frozen

    def read(self, value: Any) -> Any:
        if value.__class__ is not list:
            raise unfit("an array", value)
        self._check(value)
        return self.kind(self._each(self.inner.read, value))

    def write(self, value: Any) -> str:
        if not isinstance(value, (list, tuple)):
            raise unfit("a list or a tuple", value)
        self._check(value)
        return f"[{','.join(self._each(self.inner.write, value))}]"

    def _check(self, value: Any) -> None:
        if len(value) < self.low or self.high is not None and len(value) > self.high:
            most = "" if self.high is None else f" to {self.high}"
            raise Unfit(f"expected {self.low}{most} elements, found {len(value)}")

    @staticmethod
    def _each(change: Callable[[Any], Any], values: Any) -> list[Any]:
        result: list[Any] = []
        try:
            for value in values:
                result.append(change(value))
        except Unfit as error:
            raise error.at(str(len(result))) from None
        return result

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": self.inner.schema(defs)}
        if self.low:
            schema["minItems"] = self.low
        if self.high is not None:
            schema["maxItems"] = self.high
        return schema


class Row:
    """An array with a type for each place: ``tuple[str, int]``."""

    def __init__(self, shapes: list[Shape]) -> None:
        self.shapes = shapes

    @property
    def frozen(self) -> bool:
        return all(shape.frozen for shape in self.shapes)

    def read(self, value: Any) -> Any:
        if value.__class__ is not list or len(value) != len(self.shapes):
            raise unfit(f"an array of {len(self.shapes)} elements", value)
        return tuple(self._each(Shape.read.__name__, value))

    def write(self, value: Any) -> str:
        if not isinstance(value, (list, tuple)) or len(value) != len(self.shapes):
            raise unfit(f"a tuple of {len(self.shapes)} elements", value)
        return f"[{','.join(self._each(Shape.write.__name__, value))}]"

    def _each(self, method: str, values: Any) -> list[Any]:
        result: list[Any] = []
        try:
            for shape, value in zip(self.shapes, values):
                result.append(getattr(shape, method)(value))
        except Unfit as error:
            raise error.at(str(len(result))) from None
        return result

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        items = [shape.schema(defs) for shape in self.shapes]
        count = len(items)
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}


class Mapped:
    """An object whose keys are not known before: ``dict[str, T]`` or ``Map[T]``."""

    def __init__(self, inner: Shape, kind: type) -> None:
        self.inner, self.kind = inner, kind

    @property
    def frozen(self) -> bool:
        return self.kind is Map and self.inner.frozen

    def read(self, value: Any) -> Any:
        if value.__class__ is not dict:
            raise unfit("an object", value)
        for key in value:
            if not is_text(key):
                raise unfit("keys that are strings", key)
        values = self._each(self.inner.read, value.items())
        return Map(values) if self.kind is Map else dict(values)

    def write(self, value: Any) -> str:
        if not isinstance(value, (dict, Map)):
            raise unfit("a dict or a Map", value)
        for key in value:
            if not is_text(key):
                raise unfit("keys that are strings", key)
        values = self._each(self.inner.write, value.items())
        return "{" + ",".join([f"{quote(key)}:{text}" for key, text in values]) + "}"

    @staticmethod
    def _each(change: Callable[[Any], Any], items: Any) -> list[tuple[str, Any]]:
        result = []
        for key, value in items:
            try:
                result.append((key, change(value)))
            except Unfit as error:
                raise error.at(str(key)[:64]) from None
        return result

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.inner.schema(defs)}


def _same(known: Any, value: Any) -> bool:
    return known.__class__ is value.__class__ and bool(known == value)


def _time(text: str) -> datetime.datetime:
    time = _DATETIME.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("no offset")
    return time.astimezone(datetime.timezone.utc)


def _time_form(value: Any) -> str:
    if not isinstance(value, _DATETIME) or value.tzinfo is None:
        raise ValueError("no offset")
    return value.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def _date_form(value: Any) -> str:
    if isinstance(value, _DATETIME) or not isinstance(value, _DATE):
        raise ValueError("not a date")
    return str(value.isoformat())


def _number(text: str) -> decimal.Decimal:
    number = decimal.Decimal(text)
    if not number.is_finite() or len(text) > 100:
        raise ValueError("not a number")
    return number


def _exactly(kind: type, form: Callable[[Any], str]) -> Callable[[Any], str]:
    def checked(value: Any) -> str:
        if not isinstance(value, kind):
            raise ValueError(f"not of type {kind.__name__}")
        return form(value)

    return checked


TEXTS: dict[type, Text] = {
    _DATETIME: Text(
        'a time with an offset, as in "2026-01-31T12:00:00Z"',
        _time,
        _time_form,
        {"format": "date-time"},
    ),
    _DATE: Text('a date, as in "2026-01-31"', _DATE.fromisoformat, _date_form, {"format": "date"}),
    uuid.UUID: Text("a UUID", uuid.UUID, _exactly(uuid.UUID, str), {"format": "uuid"}),
    decimal.Decimal: Text(
        'a decimal number in a string, as in "12.50"',
        _number,
        _exactly(decimal.Decimal, lambda value: str(_number(str(value)))),
        {"pattern": r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"},
    ),
    bytes: Text(
        "bytes in Base64",
        lambda text: base64.b64decode(text, validate=True),
        _exactly(bytes, lambda value: base64.b64encode(value).decode()),
        {"contentEncoding": "base64"},
    ),
}
