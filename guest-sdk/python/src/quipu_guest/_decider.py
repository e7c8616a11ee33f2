"""The exports of a decider. Imported only while a component is built."""

from __future__ import annotations

import sys
import types as python_types
from typing import Any

from componentize_py_types import Err
from wit_world.exports import decider as wit
from wit_world.imports import types

from . import faults, log
from ._component import fold_error
from .anyjson import dump
from .context import Context
from .driver import Driver, Encoded, migrate
from .errors import BadCommand, BadEvent, DriverError, Internal
from .guest import Decider
from .rejection import Rejection

Json = types.Body_Json
_NewEvent = types.NewEvent


def export(decider: Decider) -> type:
    """Returns the class of the interface. The tool looks for its resource in a module that has
    the name of the interface."""
    module = python_types.ModuleType("decider")
    module.Aggregate = _aggregate(decider)  # type: ignore[attr-defined]
    sys.modules["decider"] = module

    class Exported:
        def migrate(self, old: Any) -> Any:
            if old.body.__class__ is not Json:
                log.warn(f"snapshot of {decider.category}: body is binary, expected JSON")
                return None
            return _snapshot(migrate(decider, (old.state_schema_version, old.body.value)))

    return Exported


def _aggregate(decider: Decider) -> type:
    class Aggregate:
        def __init__(self, driver: Driver) -> None:
            self.driver = driver

        @classmethod
        def open(cls, id: str, from_: Any) -> Any:
            try:
                if from_ is None:
                    return cls(Driver(decider, id))
                if from_.body.__class__ is not Json:
                    raise BadEvent("a snapshot: body is binary, expected JSON")
                return cls(Driver(decider, id, (from_.state_schema_version, from_.body.value)))
            except BaseException as error:
                raise fold_error(error) from None

        def apply(self, events: Any) -> None:
            apply = self.driver.apply
            try:
                for event in events:
                    body = event.body
                    if body.__class__ is not Json:
                        raise BadEvent(f"event {event.type}: body is binary, expected JSON")
                    apply(event.type, event.schema_version, body.value)
            except BaseException as error:
                raise fold_error(error) from None

        def decide(self, command: Any) -> Any:
            driver, body = self.driver, command.body
            try:
                if body.__class__ is not Json:
                    raise BadCommand(f"command {command.type}: body is binary, expected JSON")
                context = Context(
                    driver.key,
                    command.id,
                    command.accepted_at,
                    command.seed,
                    command.annotations,
                )
                decided = driver.decide(command.type, command.schema_version, body.value, context)
                return [_new_event(event) for event in decided]
            except BaseException as error:
                raise _decide_error(error) from None

        def snapshot(self) -> Any:
            return _snapshot(self.driver.snapshot())

        def view(self) -> Any:
            return self.driver.view()

    return Aggregate


def _new_event(event: Encoded) -> Any:
    return _NewEvent(
        event.type, event.schema_version, Json(event.body), event.tags, event.annotations
    )


def _snapshot(snapshot: Any) -> Any:
    if snapshot is None:
        return None
    return wit.Snapshot(snapshot[0], Json(snapshot[1]))


def _decide_error(error: BaseException) -> Any:
    try:
        if isinstance(error, Rejection):
            details = None if error.details is None else Json(dump(error.details))
            code, message = log.bounded(str(error.code)), log.bounded(str(error.message))
            return Err(types.DecideError_Rejected(types.Rejection(code, message, details)))
    except BaseException as other:
        error = Internal(f"details of the rejection {error.code}: {faults.text_of(other)}")
    if isinstance(error, BadCommand):
        return Err(types.DecideError_BadCommand(log.bounded(str(error))))
    text = str(error) if isinstance(error, DriverError) else faults.text_of(error)
    return Err(types.DecideError_Internal(log.bounded(text)))
