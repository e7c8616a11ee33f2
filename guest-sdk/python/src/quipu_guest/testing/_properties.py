"""Properties that every decider has: the same events lead to the same state."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from ..context import Context
from ..driver import Driver
from ..rejection import Rejection
from ._diff import fail
from ._given import Given, _apply, _decider_of, _fold, _restored


def check_folding(guest: Any, *events: Any) -> None:
    """Checks that the state is the same for every cut of these events by a snapshot.

    For each version the state is stored and restored there, and the remaining events are folded
    into it. Two aggregates that are folded in turns must not share anything.
    """
    decider = _decider_of(guest)
    bodies = []
    for event in events:
        known = decider.event_of[type(event)]
        bodies.append((known.name, known.version, known.write(event)))
    whole = _folded(Driver(decider, "1"), bodies)
    other = Driver(decider, "2")
    for cut in range(len(bodies) + 1):
        part = _restored(decider, _folded(Driver(decider, "1"), bodies[:cut]))
        # The other aggregate is in the same instance, and has fewer events.
        _folded(other, bodies[max(cut - 1, 0) : cut])
        _folded(part, bodies[cut:])
        if part.state != whole.state or part.snapshot() != whole.snapshot():
            fail(f"a snapshot at version {cut} leads to another state", whole.state, part.state)
    if other.state != whole.state:
        fail("a second aggregate has another state", whole.state, other.state)


def check_random(
    guest: Any,
    command: Callable[[random.Random, Any], Any],
    *,
    runs: int = 50,
    length: int = 30,
    seed: int | None = None,
    invariant: Callable[[Any], bool] | None = None,
) -> None:
    """Decides random commands, and checks the folding and the decisions of each run.

    ``command(random, state)`` returns the next command. Each command is decided by an aggregate
    that folded every event, and by one that was restored from a snapshot at a random version;
    both must decide the same. ``invariant(state)`` must be true after each event. A failure names
    the seed, with which the run can be repeated.
    """
    for run in range(runs):
        number = random.randrange(1 << 32) if seed is None else seed
        try:
            _run(guest, command, random.Random(number), length, invariant)
        except AssertionError as error:
            raise AssertionError(f"run {run + 1}, seed={number}: {error}") from None
        if seed is not None:
            return


def _run(
    guest: Any,
    command: Callable[[random.Random, Any], Any],
    chance: random.Random,
    length: int,
    invariant: Callable[[Any], bool] | None,
) -> None:
    decider = _decider_of(guest)
    warm = Driver(decider, "1")
    restored = Driver(decider, "1")
    for number in range(length):
        if chance.random() < 0.2:
            restored = _restored(decider, warm)
        next_command = command(chance, warm.state)
        context = Context("1", f"c-{number}", number * 1_000_000, (number, 1, 2, 3))
        decided = []
        for driver in (warm, restored):
            outcome = Given(decider, driver, context).when(next_command)
            decided.append(_plain(outcome.encoded, outcome.rejection))
            events = outcome.encoded
        if decided[0] != decided[1]:
            fail(f"after a snapshot, {next_command!r} is decided differently", *decided)
        for driver in (warm, restored):
            _fold(driver, events)
        if warm.state != restored.state:
            fail("after a snapshot, the state differs", warm.state, restored.state)
        if invariant is not None and not invariant(warm.state):
            raise AssertionError(f"after {next_command!r} the invariant is false of {warm.state!r}")


def _plain(encoded: Sequence[Any], rejection: Rejection | None) -> list[Any]:
    if rejection is not None:
        return [rejection.code, rejection.message, rejection.details]
    return [(it.type, it.schema_version, it.body, it.tags, it.annotations) for it in encoded]


def _folded(driver: Driver, bodies: list[tuple[str, int, str]]) -> Driver:
    for name, version, body in bodies:
        _apply(driver, name, version, body)
    return driver
