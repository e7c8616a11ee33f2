"""The manifest of a guest: what a host needs to know of its component."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from .guest import Guest, Message
from .typeshapes import schema_of


@dataclasses.dataclass(frozen=True)
class MessageType:
    """A type of command or event."""

    name: str
    schema_version: int
    aliases: tuple[str, ...]
    #: JSON Schema of the body.
    json_schema: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The manifest. ``state_schema_version`` is 0 without a decider."""

    name: str
    version: str
    state_schema_version: int = 0
    migrations: tuple[tuple[int, int], ...] = ()
    commands: tuple[MessageType, ...] = ()
    events: tuple[MessageType, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


def manifest_of(guest: Guest) -> Manifest:
    """Returns the manifest of a guest."""
    decider = guest.decider
    documents = [
        (f"document-schema.{projection.name}", _schema(projection.document_type))
        for projection in guest.projections
        # A plain `dict` says nothing of its members.
        if projection.document_type is not dict
    ]
    if decider is None:
        return Manifest(guest.name, guest.version, annotations=tuple(documents))
    unchanged = [
        (f"unchanged.{event.name}", str(event.unchanged_since))
        for event in decider.events
        if event.unchanged_since is not None
    ]
    rejections = [("rejections", " ".join(decider.rejections))] if decider.rejections else []
    return Manifest(
        guest.name,
        guest.version,
        decider.state_schema_version,
        tuple((step.from_version, step.to_version) for step in decider.migrations),
        tuple(map(_message_type, decider.commands)),
        tuple(map(_message_type, decider.events)),
        tuple(unchanged + rejections + documents),
    )


def _message_type(message: Message) -> MessageType:
    return MessageType(message.name, message.version, message.aliases, _schema(message.cls))


def _schema(tp: Any) -> str:
    return json.dumps(schema_of(tp), ensure_ascii=False, separators=(",", ":"))
