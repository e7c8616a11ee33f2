"""Commands and events: dataclasses with a name and a schema version."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterable
from typing import Any, Callable, TypeVar, overload

from .errors import DefinitionError

Class = TypeVar("Class", bound=type)

#: Longest type name, in bytes.
NAME_BYTES_MAX = 255


@dataclasses.dataclass(frozen=True)
class Attributes:
    """What the manifest says of a message."""

    name: str
    version: int = 1
    aliases: tuple[str, ...] = ()
    #: The oldest schema version whose bodies have the current form.
    unchanged_since: int | None = None


@overload
def message(cls: Class, /) -> Class: ...
@overload
def message(
    *,
    name: str | None = None,
    version: int = 1,
    alias: str | Iterable[str] = (),
    unchanged_since: int | None = None,
) -> Callable[[Class], Class]: ...


@typing.dataclass_transform(frozen_default=True)
def message(
    cls: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    alias: str | Iterable[str] = (),
    unchanged_since: int | None = None,
) -> Any:
    """Makes a command or an event of a class.

    A class that is not a dataclass yet becomes a frozen one. Its type is the name of the class
    in kebab-case: ``OfferSent`` is ``offer-sent``. ``alias`` has older names of the type,
    ``version`` is the schema version of its body. ``unchanged_since`` is the oldest schema
    version whose bodies have the current form.
    """

    def decorate(cls: type) -> type:
        if "__dataclass_fields__" not in cls.__dict__:
            cls = dataclasses.dataclass(frozen=True)(cls)
        aliases = (alias,) if isinstance(alias, str) else tuple(alias)
        attributes = Attributes(name or kebab(cls.__name__), version, aliases, unchanged_since)
        _check(cls, attributes)
        cls.__quipu_message__ = attributes  # type: ignore[attr-defined]
        return cls

    return decorate if cls is None else decorate(cls)


def attributes(cls: type) -> Attributes:
    """Returns the attributes of a message class. A plain dataclass has the default ones."""
    own = cls.__dict__.get("__quipu_message__")
    return own if own is not None else Attributes(kebab(cls.__name__))


def kebab(name: str) -> str:
    """Returns a class name in kebab-case."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return name.strip("_").replace("_", "-").lower()


def classes(what: str, given: Any) -> tuple[type, ...]:
    """Returns the classes of a union, a list or a single class, each of which is a dataclass."""
    if isinstance(given, types.UnionType) or typing.get_origin(given) is typing.Union:
        found = typing.get_args(given)
    elif isinstance(given, type):
        found = (given,)
    else:
        found = tuple(given)
    for cls in found:
        if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
            name = getattr(cls, "__name__", repr(cls))
            raise DefinitionError(f"{what}: {name} is not a dataclass; decorate it by @message")
    return found


def check_names(what: str, messages: Iterable[Attributes]) -> None:
    """Raises when two messages have the same name or alias."""
    seen: set[str] = set()
    for known in messages:
        for name in (known.name, *known.aliases):
            if name in seen:
                raise DefinitionError(f"{what}: two types are called {name}")
            seen.add(name)


def _check(cls: type, known: Attributes) -> None:
    if type(known.version) is not int or not 1 <= known.version < 1 << 32:
        raise DefinitionError(f"{cls.__name__}: schema version {known.version}; they begin at 1")
    since = known.unchanged_since
    if since is not None and not 1 <= since <= known.version:
        raise DefinitionError(
            f"{cls.__name__}: unchanged_since is {since}, expected 1 to {known.version}"
        )
    for name in (known.name, *known.aliases):
        if not isinstance(name, str) or not 1 <= len(name.encode()) <= NAME_BYTES_MAX:
            raise DefinitionError(f"{cls.__name__}: the name {name!r} is not 1 to 255 bytes long")
