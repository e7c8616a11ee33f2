"""Upcasters: old events in their current form."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterable
from typing import Any, Callable

from . import faults
from .anyjson import dump, parse_exactly
from .errors import BadEvent, DefinitionError, Internal, Unfit
from .typeshapes import shape_of

#: A type and its schema version.
Target = tuple[str, int]
Stage = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the events into which ``split`` divides an event."""

    type: str
    version: int
    body: Any


@dataclasses.dataclass(frozen=True)
class Upcasted:
    """An event after it was lifted. ``body`` is JSON."""

    type: str
    schema_version: int
    body: str


@dataclasses.dataclass(frozen=True)
class Step:
    """One step: it lifts one type of event from one schema version."""

    type: str
    from_version: int
    to: tuple[Target, ...]
    stages: tuple[Stage, ...]
    split: Stage | None = None

    def __str__(self) -> str:
        return versioned(self.type, self.from_version)

    def upcast(self, body: str) -> list[Upcasted]:
        """Lifts one event, which becomes no event, one event or several."""
        if not self.to:
            return []
        event = versioned(self.type, self.from_version)
        try:
            value = parse_exactly(body)
            # A message without content may be stored as null.
            value = {} if value is None else value
            for stage in self.stages:
                value = stage(value)
            parts = [Part(*self.to[0], value)] if self.split is None else self._parts(value)
        except Unfit as error:
            raise BadEvent(f"{event}: body does not fit: {error}") from None
        except BaseException as error:
            raise Internal(f"{event}: {faults.text_of(error)}") from None
        return [self._upcasted(part) for part in parts]

    def _parts(self, value: Any) -> list[Part]:
        assert self.split is not None
        made = self.split(value) or ()
        return [part if isinstance(part, Part) else Part(*part) for part in made]

    def _upcasted(self, part: Part) -> Upcasted:
        made = versioned(str(part.type), part.version)
        if (part.type, part.version) not in self.to:
            raise Internal(
                f"{self}: the step made {made}, which it does not declare; add it to the list of "
                "`split`"
            )
        try:
            return Upcasted(part.type, part.version, dump(part.body))
        except Unfit as error:
            raise Internal(f"{self}: the body of {made} has no form in JSON: {error}") from None


def versioned(event_type: str, version: int) -> str:
    """Names a type with its schema version."""
    return f"event {event_type} of schema version {version}"


class Steps:
    """The steps of one category. ``lift`` begins one; ``to``, ``split`` or ``drop`` ends it."""

    def __init__(self, category: str, steps: Iterable[Step] = ()) -> None:
        self.category = category
        self.steps = tuple(steps)

    def lift(self, event_type: str, from_version: int) -> Lift:
        """Begins the step that lifts events of a type from a schema version."""
        return Lift(self, event_type, from_version)

    def check(self) -> None:
        """Raises DefinitionError for steps that a host would refuse."""
        starts: dict[Target, Step] = {}
        for step in self.steps:
            _check_versions(step)
            if (step.type, step.from_version) in starts:
                raise DefinitionError(f"upcasts of {self.category}: two steps from {step}")
            starts[(step.type, step.from_version)] = step
        for step in self.steps:
            if self._leads_back(step):
                raise DefinitionError(
                    f"upcasts of {self.category}: the steps from {step} lead back to it"
                )

    def following(self, event_type: str, version: int) -> Step | None:
        """Returns the step that an event takes next: the first one from its version on."""
        later = [it for it in self.steps if it.type == event_type and it.from_version >= version]
        return min(later, key=lambda it: it.from_version, default=None)

    def _leads_back(self, start: Step) -> bool:
        seen: list[Step] = []
        open_steps = [start]
        while open_steps:
            for target in open_steps.pop().to:
                step = self.following(*target)
                if step is start:
                    return True
                if step is not None and step not in seen:
                    seen.append(step)
                    open_steps.append(step)
        return False


class Lift:
    """A step that is not complete yet: its changes, in order. The last call names the result."""

    def __init__(self, steps: Steps, event_type: str, from_version: int) -> None:
        self._steps, self._type, self._from_version = steps, event_type, from_version
        self._new_type = event_type
        self._stages: list[Stage] = []

    def rename_type(self, new_type: str) -> Lift:
        """Renames the type of the event. ``to`` then names a version of the new type."""
        self._new_type = new_type
        return self

    def rename_field(self, old: str, new: str) -> Lift:
        """Renames a field of the body. Does nothing without the field."""

        def rename(body: dict[str, Any]) -> dict[str, Any]:
            if old in body:
                body[new] = body.pop(old)
            return body

        return self._object(rename)

    def add_field(self, name: str, default: Any) -> Lift:
        """Adds a field with that value to the body, unless the body has the field."""
        return self._object(lambda body: {**body, name: body.get(name, default)})

    def remove_field(self, name: str) -> Lift:
        """Removes a field of the body, if there is one."""
        return self._object(lambda body: {key: it for key, it in body.items() if key != name})

    def map(self, function: Callable[[Any], Any]) -> Lift:
        """Maps the body to another form.

        The function receives a dict, or a dataclass if its parameter has one as its type. It
        returns a dict or a dataclass. Raise ``Unfit`` for a body that has no other form.
        """
        self._stages.append(_typed(function))
        return self

    def to(self, version: int) -> Steps:
        """Ends the step: the event gets this version, which is a later one unless the step
        renames the type."""
        return self._end(((self._new_type, version),), None)

    def split(self, to: Iterable[Target], function: Callable[[Any], Iterable[Any]]) -> Steps:
        """Ends the step: each event becomes the parts that the function returns, in that order.

        A part is a ``Part``, or a tuple of type, schema version and body. ``to`` has every type
        and version that may be returned. Without any part the event is dropped.
        """
        return self._end(tuple(tuple(target) for target in to), _typed(function))  # type: ignore[misc]

    def drop(self) -> Steps:
        """Ends the step: the event is dropped. Its body is not read."""
        return self._end((), None)

    def _object(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Lift:
        def checked(body: Any) -> Any:
            if not isinstance(body, dict):
                raise Unfit("expected an object")
            return change(body)

        self._stages.append(checked)
        return self

    def _end(self, to: tuple[Target, ...], split: Stage | None) -> Steps:
        step = Step(self._type, self._from_version, to, tuple(self._stages), split)
        return Steps(self._steps.category, (*self._steps.steps, step))


def _typed(function: Callable[[Any], Any]) -> Stage:
    """Lets the function receive a dataclass if its parameter has one as its type."""
    try:
        first = next(iter(inspect.signature(function).parameters))
        hint = typing.get_type_hints(function).get(first)
    except (ValueError, TypeError, NameError, StopIteration):
        hint = None
    if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
        return function
    shape = shape_of(hint)

    def typed(body: Any) -> Any:
        return function(shape.read(body))

    return typed


def _check_versions(step: Step) -> None:
    if type(step.from_version) is not int or step.from_version < 1:
        raise DefinitionError(f"step from {step}: schema versions begin at 1")
    for event_type, version in step.to:
        target = versioned(event_type, version)
        if type(version) is not int or version < 1:
            raise DefinitionError(f"step from {step} to {target}: schema versions begin at 1")
        if event_type == step.type and version <= step.from_version:
            raise DefinitionError(
                f"step from {step} to {target}: it has to lead to a later version"
            )
