"""Guests: what an entry module defines, and a component exports."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, Callable

from . import migrations as migrating
from .errors import DefinitionError
from .message import attributes, check_names, classes
from .projections import Projection
from .typeshapes import shape_of
from .upcasts import Step, Steps

_CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


class Message:
    """A type of command or event, ready to be read and written."""

    __slots__ = ("cls", "name", "version", "aliases", "unchanged_since", "read", "write", "shape")

    def __init__(self, cls: type) -> None:
        known = attributes(cls)
        self.cls = cls
        self.name, self.version, self.aliases = known.name, known.version, known.aliases
        self.unchanged_since = known.unchanged_since
        self.shape = shape_of(cls)
        self.read, self.write = self.shape.read, self.shape.write


class Decider:
    """The write side of a guest."""

    def __init__(
        self,
        category: str,
        commands: Any,
        events: Any,
        state: Any,
        initial: Callable[[], Any],
        decide: Callable[..., Any],
        evolve: Callable[[Any, Any], Any],
        view: Callable[[Any], Any] | None,
        tags: Callable[[Any], Iterable[str]] | None,
        state_schema_version: int,
        migrations: Iterable[migrating.Migration],
        rejections: Iterable[str],
    ) -> None:
        if not _CATEGORY.fullmatch(category):
            raise DefinitionError(
                f"category {category!r}: it has 1 to 64 of a-z 0-9 _, beginning with a letter"
            )
        self.category = category
        self.rejections = _codes(category, rejections)
        self.commands = _messages(f"commands of {category}", commands)
        self.events = _messages(f"events of {category}", events)
        self.state = shape_of(state, f"the state of {category}")
        self.is_state_frozen = self.state.frozen
        self.initial, self.evolve, self.view, self.tags = initial, evolve, view, tags
        self.decide = decide if _parameters(decide) > 2 else _without_context(decide)
        self.state_schema_version = state_schema_version
        self.migrations = migrating.check(category, migrations, state_schema_version)
        self.command_named = _by_name(self.commands)
        self.event_named = _by_name(self.events)
        self.event_of = {event.cls: event for event in self.events}
        self.command_of = {command.cls: command for command in self.commands}
        both = self.event_of.keys() & self.command_of.keys()
        for cls in both:
            raise DefinitionError(f"{category}: {cls.__name__} is a command and an event")


def _codes(category: str, rejections: Iterable[str]) -> tuple[str, ...]:
    """Checks the declared codes of rejections."""
    codes = tuple(rejections)
    for code in codes:
        if not isinstance(code, str) or not code or len(code.split()) != 1:
            raise DefinitionError(f"rejections of {category}: {code!r} is no code; use a word")
        if codes.count(code) > 1:
            raise DefinitionError(f"rejections of {category}: {code} is there twice")
    return codes


class Guest:
    """A component with a manifest: a decider, upcasters or projections, or several of them."""

    def __init__(
        self,
        name: str,
        version: str,
        decider: Decider | None = None,
        upcasts: Iterable[Steps] = (),
        projections: Iterable[Projection] = (),
    ) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(
                f"name {name!r}: it has 1 to 64 of a-z 0-9 _ - ., beginning with a letter"
            )
        if not _VERSION.fullmatch(version):
            raise DefinitionError(f"{name}: version {version!r} is not a semantic one, as in 1.0.0")
        self.name, self.version, self.decider = name, version, decider
        self.upcasts = tuple(upcasts)
        self.projections = tuple(projections)
        for steps in self.upcasts:
            steps.check()
        names = [it.name for it in self.projections]
        for twice in {it for it in names if names.count(it) > 1}:
            raise DefinitionError(f"{name}: two projections are called {twice}")
        if len(self.projections) > 64:
            raise DefinitionError(f"{name}: {len(self.projections)} projections, at most 64")
        #: All steps, each with its category.
        self.steps: tuple[tuple[str, Step], ...] = tuple(
            (steps.category, step) for steps in self.upcasts for step in steps.steps
        )
        self.projection_named = {it.name: it for it in self.projections}

    def interfaces(self) -> list[str]:
        """The interfaces that the component exports in addition to its manifest."""
        return [
            name
            for name, is_there in (
                ("decider", self.decider is not None),
                ("upcaster", bool(self.upcasts)),
                ("projection", bool(self.projections)),
            )
            if is_there
        ]


def decider(
    category: str,
    *,
    commands: Any,
    events: Any,
    state: Any = None,
    decide: Callable[..., Any] | None = None,
    evolve: Callable[[Any, Any], Any] | None = None,
    initial: Callable[[], Any] | None = None,
    view: Callable[[Any], Any] | None = None,
    tags: Callable[[Any], Iterable[str]] | None = None,
    version: str = "0.1.0",
    state_schema_version: int = 1,
    migrations: Iterable[migrating.Migration] = (),
    rejections: Iterable[str] = (),
    upcasts: Steps | None = None,
    projections: Iterable[Projection] = (),
) -> Any:
    """Makes a guest of a decider.

    With ``state``, ``decide`` and ``evolve`` it returns the guest. Without them it decorates the
    class of the state, which then has the methods ``decide`` and ``evolve``, and if it needs
    them ``view`` and the static method ``tags``.
    """

    def make(state: Any, decide: Any, evolve: Any, view: Any, tags: Any) -> Guest:
        start = initial
        if start is None:
            start = state
        if not callable(start) or decide is None or evolve is None:
            raise DefinitionError(f"{category}: a decider needs state, decide and evolve")
        if upcasts is not None and upcasts.category != category:
            raise DefinitionError(
                f"{category}: its upcasts are of {upcasts.category}; put them into a guest of "
                "their own: upcaster(...)"
            )
        made = Decider(
            category,
            commands,
            events,
            state,
            start,
            decide,
            evolve,
            view,
            tags,
            state_schema_version,
            migrations,
            rejections,
        )
        steps = () if upcasts is None else (upcasts,)
        return Guest(category, version, made, steps, projections)

    if state is not None:
        return make(state, decide, evolve, view, tags)

    def decorate(cls: Any) -> Any:
        method = cls.__dict__.get
        for name in ("decide", "evolve"):
            if not callable(method(name)):
                raise DefinitionError(f"{category}: {cls.__name__} has no method {name}")
        named = getattr(cls, "tags", None) if callable(getattr(cls, "tags", None)) else tags
        guest = make(cls, method("decide"), method("evolve"), method("view") or view, named)
        cls.__quipu_guest__ = guest
        return cls

    return decorate


def upcaster(name: str, *upcasts: Steps, version: str = "0.1.0") -> Guest:
    """Makes a guest of upcasters only, of one category or several."""
    if not upcasts:
        raise DefinitionError(f"{name}: an upcaster needs Steps of at least one category")
    return Guest(name, version, None, upcasts)


def projections(
    name: str, *members: Projection, version: str = "0.1.0", upcasts: Iterable[Steps] = ()
) -> Guest:
    """Makes a guest of projections."""
    if not members:
        raise DefinitionError(f"{name}: it needs at least one projection")
    return Guest(name, version, None, upcasts, members)


def guest_of(given: Any) -> Guest:
    """Returns the guest of a decorated class, or the guest itself."""
    if isinstance(given, Guest):
        return given
    own = getattr(given, "__dict__", {}).get("__quipu_guest__")
    if isinstance(own, Guest):
        return own
    raise DefinitionError(f"{given!r} is not a guest; make one with decider(...)")


def guest_in(namespace: dict[str, Any], where: str) -> Guest:
    """Returns the only guest that a module defines."""
    found: dict[int, tuple[str, Guest]] = {}
    for name, value in namespace.items():
        own = getattr(value, "__dict__", {}).get("__quipu_guest__", value)
        if isinstance(own, Guest):
            found.setdefault(id(own), (name, own))
    if not found:
        raise DefinitionError(
            f"{where} defines no guest; assign the result of decider(...), upcaster(...) or "
            "projections(...) to a name of the module"
        )
    if len(found) > 1:
        names = " and ".join(name for name, _ in found.values())
        raise DefinitionError(f"{where} defines {names}; a component holds one guest")
    return next(iter(found.values()))[1]


def _messages(what: str, given: Any) -> tuple[Message, ...]:
    messages = tuple(Message(cls) for cls in classes(what, given))
    if not messages:
        raise DefinitionError(f"{what}: at least one is needed")
    check_names(what, [attributes(message.cls) for message in messages])
    return messages


def _by_name(messages: Iterable[Message]) -> dict[str, Message]:
    return {name: message for message in messages for name in (message.name, *message.aliases)}


def _parameters(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise DefinitionError(
            f"decide is {function!r}; it has to be a function in Python"
        ) from None
    if any(it.kind is it.VAR_POSITIONAL for it in parameters):
        return 3
    return sum(it.kind in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD) for it in parameters)


def _without_context(decide: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda state, command, context: decide(state, command)
