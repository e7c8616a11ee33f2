"""An immutable mapping, for states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Map(Mapping[str, Value], Generic[Value]):
    """An immutable mapping with text keys.

    It iterates in the order of its keys, whatever the order of their insertion. So a state that
    was restored from a snapshot iterates like one that was folded from events.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Any = ()) -> None:
        self._items: dict[str, Value] = dict(items)

    def set(self, key: str, value: Value) -> Map[Value]:
        """Returns a copy in which ``key`` has this value."""
        copy = Map.__new__(Map)
        copy._items = {**self._items, key: value}
        return copy

    def without(self, key: str) -> Map[Value]:
        """Returns a copy without ``key``. Does nothing if there is no such key."""
        copy = Map.__new__(Map)
        copy._items = {known: value for known, value in self._items.items() if known != key}
        return copy

    def get(self, key: str, default: Any = None) -> Any:
        return self._items.get(key, default)

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Map):
            return self._items == other._items
        return isinstance(other, Mapping) and self._items == dict(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return f"Map({dict(self.items())!r})"
