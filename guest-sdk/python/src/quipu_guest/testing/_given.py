"""Tests of deciders: given, when, then."""

from __future__ import annotations

import datetime
import json
from typing import Any

from .. import purity
from ..context import Context, Seed, microseconds_of
from ..driver import Driver, Encoded, NewEvent, Snapshot, migrate
from ..errors import DriverError
from ..guest import Decider, guest_of
from ..rejection import Rejection
from ._diff import fail

#: Details that are not compared.
_ANY: Any = object()


class Given:
    """An aggregate with its past events. ``given`` makes it."""

    def __init__(self, decider: Decider, driver: Driver, context: Context) -> None:
        self._decider, self._driver, self._context = decider, driver, context

    def commands(self, *commands: Any) -> Given:
        """Decides commands and folds their events. Each must be accepted."""
        for command in commands:
            outcome = self.when(command)
            if outcome.rejection is not None:
                raise AssertionError(f"given command {command!r}: rejected: {outcome.rejection}")
            _fold(self._driver, outcome.encoded)
        return self

    def at(self, time: datetime.datetime | str) -> Given:
        """Sets the time at which the following commands are accepted."""
        if isinstance(time, str):
            time = datetime.datetime.fromisoformat(time)
        return self._with(accepted_at_us=microseconds_of(time))

    def seed(self, seed: Seed | int) -> Given:
        """Sets the seed of the following commands."""
        return self._with(seed=(seed, 0, 0, 0) if isinstance(seed, int) else seed)

    def key(self, key: str) -> Given:
        """Sets the key of the stream, which is ``1`` otherwise."""
        return self._with(key=key)

    def command_id(self, command_id: str) -> Given:
        """Sets the id of the following commands."""
        return self._with(command_id=command_id)

    def annotation(self, name: str, value: str) -> Given:
        """Adds an annotation to the following commands."""
        return self._with(annotations=(*self._context.annotations, (name, value)))

    def when(self, command: Any) -> Outcome:
        """Decides a command."""
        known = self._decider.command_of.get(type(command))
        if known is None:
            raise AssertionError(
                f"{type(command).__name__} is not a command of {self._decider.category}"
            )
        body = known.write(command)
        context = self._with().context()
        try:
            with purity.watched():
                encoded = self._driver.decide(known.name, known.version, body, context)
        except Rejection as rejection:
            return Outcome(self, [], rejection)
        except DriverError as error:
            raise AssertionError(f"command {known.name} {body}: {error}") from None
        return Outcome(self, encoded, None)

    def context(self) -> Context:
        """The context of the next command."""
        return self._context

    @property
    def driver(self) -> Driver:
        """What a host would call."""
        return self._driver

    @property
    def state(self) -> Any:
        """The state."""
        return self._driver.state

    @property
    def view(self) -> Any:
        """The state as people see it: plain JSON, or none when it is not shown."""
        with purity.watched():
            text = self._driver.view()
        return None if text is None else json.loads(text)

    def _with(self, **changes: Any) -> Given:
        fields = ("key", "command_id", "accepted_at_us", "seed", "annotations")
        values = {name: getattr(self._context, name) for name in fields}
        return Given(self._decider, self._driver, Context(**{**values, **changes}))


class Outcome:
    """The result of a command: say what is expected by ``then``, ``nothing`` or ``rejected``."""

    def __init__(self, given: Given, encoded: list[Encoded], rejection: Rejection | None) -> None:
        self._given = given
        self.encoded = encoded
        #: The rejection, if the domain said no.
        self.rejection = rejection

    @property
    def events(self) -> list[Any]:
        """The events, read back from their JSON."""
        named = self._given._decider.event_named
        return [named[it.type].read(json.loads(it.body)) for it in self.encoded]

    def then(self, *expected: Any) -> Given:
        """Expects exactly these events, in this order, and returns the aggregate after them.

        An event in a ``NewEvent`` is expected with its tags and annotations.
        """
        if self.rejection is not None:
            raise AssertionError(f"rejected: {self.rejection}; expected {list(expected)!r}")
        found = self.events
        for place, event in enumerate(expected[: len(found)]):
            if isinstance(event, NewEvent):
                made = self.encoded[place]
                found[place] = NewEvent(found[place], list(made.tags), dict(made.annotations))
        wanted = [
            NewEvent(it.event, list(it.tags), dict(it.annotations))
            if isinstance(it, NewEvent)
            else it
            for it in expected
        ]
        if found != wanted:
            fail("the events differ", wanted, found)
        _fold(self._given._driver, self.encoded)
        return self._given

    def nothing(self) -> Given:
        """Expects that the command is accepted without an event."""
        return self.then()

    def rejected(self, code: str, details: Any = _ANY, message: Any = _ANY) -> Rejection:
        """Expects a rejection with that code, and with these details and message if given."""
        if self.rejection is None:
            raise AssertionError(f"accepted: {self.events!r}; expected the rejection {code}")
        if self.rejection.code != code:
            fail("the rejection differs", code, str(self.rejection))
        if details is not _ANY and _plain(self.rejection.details) != _plain(details):
            fail(f"the details of {code} differ", details, self.rejection.details)
        if message is not _ANY and self.rejection.message != message:
            fail(f"the message of {code} differs", message, self.rejection.message)
        return self.rejection


def given(guest: Any, *events: Any) -> Given:
    """Starts a test with an aggregate after these events.

    Also checks that its state survives a snapshot.
    """
    decider = _decider_of(guest)
    driver = Driver(decider, "1")
    for event in events:
        known = decider.event_of.get(type(event))
        if known is None:
            raise AssertionError(f"{type(event).__name__} is not an event of {decider.category}")
        _apply(driver, known.name, known.version, known.write(event))
    restored = _restored(decider, driver)
    if restored.state != driver.state:
        fail("a snapshot changes the state", driver.state, restored.state)
    return Given(decider, driver, Context())


def migrated(guest: Any, state_schema_version: int, state: str) -> Given:
    """Starts a test with an aggregate that is opened from a snapshot of an older form, through
    the migrations up to the current one."""
    decider = _decider_of(guest)
    snapshot: Snapshot = (state_schema_version, state)
    while snapshot[0] != decider.state_schema_version:
        following = migrate(decider, snapshot)
        if following is None:
            raise AssertionError(
                f"the state {snapshot[1]} of version {snapshot[0]} has no migration"
            )
        snapshot = following
    try:
        return Given(decider, Driver(decider, "1", snapshot), Context())
    except DriverError as error:
        raise AssertionError(f"migrated state {snapshot[1]}: {error}") from None


def _restored(decider: Decider, driver: Driver) -> Driver:
    snapshot = driver.snapshot()
    if snapshot is None:
        raise AssertionError(f"the state {driver.state!r} has no form in JSON")
    try:
        return Driver(decider, driver.key, snapshot)
    except DriverError as error:
        raise AssertionError(f"the state {snapshot[1]} cannot be read back: {error}") from None


def _fold(driver: Driver, encoded: list[Encoded]) -> None:
    for event in encoded:
        _apply(driver, event.type, event.schema_version, event.body)


def _apply(driver: Driver, event_type: str, version: int, body: str) -> None:
    try:
        with purity.watched():
            driver.apply(event_type, version, body)
    except DriverError as error:
        raise AssertionError(f"event {event_type} {body}: {error}") from None


def _decider_of(guest: Any) -> Decider:
    decider = guest_of(guest).decider
    if decider is None:
        raise AssertionError(f"{guest_of(guest).name} has no decider")
    return decider


def _plain(value: Any) -> Any:
    from ..anyjson import dump

    return json.loads(dump(value))
