"""The shape of a type: which form in JSON its values have."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

from . import bounds
from .anyjson import AnyJson
from .errors import DefinitionError
from .map import Map
from .records import Record
from .shapes import (
    TEXTS,
    Bool,
    Choice,
    Float,
    Int,
    Mapped,
    Nullable,
    Row,
    Sequence,
    Shape,
    Str,
)

_SETS = (set, frozenset)
_known: dict[type, Shape] = {}


def shape_of(tp: Any, where: str = "") -> Shape:
    """Returns the shape of a type. Raises DefinitionError for a type without a form in JSON."""
    if isinstance(tp, type) and tp in _known:
        return _known[tp]
    extras: tuple[Any, ...] = ()
    if typing.get_origin(tp) is typing.Annotated:
        extras = tp.__metadata__
        tp = tp.__origin__
    where = where or getattr(tp, "__name__", repr(tp))
    return _simple(tp, extras) or _generic(tp, extras, where) or _class(tp, where)


def _simple(tp: Any, extras: tuple[Any, ...]) -> Shape | None:
    between = next((it for it in extras if isinstance(it, bounds.Between)), None)
    if tp is int:
        return Int(int(between.min), int(between.max)) if between else Int()
    if tp is float:
        return Float(between.min, between.max) if between else Float()
    if tp is bool:
        return Bool()
    if tp is str:
        return Str(*_length(extras))
    if tp is Any or tp is object:
        return AnyJson()
    return TEXTS.get(_real(tp)) if isinstance(tp, type) else None


def _real(tp: type) -> type:
    """The class of the interpreter. In a component `purity` puts subclasses without a clock in the
    place of `datetime` and `date`."""
    return tp.__mro__[1] if tp in (datetime.datetime, datetime.date) and tp not in TEXTS else tp


def _generic(tp: Any, extras: tuple[Any, ...], where: str) -> Shape | None:
    origin, args = typing.get_origin(tp), typing.get_args(tp)
    if origin is typing.Union or isinstance(tp, types.UnionType):
        others = [arg for arg in args if arg is not type(None)]
        if len(others) == 1 and len(args) == 2:
            return Nullable(shape_of(others[0], where))
        raise DefinitionError(
            f"{where}: a union has no form in JSON unless it is `T | None`; use one dataclass "
            "with optional fields"
        )
    if origin is typing.Literal:
        for value in args:
            if type(value) not in (str, int):
                raise DefinitionError(f"{where}: Literal {value!r} is not a string or a number")
        return Choice({value: value for value in args})
    if tp in _SETS or origin in _SETS:
        raise DefinitionError(
            f"{where}: a set has no order, so decisions that iterate over it would differ from "
            "build to build; use a sorted tuple, or Map[bool]"
        )
    if tp in (list, tuple) or origin in (list, tuple):
        return _array(tp if origin is None else origin, args, extras, where)
    if tp in (dict, Map) or origin in (dict, Map, Mapping):
        return _mapped(tp if origin is None else origin, args, where)
    return None


def _array(kind: Any, args: tuple[Any, ...], extras: tuple[Any, ...], where: str) -> Shape:
    if kind is tuple and args and args[-1] is not Ellipsis:
        return Row([shape_of(arg, where) for arg in args])
    return Sequence(shape_of(args[0] if args else Any, where), kind, *_length(extras))


def _mapped(kind: Any, args: tuple[Any, ...], where: str) -> Shape:
    if kind is not Map and args and args[0] is not str:
        raise DefinitionError(f"{where}: keys of an object in JSON are strings; use dict[str, ...]")
    return Mapped(shape_of(args[-1] if args else Any, where), Map if kind is Map else dict)


def _class(tp: Any, where: str) -> Shape:
    if isinstance(tp, type) and issubclass(tp, enum.Enum):
        for member in tp:
            if type(member.value) not in (str, int):
                raise DefinitionError(
                    f"{tp.__name__}.{member.name}: the value is not a string or a number"
                )
        _known[tp] = Choice({member.value: member for member in tp})
    elif isinstance(tp, type) and dataclasses.is_dataclass(tp):
        record = Record(tp)
        _known[tp] = record
        try:
            record.complete(shape_of)
        except BaseException:
            del _known[tp]
            raise
    else:
        name = getattr(tp, "__name__", repr(tp))
        raise DefinitionError(
            f"{where}: the type {name} has no form in JSON; use a dataclass, an enum, or one of "
            "bool, int, float, str, list, tuple, dict, Map, datetime, date, UUID, Decimal, bytes"
        )
    return _known[tp]


def _length(extras: tuple[Any, ...]) -> tuple[int, int | None]:
    length = next((it for it in extras if isinstance(it, bounds.Length)), None)
    return (length.min, length.max) if length else (0, None)


def schema_of(tp: Any) -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of a type."""
    defs: dict[str, Any] = {}
    schema = shape_of(tp).schema(defs)
    reference = schema.get("$ref", "")
    if reference:
        name = reference.removeprefix("#/$defs/")
        schema = defs[name] if _used_once(name, defs) else schema
        if schema is defs[name]:
            del defs[name]
    if defs:
        schema = {**schema, "$defs": dict(sorted(defs.items()))}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _used_once(name: str, defs: dict[str, Any]) -> bool:
    """Whether no definition refers to this one."""
    return f"'#/$defs/{name}'" not in repr(defs)
