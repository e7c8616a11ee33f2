"""The logic that a host drives: types and JSON in, types and JSON out.

The exports of the component are a thin layer over ``Driver``, so what a host would see can be
tested natively.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from . import faults, log
from .anyjson import dump, parse, parse_exactly
from .context import Context
from .errors import BadCommand, BadEvent, Internal, Unfit, UnknownEvent
from .guest import Decider
from .rejection import Rejection

#: Most events of one decision.
EVENTS_MAX = 1000
#: A snapshot: the state schema version and the state as JSON.
Snapshot = tuple[int, str]


@dataclasses.dataclass(frozen=True)
class NewEvent:
    """An event with tags and annotations: ``NewEvent(Deposited(5), tags=["branch:7"])``.

    ``decide`` may return it in place of the event. Tags are labels ``name:value``. Annotations
    are added to the metadata of the command.
    """

    event: Any
    tags: Iterable[str] = ()
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Encoded:
    """An event to be recorded. ``body`` is JSON."""

    __slots__ = ("type", "schema_version", "body", "tags", "annotations", "event")

    def __init__(
        self,
        event: Any,
        type: str,
        schema_version: int,
        body: str,
        tags: list[str],
        annotations: list[tuple[str, str]],
    ) -> None:
        self.event, self.type, self.schema_version, self.body = event, type, schema_version, body
        self.tags, self.annotations = tags, annotations


class Driver:
    """One aggregate of a decider."""

    __slots__ = ("decider", "key", "state", "_text")

    def __init__(self, decider: Decider, key: str, snapshot: Snapshot | None = None) -> None:
        """Opens an aggregate with the initial state, or with that of a snapshot."""
        self.decider, self.key = decider, key
        #: The JSON text of the state, if it is known.
        self._text: str | None = None
        if snapshot is None:
            try:
                self.state = decider.initial()
            except BaseException as error:
                text = faults.text_of(error)
                raise Internal(f"the initial state of {decider.category}: {text}") from None
        else:
            self.state = self._restored(snapshot)

    def apply(self, event_type: str, schema_version: int, body: str) -> None:
        """Folds one event."""
        decider = self.decider
        known = decider.event_named.get(event_type)
        if known is None:
            raise UnknownEvent(f"{decider.category} has no event {event_type:.255}")
        if schema_version != known.version:
            raise UnknownEvent(
                f"event {event_type}: schema version {schema_version}, expected {known.version}"
            )
        try:
            event = known.read({} if body == "{}" or body == "null" else parse(body))
        except Unfit as error:
            raise BadEvent(f"event {event_type}: body does not fit: {error}") from None
        self._text = None
        try:
            state = decider.evolve(self.state, event)
        except BaseException as error:
            raise Internal(f"event {event_type}: {faults.text_of(error)}") from None
        if state is None:
            raise Internal(
                f"event {event_type}: evolve returned None; return the state, also when the event "
                "does not change it"
            )
        self.state = state

    def decide(
        self, command_type: str, schema_version: int, body: str, context: Context
    ) -> list[Encoded]:
        """Returns the events that a command leads to. Leaves the state unchanged.

        Raises Rejection when the domain said no.
        """
        decider = self.decider
        known = decider.command_named.get(command_type)
        if known is None:
            raise BadCommand(f"{decider.category} has no command {command_type:.255}")
        if schema_version != known.version:
            raise BadCommand(
                f"command {command_type}: schema version {schema_version}, expected {known.version}"
            )
        try:
            command = known.read({} if body == "{}" or body == "null" else parse(body))
        except Unfit as error:
            raise BadCommand(f"command {command_type}: body does not fit: {error}") from None
        if decider.is_state_frozen:
            return self._decided(command, context)
        before = self._state_text()
        try:
            return self._decided(command, context)
        finally:
            self._check_unchanged(before, command_type)

    def snapshot(self) -> Snapshot | None:
        """Returns the state; none when it has no form in JSON. The host's log then says why."""
        try:
            return self.decider.state_schema_version, self._state_text()
        except Internal as error:
            log.error(str(error))
            return None

    def view(self) -> str | None:
        """Returns the state for people; none when it is not shown or has no form in JSON."""
        view = self.decider.view
        if view is None:
            snapshot = self.snapshot()
            return None if snapshot is None else snapshot[1]
        try:
            shown = view(self.state)
            return None if shown is None else dump(shown)
        except BaseException as error:
            log.error(f"view of {self.decider.category} {self.key}: {faults.text_of(error)}")
            return None

    def _decided(self, command: Any, context: Context) -> list[Encoded]:
        decider = self.decider
        try:
            result = decider.decide(self.state, command, context)
            if result is None:
                return []
            if result.__class__ in decider.event_of:
                return [self._encoded(result)]
            if isinstance(result, NewEvent):
                return [self._encoded(result)]
            if isinstance(result, Rejection):
                raise TypeError("decide returned a Rejection; raise it")
            if dataclasses.is_dataclass(result) and not isinstance(result, Iterable):
                raise TypeError(self._not_an_event(result))
            events: list[Encoded] = []
            for event in result:
                if len(events) == EVENTS_MAX:
                    raise ValueError(f"decide returned more than {EVENTS_MAX} events")
                events.append(self._encoded(event))
            return events
        except Rejection:
            raise
        except Unfit as error:
            raise Internal(f"an event of {decider.category} has no form in JSON: {error}") from None
        except Internal:
            raise
        except BaseException as error:
            raise Internal(faults.text_of(error)) from None

    def _encoded(self, given: Any) -> Encoded:
        tags: list[str] = []
        annotations: list[tuple[str, str]] = []
        event = given
        if given.__class__ is NewEvent:
            event = given.event
            tags.extend(given.tags)
            annotations.extend(given.annotations.items())
        known = self.decider.event_of.get(event.__class__)
        if known is None:
            raise TypeError(self._not_an_event(event))
        if self.decider.tags is not None:
            tags.extend(self.decider.tags(event))
        if tags or annotations:
            check_labels(tags, annotations)
        try:
            body = known.write(event)
        except Unfit as error:
            raise error.at(known.name) from None
        return Encoded(event, known.name, known.version, body, tags, annotations)

    def _not_an_event(self, value: Any) -> str:
        name = type(value).__name__
        text = (
            f"decide returned a value of type {name}, which is not among the events of "
            f"{self.decider.category}"
        )
        if dataclasses.is_dataclass(value) and type(value) not in self.decider.command_of:
            text += f"; add {name} to events= of the decider"
        return text

    def _state_text(self) -> str:
        if self._text is None:
            try:
                self._text = self.decider.state.write(self.state)
            except Unfit as error:
                raise Internal(
                    f"state of {self.decider.category} {self.key} has no form in JSON: {error}"
                ) from None
        return self._text

    def _check_unchanged(self, before: str, command_type: str) -> None:
        self._text = None
        try:
            after = self._state_text()
        except Internal:
            after = ""
        if after != before:
            # The next command gets the state as it was.
            self.state = self.decider.state.read(parse(before))
            self._text = before
            raise Internal(
                f"decide changed the state at command {command_type}, from {before:.200} to "
                f"{after:.200}; return events, and change the state in evolve"
            ) from None

    def _restored(self, snapshot: Snapshot) -> Any:
        # What a snapshot contains is no fault of the guest: the stream can be folded from its events.
        version, body = snapshot
        category, expected = self.decider.category, self.decider.state_schema_version
        if version != expected:
            raise BadEvent(
                f"snapshot of {category}: state schema version {version}, expected {expected}"
            )
        try:
            return self.decider.state.read(parse(body))
        except Unfit as error:
            raise BadEvent(f"snapshot of {category}: {error}") from None


def migrate(decider: Decider, snapshot: Snapshot) -> Snapshot | None:
    """Migrates a snapshot by one step; none when no step begins at its version, or it fails."""
    version, body = snapshot
    step = next((it for it in decider.migrations if it.from_version == version), None)
    if step is None:
        return None
    try:
        return step.to_version, dump(step.edit(parse_exactly(body)))
    except BaseException as error:
        text = faults.text_of(error)
        log.warn(
            f"snapshot of {decider.category}: migration from state schema version {version}: {text}"
        )
        return None


def check_labels(tags: list[str], annotations: list[tuple[str, str]]) -> None:
    """Raises ValueError for tags and annotations that a host would not accept."""
    if len(tags) > 64 or len(annotations) > 64:
        raise ValueError(f"{len(tags)} tags and {len(annotations)} annotations, at most 64 of each")
    for tag in tags:
        if not isinstance(tag, str) or ":" not in tag or len(tag.encode()) > 255:
            raise ValueError(f"the tag {tag!r:.80} is not a name:value of at most 255 bytes")
    for name, value in annotations:
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(f"the annotation {name!r:.80} is not a pair of strings")
        if not name or name.startswith("quipu."):
            raise ValueError(f"the annotation {name!r:.80}: a name is not empty or in quipu.")
        name.encode(), value.encode()
