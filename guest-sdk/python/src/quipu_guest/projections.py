"""Projections: documents, each a fold of the events that concern it."""

from __future__ import annotations

import dataclasses
import datetime
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Generic, TypeVar

from . import faults
from .anyjson import parse
from .context import time_of
from .errors import BadEvent, DefinitionError, Internal, Unfit, UnknownEvent
from .message import attributes, classes
from .typeshapes import shape_of

Event = TypeVar("Event")

#: The source of every category that is not named.
EVERY = ""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")
_KINDS = ("text", "integer", "number", "boolean")


@dataclasses.dataclass(frozen=True)
class Index:
    """A value of the documents by which they can be found: ``Index("owner", "/owner", "text")``.

    ``pointer`` is a JSON pointer into the document. ``kind`` is ``text``, ``integer``,
    ``number`` or ``boolean``.
    """

    name: str
    pointer: str
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise DefinitionError(
                f"index {self.name}: kind {self.kind!r}, expected {', '.join(_KINDS)}"
            )
        if self.pointer and not self.pointer.startswith("/"):
            raise DefinitionError(f"index {self.name}: pointer {self.pointer!r} begins without /")


@dataclasses.dataclass(frozen=True)
class Untyped:
    """An event of any type. ``body`` is JSON; none when it is of another content type."""

    type: str
    schema_version: int
    body: str | None


@dataclasses.dataclass(frozen=True)
class Recorded(Generic[Event]):
    """An event with its place in the log."""

    event: Event
    stream: str
    id: uuid.UUID = uuid.UUID(int=0)
    version: int = 1
    position: int = 0
    recorded_at_us: int = 0
    part: int = 0
    tags: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def category(self) -> str:
        """The part of the stream's id before the first ``-``; without one, the whole id."""
        return self.stream.partition("-")[0]

    @property
    def key(self) -> str:
        """The part of the stream's id after the first ``-``; empty without one."""
        return self.stream.partition("-")[2]

    @property
    def recorded_at(self) -> datetime.datetime:
        """When the host recorded the event: a time in UTC."""
        return time_of(self.recorded_at_us)

    def annotation(self, name: str) -> str | None:
        """Returns the annotation of that name."""
        return next((value for known, value in self.annotations if known == name), None)


@dataclasses.dataclass(frozen=True)
class Work:
    """One document and the events to fold into it. Events are ``Recorded[Untyped]``."""

    key: str
    document: str | None
    events: list[Recorded[Untyped]]


class Projection:
    """One projection. ``projection`` makes it."""

    def __init__(
        self,
        name: str,
        version: int,
        sources: Mapping[str, Any],
        document: Any,
        keys: Callable[[Any], Iterable[str]],
        apply: Callable[[Any, str, Any], Any],
        indexes: Iterable[Index],
        tags: bool,
        annotations: bool,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(
                f"projection {name!r}: a name has 1 to 48 of a-z 0-9 _ -, beginning with a letter"
            )
        if type(version) is not int or version < 1:
            raise DefinitionError(f"projection {name}: version {version}; versions begin at 1")
        if not 1 <= len(sources) <= 64:
            raise DefinitionError(f"projection {name}: {len(sources)} sources, expected 1 to 64")
        self.name, self.version = name, version
        self.indexes = tuple(indexes)
        if len(self.indexes) > 16:
            raise DefinitionError(f"projection {name}: {len(self.indexes)} indexes, at most 16")
        self.tags, self.annotations = tags, annotations
        self._keys, self._apply = keys, apply
        self._document = shape_of(document, f"the document of {name}")
        self.document_type = document
        self._sources = {
            category: None if wanted is Untyped else _readers(name, category, wanted)
            for category, wanted in sources.items()
        }

    def sources(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """Categories, each with the types and schema versions that are read from it."""
        return [
            (category, [(name, version) for name, (version, _) in (readers or {}).items()])
            for category, readers in self._sources.items()
        ]

    def keys(self, event: Recorded[Untyped]) -> list[str]:
        """Returns the keys of the documents that an event concerns."""
        known = self._read(event)
        try:
            keys = list(self._keys(known))
        except BaseException as error:
            raise Internal(f"{self._at(event)}: {faults.text_of(error)}") from None
        for key in keys:
            if not isinstance(key, str) or not 1 <= len(key.encode("utf-8", "replace")) <= 255:
                raise Internal(f"{self._at(event)}: the key {key!r:.80} is not 1 to 255 bytes")
        if len(set(keys)) != len(keys):
            raise Internal(f"{self._at(event)}: a key is there twice; return each key once")
        return keys

    def apply(self, work: Work) -> str | None:
        """Folds events into a document and returns it as JSON; none deletes it."""
        document = self.document(work)
        for event in work.events:
            known = self._read(event)
            try:
                document = self._apply(document, work.key, known)
            except BaseException as error:
                raise Internal(f"{self._at(event)}: {faults.text_of(error)}") from None
        if document is None:
            return None
        try:
            return self._document.write(document)
        except Unfit as error:
            raise Internal(f"{self.name} {work.key}: has no form in JSON: {error}") from None

    def document(self, work: Work) -> Any:
        """Reads the document of a unit of work."""
        if work.document is None:
            return None
        try:
            return self._document.read(parse(work.document))
        except Unfit as error:
            raise Internal(f"{self.name} {work.key}: cannot be read: {error}") from None

    def _read(self, recorded: Recorded[Untyped]) -> Recorded[Any]:
        category, event = recorded.category, recorded.event
        if category not in self._sources and EVERY not in self._sources:
            raise UnknownEvent(f"{self.name}: events of {category} are not read")
        readers = self._sources.get(category, self._sources.get(EVERY))
        if readers is None:
            return recorded
        known = readers.get(event.type)
        if known is None:
            raise UnknownEvent(f"{self.name}: no event {event.type} of {category} is read")
        version, read = known
        if event.schema_version != version:
            raise UnknownEvent(
                f"event {event.type}: schema version {event.schema_version}, expected {version}"
            )
        if event.body is None:
            raise BadEvent(f"event {event.type}: body is binary, expected JSON")
        try:
            return dataclasses.replace(recorded, event=read(parse(event.body)))
        except Unfit as error:
            raise BadEvent(f"event {event.type}: body does not fit: {error}") from None

    def _at(self, event: Recorded[Untyped]) -> str:
        return f"{self.name}: event {event.event.type} of {event.stream} version {event.version}"


def _readers(name: str, category: str, wanted: Any) -> dict[str, tuple[int, Any]]:
    what = f"projection {name}: events of {category or 'every category'}"
    readers: dict[str, tuple[int, Any]] = {}
    for cls in classes(what, wanted):
        known = attributes(cls)
        if known.name in readers:
            raise DefinitionError(f"{what}: two types are called {known.name}")
        readers[known.name] = (known.version, shape_of(cls).read)
    if not readers:
        raise DefinitionError(f"{what}: none is named; use Untyped to read all types")
    return readers


def projection(
    name: str,
    *,
    sources: Mapping[str, Any],
    keys: Callable[[Any], Iterable[str]],
    apply: Callable[[Any, str, Any], Any],
    document: Any = dict,
    version: int = 1,
    indexes: Iterable[Index] = (),
    tags: bool = False,
    annotations: bool = False,
) -> Projection:
    """Makes a projection.

    ``sources`` leads from categories to the message classes that are read from them, or to
    ``Untyped`` for events of all types. ``keys(recorded)`` returns the keys of the documents that
    an event concerns. ``apply(document, key, recorded)`` returns the next content of one of them;
    ``document`` is none when there is none yet, and a result of none deletes it. ``tags`` and
    ``annotations`` ask for those parts of the events.
    """
    return Projection(name, version, sources, document, keys, apply, indexes, tags, annotations)
