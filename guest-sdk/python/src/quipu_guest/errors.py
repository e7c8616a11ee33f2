"""Errors of this package."""

from __future__ import annotations


class DefinitionError(Exception):
    """A guest is not defined correctly. The text names the part and the remedy."""


class Unfit(Exception):
    """A value does not fit its type. The text begins with the path of the value."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path: list[str] = []

    def at(self, part: str) -> Unfit:
        """Adds the part that contains the value."""
        self.path.insert(0, part)
        return self

    def __str__(self) -> str:
        path = ".".join(self.path[:16])
        return f"{path}: {self.text}" if path else self.text


class DriverError(Exception):
    """A call of the host has no result. The text is what the host receives."""


class BadCommand(DriverError):
    """The command cannot be read: unknown type, or a body that does not fit."""


class UnknownEvent(DriverError):
    """A type or schema version that this guest does not read."""


class BadEvent(DriverError):
    """A body that does not fit its type."""


class Internal(DriverError):
    """A fault of the guest itself."""
