"""What a guest must not use: clocks, randomness, files. Each use fails with one sentence."""

from __future__ import annotations

import builtins
import datetime
import io
import os
import random
import secrets
import sys
import time
import types
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import machinery
from typing import Any, Callable

_CLOCK = (
    "a guest has no clock; use context.accepted_at, the time at which the host accepted the command"
)
_CHANCE = "a guest has no randomness of its own; use context.random(), which has the command's seed"
_ID = "a guest has no randomness of its own; use context.uuid(), which has the command's seed"
_BYTES = "a guest has no randomness of its own; use context.random().randbytes(n)"
_WORLD = "a guest has no files, network or processes; put what a decision needs into the command"

_IMPORT = "a component has no files; import it at the top of the module"

#: Modules, with the names in each that are not allowed, and the remedy.
FORBIDDEN: tuple[tuple[types.ModuleType, str, str], ...] = (
    (
        time,
        "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time "
        "process_time_ns thread_time thread_time_ns clock_gettime clock_gettime_ns sleep",
        _CLOCK,
    ),
    (
        random,
        "random uniform triangular randint choice randrange sample shuffle choices normalvariate "
        "lognormvariate expovariate vonmisesvariate gammavariate gauss betavariate "
        "binomialvariate paretovariate weibullvariate getstate setstate getrandbits randbytes seed",
        _CHANCE,
    ),
    (uuid, "uuid1 uuid4 uuid6 uuid7 getnode", _ID),
    (os, "urandom getrandom", _BYTES),
    (secrets, "token_bytes token_hex token_urlsafe choice randbelow randbits", _BYTES),
)
#: What a module may use while a component is built, and not in a call.
_FORBIDDEN_IN_CALLS = "open listdir scandir stat lstat getcwd mkdir remove rename system popen"
#: Functions of ``time`` that read the clock only if they get no time.
_WITH_TIME = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}


class Impure(RuntimeError):
    """A guest used what it has not. The text names it and the remedy."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name}: {remedy}")


def _names(forbidden: Any) -> Iterator[tuple[types.ModuleType, str, str]]:
    for module, names, remedy in forbidden:
        for name in names.split():
            if hasattr(module, name):
                yield module, name, remedy


# In a component: the names are replaced before the guest is imported.


def replace() -> None:
    """Replaces clocks and randomness, for good. For the component."""
    for module, name, remedy in list(_names(FORBIDDEN)):
        setattr(module, name, _refusal(f"{module.__name__}.{name}", remedy))
    for name, given in _WITH_TIME.items():
        setattr(time, name, _only_with_time(name, given, getattr(time, name)))
    random.Random = _seeded(random.Random)  # type: ignore[misc]
    random.SystemRandom = _refusal("random.SystemRandom", _CHANCE)  # type: ignore[misc, assignment]
    secrets.SystemRandom = random.SystemRandom  # type: ignore[misc]
    _replace_datetime()


def close() -> None:
    """Replaces files, and imports of modules that are not loaded yet. For the component."""
    for module, name, remedy in list(_names(((os, _FORBIDDEN_IN_CALLS, _WORLD),))):
        setattr(module, name, _refusal(f"os.{name}", remedy))
    builtins.open = io.open = _refusal("open", _WORLD)
    builtins.input = _refusal("input", _WORLD)
    # Modules that are part of the interpreter need no file.
    sys.meta_path[:] = [machinery.BuiltinImporter, machinery.FrozenImporter, _NoImport]


class _NoImport:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        raise Impure(f"import of {name} in a call", _IMPORT)


def _refusal(name: str, remedy: str) -> Callable[..., Any]:
    def refused(*_: Any, **__: Any) -> Any:
        raise Impure(name, remedy)

    refused.__name__ = name.rpartition(".")[2]
    return refused


def _only_with_time(name: str, given: int, function: Any) -> Callable[..., Any]:
    def checked(*args: Any) -> Any:
        if len(args) <= given or args[given] is None:
            raise Impure(f"time.{name}", _CLOCK)
        return function(*args)

    return checked


def _seeded(base: Any) -> Any:
    class Random(base):  # type: ignore[misc]
        def __new__(cls, seed: Any = None) -> Any:
            if seed is None:
                raise Impure("random.Random()", _CHANCE)
            return super().__new__(cls, seed)

        def seed(self, a: Any = None, version: int = 2) -> None:
            if a is None:
                raise Impure("random.Random.seed()", _CHANCE)
            super().seed(a, version)

    return Random


def _replace_datetime() -> None:
    real_datetime, real_date = datetime.datetime, datetime.date

    class OfReal(type):
        """Values that were made before, or by the interpreter, are instances too."""

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, cls.__mro__[1])

        def __subclasscheck__(cls, other: Any) -> bool:
            return issubclass(other, cls.__mro__[1])

    def class_of(real: type, names: tuple[str, ...]) -> Any:
        refused = {
            name: classmethod(_refusal(f"datetime.{real.__name__}.{name}", _CLOCK))
            for name in names
        }
        return OfReal(real.__name__, (real,), {"__module__": "datetime", **refused})

    datetime.datetime = class_of(real_datetime, ("now", "utcnow", "today"))  # type: ignore[misc]
    datetime.date = class_of(real_date, ("today",))  # type: ignore[misc]


# In native tests: calls are watched while code of the guest runs.


@contextmanager
def watched() -> Iterator[None]:
    """Lets everything that is not allowed fail while the body runs. For native tests.

    Calls are observed by a profile function. So it does not matter how a name was imported, and
    nothing of the interpreter is replaced.
    """
    previous = sys.getprofile()
    sys.setprofile(_observe)
    try:
        yield
    finally:
        sys.setprofile(previous)


def _observe(frame: types.FrameType, kind: str, argument: Any) -> None:
    if kind == "c_call":
        try:
            known = _BUILTINS.get(argument)
        except TypeError:  # A method of a value that has no hash.
            return
        if known is None:
            known = _of_class(argument)
        if known is not None:
            raise Impure(*known)
    elif kind == "call":
        if frame.f_code.co_name == "_find_and_load":
            raise Impure(f"import of {frame.f_locals.get('name')} in a call", _IMPORT)
        known = _CODES.get(frame.f_code)
        if known is not None and _counts(frame, known[0]):
            raise Impure(*known)


_BUILTINS: dict[Any, tuple[str, str]] = {}
_CODES: dict[types.CodeType, tuple[str, str]] = {}
_INSTANCE = getattr(random, "_inst", None)
#: Builtin methods that subclasses inherit.
_CLASS_METHODS = {
    (datetime.datetime, "now"),
    (datetime.datetime, "utcnow"),
    (datetime.datetime, "today"),
    (datetime.date, "today"),
}


def _of_class(argument: Any) -> tuple[str, str] | None:
    owner = getattr(argument, "__self__", None)
    if not isinstance(owner, type):
        return None
    for cls, name in _CLASS_METHODS:
        if argument.__name__ == name and issubclass(owner, cls):
            return f"datetime.{cls.__name__}.{name}", _CLOCK
    return None


def _counts(frame: types.FrameType, name: str) -> bool:
    """Methods of a generator with a seed of its own are allowed."""
    local = frame.f_locals
    if name == "random.Random()":
        return local.get("x") is None
    if name.startswith("random."):
        return local.get("self") is _INSTANCE
    return True


def _fill() -> None:
    in_calls = (os, _FORBIDDEN_IN_CALLS, _WORLD)
    for module, name, remedy in _names((*FORBIDDEN, in_calls)):
        full, function = f"{module.__name__}.{name}", getattr(module, name)
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType):
            # Generators of every kind share methods, which are known as those of random.
            _CODES.setdefault(code, (full, remedy))
        else:
            _BUILTINS[function] = (full, remedy)
    _CODES[random.Random.__init__.__code__] = ("random.Random()", _CHANCE)
    _BUILTINS[io.open] = ("open", _WORLD)


_fill()
