"""The shape of a dataclass. Its reader and writer are generated once, so a call parses no types."""

from __future__ import annotations

import dataclasses
import keyword
import sys
import typing
from json.encoder import encode_basestring as quote
from typing import Any, Callable

from . import bounds
from .errors import DefinitionError, Unfit
from .shapes import MISSING, Bool, Int, Shape, Str, found, unfit

#: Name of generated code in tracebacks.
GENERATED = "<quipu_guest>"


class Record:
    """A dataclass: an object in JSON. Unknown fields are ignored."""

    read: Callable[[Any], Any]
    write: Callable[[Any], str]

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.fields: list[tuple[dataclasses.Field[Any], str, Shape]] = []
        self._is_frozen: bool | None = None

    def complete(self, shape_of: Callable[[Any, str], Shape]) -> None:
        """Finds the shapes of the fields, which may contain this record."""
        hints = _hints(self.cls)
        for field in dataclasses.fields(self.cls):
            where = f"{self.cls.__name__}.{field.name}"
            if not field.init:
                raise DefinitionError(f"{where}: a field with init=False cannot be read from JSON")
            hint = hints[field.name]
            self.fields.append((field, _json_name(field.name, hint), shape_of(hint, where)))
        names = [name for _, name, _ in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise DefinitionError(f"{self.cls.__name__}: two fields are called {name!r}")
        self.read = _reader(self)
        self.write = _writer(self)

    @property
    def frozen(self) -> bool:
        if self._is_frozen is None:
            self._is_frozen = True  # A record that contains itself depends on the other fields.
            params = self.cls.__dataclass_params__  # type: ignore[attr-defined]
            self._is_frozen = params.frozen and all(shape.frozen for *_, shape in self.fields)
        return self._is_frozen

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        name = self.cls.__name__
        reference = {"$ref": f"#/$defs/{name}"}
        if name in defs:
            return reference
        schema: dict[str, Any] = {"title": name, "type": "object"}
        defs[name] = schema
        if self.fields:
            schema["properties"] = {key: shape.schema(defs) for _, key, shape in self.fields}
        required = [key for field, key, _ in self.fields if _default(field) is MISSING]
        if required:
            schema["required"] = required
        return reference


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        module = sys.modules.get(cls.__module__)
        file = getattr(module, "__file__", None) or cls.__module__
        raise DefinitionError(
            f"{cls.__name__}: {error}; the types of its fields must be known in {file}"
        ) from None


def _json_name(name: str, hint: Any) -> str:
    """``from_`` is ``from`` in JSON, because a keyword cannot be the name of a field."""
    if typing.get_origin(hint) is typing.Annotated:
        for extra in hint.__metadata__:
            if isinstance(extra, bounds.Name):
                return extra.name
    return name[:-1] if name.endswith("_") and keyword.iskeyword(name[:-1]) else name


def _default(field: dataclasses.Field[Any]) -> Any:
    """A function that returns the default, or MISSING."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    if field.default is not dataclasses.MISSING:
        value = field.default
        return lambda: value
    return MISSING


def _reader(record: Record) -> Callable[[Any], Any]:
    names: dict[str, Any] = {"cls": record.cls, "MISSING": MISSING, "unfit": unfit, "Unfit": Unfit}
    lines = [
        "def read(value):",
        " if value.__class__ is not dict: raise unfit('an object', value)",
        " get = value.get",
    ]
    args, members = [], []
    for n, (field, key, shape) in enumerate(record.fields):
        names[f"slow{n}"] = _slow(key, shape, _default(field))
        lines.append(f" v{n} = get({key!r}, MISSING)")
        lines.append(f" if {_unusual(shape, n)}: v{n} = slow{n}(v{n})")
        args.append(f"{field.name}=v{n}" if field.kw_only else f"v{n}")
        members.append(f"{field.name!r}: v{n}")
    if is_plain(record.cls) and not args:
        names["only"] = record.cls()
        lines.append(" return only")
    elif is_plain(record.cls):
        # Faster than the constructor of a frozen class, which sets each field by a call.
        names["new"] = object.__new__
        lines.append(" made = new(cls)")
        lines.append(f" made.__dict__.update({{{', '.join(members)}}})")
        lines.append(" return made")
    else:
        lines.append(f" try: return cls({', '.join(args)})")
        # A class may check its values in __post_init__.
        lines.append(" except ValueError as error: raise Unfit(str(error)) from None")
    read: Callable[[Any], Any] = _compiled("read", lines, names)
    return read


def _writer(record: Record) -> Callable[[Any], str]:
    names: dict[str, Any] = {"cls": record.cls, "quote": quote, "unfit": unfit}
    names["other"] = _other(record.cls)
    lines = ["def write(value):", " if value.__class__ is not cls: other(value)"]
    parts = []
    for n, (field, key, shape) in enumerate(record.fields):
        names[f"write{n}"] = _named(key, shape.write)
        lines.append(f" v{n} = value.{field.name}")
        lines.append(f" t{n} = {_text(shape, n)}")
        parts.append(f"{quote(key) + ':'!r} + t{n}")
    lines.append(" return '{' + " + " + ',' + ".join(parts) + " + '}'" if parts else " return '{}'")
    write: Callable[[Any], str] = _compiled("write", lines, names)
    return write


def is_plain(cls: type) -> bool:
    """Whether a frozen dataclass consists of its fields: its constructor does nothing else."""
    params = cls.__dataclass_params__  # type: ignore[attr-defined]
    constructor = getattr(vars(cls).get("__init__"), "__code__", None)
    return bool(
        params.frozen
        and params.init
        # A class may have a constructor of its own, which the decorator keeps.
        and constructor is not None
        and constructor.co_filename == "<string>"
        and not hasattr(cls, "__post_init__")
        and not any("__slots__" in base.__dict__ for base in cls.__mro__[:-1])
        and cls.__new__ is object.__new__  # type: ignore[comparison-overlap]
    )


def _unusual(shape: Shape, n: int) -> str:
    """The condition under which the slow path looks at a value."""
    v = f"v{n}"
    if type(shape) is Int:
        return f"{v}.__class__ is not int or not {shape.low} <= {v} <= {shape.high}"
    if type(shape) is Str and shape.low == 0 and shape.high is None:
        return f"{v}.__class__ is not str or not {v}.isascii()"
    if type(shape) is Bool:
        return f"{v} is not True and {v} is not False"
    return "True"


def _text(shape: Shape, n: int) -> str:
    """The expression of a value's JSON text."""
    v = f"v{n}"
    if type(shape) is Int:
        return f"str({v}) if {v}.__class__ is int and {shape.low} <= {v} <= {shape.high} else write{n}({v})"
    if type(shape) is Str and shape.low == 0 and shape.high is None:
        return f"quote({v}) if {v}.__class__ is str and {v}.isascii() else write{n}({v})"
    return f"write{n}({v})"


def _slow(key: str, shape: Shape, default: Any) -> Callable[[Any], Any]:
    def slow(value: Any) -> Any:
        if value is MISSING and default is not MISSING:
            return default()
        try:
            return shape.read(value)
        except Unfit as error:
            raise error.at(key) from None

    return slow


def _named(key: str, write: Callable[[Any], str]) -> Callable[[Any], str]:
    def named(value: Any) -> str:
        try:
            return write(value)
        except Unfit as error:
            raise error.at(key) from None

    return named


def _other(cls: type) -> Callable[[Any], None]:
    def other(value: Any) -> None:
        raise Unfit(f"expected a value of {cls.__name__}, found {found(value)}")

    return other


def _compiled(name: str, lines: list[str], names: dict[str, Any]) -> Any:
    exec(compile("\n".join(lines), GENERATED, "exec"), names)
    return names[name]
