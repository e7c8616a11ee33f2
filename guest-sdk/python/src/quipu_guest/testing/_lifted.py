"""Tests of upcasters."""

from __future__ import annotations

import json
from typing import Any

from .. import purity
from ..errors import DriverError
from ..guest import guest_of
from ..upcasts import Steps, Upcasted
from ._diff import fail
from ._given import _decider_of


class Lifted:
    """What a stored event became at the end of the chain."""

    def __init__(self, events: list[Upcasted]) -> None:
        self.events = events

    def to(self, *expected: tuple[str, int, Any]) -> None:
        """Expects these types, schema versions and bodies. A body is a dict, or JSON."""
        wanted = [(name, version, _value(body)) for name, version, body in expected]
        found = [(it.type, it.schema_version, json.loads(it.body)) for it in self.events]
        if found != wanted:
            fail("the lifted events differ", wanted, found)

    def read_by(self, guest: Any, *expected: Any) -> None:
        """Expects that a decider reads the result as these events."""
        decider = _decider_of(guest)
        found = []
        for event in self.events:
            known = decider.event_named.get(event.type)
            if known is None or known.version != event.schema_version:
                raise AssertionError(
                    f"{decider.category} does not read event {event.type} of schema version "
                    f"{event.schema_version}"
                )
            found.append(known.read(json.loads(event.body)))
        if found != list(expected):
            fail("the events that are read differ", list(expected), found)


def lifted(steps: Any, event_type: str, version: int, body: Any) -> Lifted:
    """Lifts a stored event by the steps of ``Steps`` or of a guest, up to the end of the chain."""
    chain = steps if isinstance(steps, Steps) else _steps_of(steps)
    chain.check()
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        with purity.watched():
            return Lifted(_lift(chain, Upcasted(event_type, version, text)))
    except DriverError as error:
        raise AssertionError(str(error)) from None


def _lift(steps: Steps, event: Upcasted) -> list[Upcasted]:
    step = steps.following(event.type, event.schema_version)
    if step is None:
        return [event]
    return [end for part in step.upcast(event.body) for end in _lift(steps, part)]


def _steps_of(given: Any) -> Steps:
    upcasts = guest_of(given).upcasts
    if len(upcasts) != 1:
        raise AssertionError(f"the guest has steps of {len(upcasts)} categories; pass its Steps")
    return upcasts[0]


def _value(body: Any) -> Any:
    return json.loads(body) if isinstance(body, str) else body
