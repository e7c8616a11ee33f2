"""A small host for tests: it runs a component under a fuel limit, as Quipu does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store
from wasmtime.component import Component, Linker, Record

FUEL = 500_000_000
MEMORY_BYTES_MAX = 256 << 20
_PACKAGE = "quipu:domain/{}@0.1.0"


def record(**fields: Any) -> Record:
    made = Record()
    for name, value in fields.items():
        setattr(made, name.replace("_", "-"), value)
    return made


def event(type: str, body: str, version: int = 1, schema_version: int = 1) -> Record:
    return record(
        type=type, schema_version=schema_version, version=version, recorded_at=0, body=body
    )


class Host:
    """A compiled component."""

    def __init__(self, file: Path) -> None:
        config = Config()
        config.consume_fuel = True
        config.cranelift_opt_level = "none"
        self.engine = Engine(config)
        self.component = Component.from_file(self.engine, str(file))

    def instance(self) -> Instance:
        return Instance(self)


class Instance:
    """An instance. ``lines`` has what it logged, ``fuel`` the cost of the last call."""

    def __init__(self, host: Host) -> None:
        self.store = Store(host.engine)
        self.store.set_fuel(FUEL)
        self.store.set_limits(memory_size=MEMORY_BYTES_MAX)
        self.lines: list[tuple[str, str]] = []
        self.fuel = 0
        linker = Linker(host.engine)
        with linker.root() as root:
            with root.add_instance(_PACKAGE.format("diagnostics")) as diagnostics:
                diagnostics.add_func("log", lambda _, level, text: self.lines.append((level, text)))
            root.add_instance(_PACKAGE.format("types")).close()
        self.instance = linker.instantiate(self.store, host.component)
        self.functions: dict[tuple[str, str], Any] = {}

    def call(self, interface: str, name: str, *args: Any) -> Any:
        """Calls an export. An error of the guest is a pair of its case and its payload."""
        function = self.functions.get((interface, name))
        if function is None:
            place = self.instance.get_export_index(self.store, _PACKAGE.format(interface))
            index = self.instance.get_export_index(self.store, name, place)
            function = self.instance.get_func(self.store, index)
            self.functions[(interface, name)] = function
        self.store.set_fuel(FUEL)
        result = function(self.store, *args)
        self.fuel = FUEL - self.store.get_fuel()
        return result

    def open(self, key: str = "1", snapshot: tuple[int, str] | None = None) -> Any:
        given = None
        if snapshot is not None:
            given = record(state_schema_version=snapshot[0], body=snapshot[1])
        return self.call("decider", "[static]aggregate.open", key, given)

    def apply(self, aggregate: Any, *events: Record) -> Any:
        return self.call("decider", "[method]aggregate.apply", aggregate, list(events))

    def decide(self, aggregate: Any, type: str, body: str = "{}", **fields: Any) -> Any:
        command = {
            "id": "c-1",
            "type": type,
            "schema_version": 1,
            "body": body,
            "accepted_at": 1_700_000_000_000_000,
            "seed": (1, 2, 3, 4),
            "annotations": [],
        }
        return self.call(
            "decider", "[method]aggregate.decide", aggregate, record(**{**command, **fields})
        )
