"""The exports of a component: a thin layer over ``driver``, ``upcasts`` and ``projections``.

It is imported only while a component is built. What a call does not change is made here, once,
and becomes part of the component.
"""

from __future__ import annotations

import gc
import importlib
import linecache
import sys
import uuid
import weakref
from typing import Any

from componentize_py_types import Err
from wit_world.exports import manifest as wit_manifest
from wit_world.imports import diagnostics, types

from . import faults, log, purity
from .errors import BadEvent, DriverError, Internal, UnknownEvent
from .guest import Guest, guest_in
from .manifest import Manifest, MessageType, manifest_of
from .projections import Recorded, Untyped, Work


def load(module_name: str, file: str) -> dict[str, Any]:
    """Imports the entry module of a guest and returns the classes of its exports."""
    log.send_to(_log)
    purity.replace()
    module = importlib.import_module(module_name)
    guest = guest_in(vars(module), file)
    faults.roots[:] = [f"{path}/" for path in sys.path if path[1:].isdigit()]
    exports: dict[str, Any] = {"Manifest": _manifest(manifest_of(guest))}
    if guest.decider is not None:
        from . import _decider

        exports["Decider"] = _decider.export(guest.decider)
    if guest.upcasts:
        exports["Upcaster"] = _upcaster(guest)
    if guest.projections:
        exports["Projection"] = _projection(guest)
    _keep_sources()
    sys.stdout, sys.stderr = _Lines(2), _Lines(3)  # type: ignore[assignment]
    # The first finalizer imports and registers: a fresh instance need not do that.
    weakref.finalize(_Lines(0), int)
    purity.close()
    # What exists now lives as long as the instance: the collector need not visit it.
    gc.collect()
    gc.freeze()
    return exports


def fold_error(error: BaseException) -> Err[Any]:
    """The error of a call that folds events."""
    text = log.bounded(str(error) if isinstance(error, DriverError) else faults.text_of(error))
    if isinstance(error, UnknownEvent):
        return Err(types.FoldError_UnknownEvent(text))
    if isinstance(error, BadEvent):
        return Err(types.FoldError_BadEvent(text))
    return Err(types.FoldError_Internal(text))


class _Lines:
    """Prints to the host's log."""

    encoding = "utf-8"

    def __init__(self, level: int) -> None:
        self._level = level
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        self._line = self._line[:4096]
        for line in lines:
            _log(self._level, log.bounded(line))
        return len(text)

    def flush(self) -> None:
        pass


def _log(level: int, message: str) -> None:
    diagnostics.log(_LEVELS[level], message)


_LEVELS = list(diagnostics.Level)


def _keep_sources() -> None:
    """Keeps the source of the guest's modules, because a traceback shows lines of it."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        loader = getattr(module, "__loader__", None)
        if not file or not hasattr(loader, "get_source") or _is_own(file):
            continue
        source = loader.get_source(module.__name__) or ""
        lines = source.splitlines(keepends=True)
        linecache.cache[file] = (len(source), None, lines, file)


def _is_own(file: str) -> bool:
    python = file.startswith(("/python/", "/bundled/", "/world/"))
    return python or file.startswith(faults.SDK)


def _manifest(manifest: Manifest) -> type:
    def message_type(known: MessageType) -> Any:
        return wit_manifest.MessageType(
            known.name,
            known.schema_version,
            list(known.aliases),
            "application/json",
            known.json_schema,
        )

    info = wit_manifest.Info(
        manifest.name,
        manifest.version,
        manifest.state_schema_version,
        list(manifest.migrations),
        [message_type(known) for known in manifest.commands],
        [message_type(known) for known in manifest.events],
        list(manifest.annotations),
    )

    class Exported:
        def describe(self) -> Any:
            return info

    return Exported


def _upcaster(guest: Guest) -> type:
    from wit_world.exports import upcaster

    declared = [
        upcaster.Step(category, step.type, step.from_version, list(step.to))
        for category, step in guest.steps
    ]
    steps = [step for _, step in guest.steps]

    def lifted(step: Any, event: Any) -> list[Any]:
        if event.body.__class__ is not types.Body_Json:
            raise BadEvent(f"event {event.type}: body is binary, expected JSON")
        return [
            upcaster.Upcasted(part.type, part.schema_version, types.Body_Json(part.body))
            for part in step.upcast(event.body.value)
        ]

    class Exported:
        def steps(self) -> Any:
            return declared

        def upcast(self, step: int, events: Any) -> Any:
            try:
                if step >= len(steps):
                    raise Internal(f"no step {step}; there are {len(steps)}")
                return [lifted(steps[step], event) for event in events]
            except BaseException as error:
                raise fold_error(error) from None

    return Exported


def _projection(guest: Guest) -> type:
    from wit_world.exports import projection as wit

    definitions = [_definition(wit, known) for known in guest.projections]

    def named(name: str) -> Any:
        known = guest.projection_named.get(name)
        if known is None:
            raise Internal(f"no projection {name:.64}")
        return known

    class Exported:
        def define(self) -> Any:
            return definitions

        def keys(self, projection: str, events: Any) -> Any:
            try:
                known = named(projection)
                return [known.keys(_recorded(event)) for event in events]
            except BaseException as error:
                raise fold_error(error) from None

        def apply(self, projection: str, work: Any) -> Any:
            try:
                known = named(projection)
                return [
                    known.apply(Work(it.key, it.document, list(map(_recorded, it.events))))
                    for it in work
                ]
            except BaseException as error:
                raise fold_error(error) from None

    return Exported


def _definition(wit: Any, known: Any) -> Any:
    detail = types.Detail(0)
    if known.tags:
        detail |= types.Detail.TAGS
    if known.annotations:
        detail |= types.Detail.ANNOTATIONS
    return wit.Definition(
        known.name,
        known.version,
        [wit.Source(category, events) for category, events in known.sources()],
        detail,
        [wit.Index(it.name, it.pointer, wit.Kind[it.kind.upper()]) for it in known.indexes],
    )


def _recorded(given: Any) -> Recorded[Untyped]:
    event = given.event
    body = event.body.value if event.body.__class__ is types.Body_Json else None
    high, low = given.id
    return Recorded(
        Untyped(event.type, event.schema_version, body),
        given.stream,
        uuid.UUID(int=high << 64 | low),
        event.version,
        given.position,
        event.recorded_at,
        given.part,
        tuple(given.tags),
        tuple(given.annotations),
    )
