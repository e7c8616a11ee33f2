"""Tests of projections."""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from typing import Any

from .. import purity
from ..context import microseconds_of
from ..errors import DriverError
from ..message import attributes
from ..projections import Projection, Recorded, Untyped, Work
from ..typeshapes import shape_of


class Projected:
    """The documents of a projection after some events."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._documents: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._position = 0
        self._common: dict[str, Any] = {}

    def event(self, stream: str, event: Any) -> Projected:
        """Folds an event of a stream. Types that the projection does not name are refused."""
        known = attributes(type(event))
        body = shape_of(type(event)).write(event)
        return self.stored(stream, known.name, known.version, body)

    def stored(self, stream: str, event_type: str, schema_version: int, body: Any) -> Projected:
        """Folds an event as it is stored. The body is JSON, or a dict."""
        self._position += 1
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        text = body if isinstance(body, str) else json.dumps(body)
        recorded = Recorded(
            Untyped(event_type, schema_version, text),
            stream,
            uuid.UUID(int=self._position),
            version,
            self._position,
            **self._common,
        )
        try:
            with purity.watched():
                self._fold(recorded)
        except DriverError as error:
            raise AssertionError(str(error)) from None
        return self

    def at(self, time: datetime.datetime | str) -> Projected:
        """Sets when the following events were recorded."""
        if isinstance(time, str):
            time = datetime.datetime.fromisoformat(time)
        self._common["recorded_at_us"] = microseconds_of(time)
        return self

    def tag(self, tag: str) -> Projected:
        """Adds a tag to the following events, if the projection asks for tags."""
        if self._projection.tags:
            self._common["tags"] = (*self._common.get("tags", ()), tag)
        return self

    def annotation(self, name: str, value: str) -> Projected:
        """Adds an annotation to the following events, if the projection asks for them."""
        if self._projection.annotations:
            known = self._common.get("annotations", ())
            self._common["annotations"] = (*known, (name, value))
        return self

    def document(self, key: str) -> Any:
        """Returns the document of that key; none when there is none."""
        return self._projection.document(Work(key, self._documents.get(key), []))

    def documents(self) -> dict[str, Any]:
        """Returns all documents, by key."""
        return {key: self.document(key) for key in sorted(self._documents)}

    def _fold(self, recorded: Recorded[Untyped]) -> None:
        # The position is not known yet where keys are asked.
        for key in self._projection.keys(dataclasses.replace(recorded, position=0)):
            work = Work(key, self._documents.get(key), [recorded])
            text = self._projection.apply(work)
            if text is None:
                self._documents.pop(key, None)
            else:
                self._documents[key] = text


def projected(projection: Projection) -> Projected:
    """Starts a test of a projection, without events."""
    return Projected(projection)
