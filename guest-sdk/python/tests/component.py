"""Builds the component of a fixture once for all tests."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from quipu_guest.build import Built, build

from . import FIXTURES
from .host import Host

_directory = tempfile.TemporaryDirectory(prefix="quipu-guest-test-")


@functools.cache
def built(name: str) -> Built:
    return build(FIXTURES / name / "app.py", Path(_directory.name) / f"{name}.wasm")


@functools.cache
def host(name: str) -> Host:
    return Host(built(name).path)
