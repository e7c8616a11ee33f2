"""Migrations: how snapshots of an older form become newer ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Callable

from .errors import DefinitionError


@dataclass(frozen=True)
class Migration:
    """One migration. ``edit`` receives the old state as plain JSON and returns the new one."""

    from_version: int
    to_version: int
    edit: Callable[[Any], Any]


def migration(from_version: int, to_version: int, edit: Callable[[Any], Any]) -> Migration:
    """Makes a migration from a state schema version to a later one."""
    return Migration(from_version, to_version, edit)


def check(category: str, migrations: Iterable[Migration], current: int) -> tuple[Migration, ...]:
    """Returns the migrations in order. Raises unless they are a chain up to ``current``."""
    chain = sorted(migrations, key=lambda it: it.from_version)
    if type(current) is not int or current < 1:
        raise DefinitionError(f"{category}: state_schema_version {current}; they begin at 1")
    for step, following in zip(chain, [*(it.from_version for it in chain[1:]), current]):
        if not 1 <= step.from_version < step.to_version:
            raise DefinitionError(
                f"{category}: migration from {step.from_version} to {step.to_version}; it has to "
                "lead to a later version"
            )
        if step.to_version != following:
            raise DefinitionError(
                f"{category}: the migration from {step.from_version} leads to {step.to_version}, "
                f"the next one begins at {following}"
            )
    return tuple(chain)
