"""Builds a guest to a component."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from .errors import DefinitionError
from .setlint import warnings_of
from .wasmfile import Surface, surface_of

#: The contract that this package was made for.
WIT = Path(__file__).parent / "wit" / "domain.wit"
#: Name of the generated module that the tool loads.
_LOADER = "quipu_component"
_WORLD = "quipu-component-world"
_RESERVED = {_LOADER, "quipu_guest", "wit_world", "componentize_py_types"}
_TOOL = """import sys
from componentize_py import script
sys.argv = ["componentize-py", *sys.argv[1:]]
sys.exit(script())
"""
_ALLOWED = ("quipu:domain/diagnostics@0.1.0", "quipu:domain/types@0.1.0")


class BuildError(Exception):
    """The component cannot be built. ``report`` is what a tool printed."""

    def __init__(self, text: str, report: str = "") -> None:
        super().__init__(text)
        self.report = report


@dataclasses.dataclass(frozen=True)
class Entry:
    """The entry module of a guest: its name, its file, and the directory to import it from."""

    module: str
    file: Path
    root: Path


@dataclasses.dataclass(frozen=True)
class Built:
    """A component that was built."""

    path: Path
    size: int
    surface: Surface
    guest: dict[str, Any]
    warnings: list[str]


def build(entry: str | Path, out: str | Path | None = None, verbose: bool = False) -> Built:
    """Builds the component of an entry module. Raises BuildError."""
    place = entry_of(Path(entry))
    guest = inspect(place)
    target = Path(out) if out is not None else Path(f"{guest['name']}.wasm")
    if not target.absolute().parent.is_dir():
        raise BuildError(f"{target}: the directory does not exist")
    with tempfile.TemporaryDirectory(prefix="quipu-guest-") as staging:
        made = _componentize(Path(staging), place, guest, verbose)
        data = made.read_bytes()
        surface = surface_of(data)
        foreign = [name for name in surface.imports if name not in _ALLOWED]
        if foreign:
            raise BuildError(f"the component imports {', '.join(foreign)}, which no host gives it")
        part = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            shutil.copyfile(made, part)
            os.replace(part, target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise BuildError(f"{target}: {error.strerror}") from None
    return Built(target, len(data), surface, guest, warnings_of(place.file, place.root))


def entry_of(file: Path) -> Entry:
    """Finds the module of a file, which may be in a package."""
    if file.is_dir():
        file = file / "app.py"
    if not file.is_file():
        raise BuildError(f"{file}: there is no such file; name the module that defines the guest")
    file = file.resolve()
    names = [] if file.name == "__init__.py" else [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    for name in names:
        if not name.isidentifier():
            raise BuildError(f"{file.name}: {name!r} is not the name of a module; rename the file")
    if names[0] in _RESERVED or names[0] in sys.stdlib_module_names:
        raise BuildError(f"{file.name}: the name {names[0]} is taken; rename the file")
    return Entry(".".join(names), file, root)


def inspect(place: Entry) -> dict[str, Any]:
    """Imports the entry module in a process of its own, and returns what it defines."""
    package = str(Path(__file__).parent.parent)
    command = [
        sys.executable,
        "-B",
        "-c",
        "import runpy, sys; path = sys.argv.pop(1); "
        "path in sys.path or sys.path.insert(0, path); "
        "sys.argv[0] = 'quipu_guest'; runpy.run_module('quipu_guest._inspect', "
        "run_name='__main__', alter_sys=False)",
        package,
        place.module,
        str(place.file),
        str(place.root),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=place.root)
    try:
        found: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        text = f"{place.file.name}: the module ended the process with code {ended.returncode}"
        raise BuildError(text, ended.stderr) from None
    if "error" in found:
        raise BuildError(found["error"], found["trace"])
    return found


def _componentize(staging: Path, place: Entry, guest: dict[str, Any], verbose: bool) -> Path:
    wit, made = staging / "wit", staging / "guest.wasm"
    loader = staging / "loader"
    # A copy, because next to this package may be anything else.
    leave_out = shutil.ignore_patterns("__pycache__", "*.wit", "build.py", "__main__.py")
    shutil.copytree(Path(__file__).parent, loader / "quipu_guest", ignore=leave_out)
    wit.mkdir()
    shutil.copyfile(WIT, wit / "domain.wit")
    exports = "".join(f"  export {name};\n" for name in ["manifest", *guest["interfaces"]])
    package = re.search(r"^package [^;]+;", WIT.read_text(), re.M)
    assert package is not None
    (wit / "guest.wit").write_text(
        f"{package[0]}\nworld {_WORLD} {{\n  import diagnostics;\n{exports}}}\n"
    )
    (loader / f"{_LOADER}.py").write_text(
        # Nothing is written into the folder of the guest.
        "import sys\nsys.dont_write_bytecode = True\n"
        "from quipu_guest import _component\n"
        f"globals().update(_component.load({place.module!r}, {place.file.name!r}))\n"
    )
    paths = [loader, place.root, Path(sysconfig.get_path("purelib"))]
    command = [sys.executable, "-c", _TOOL, "-d", str(wit), "-w", _WORLD]
    command += ["componentize", "--stub-wasi", "-o", str(made)]
    for path in dict.fromkeys(map(str, paths)):
        command += ["-p", path]
    command.append(_LOADER)
    ended = subprocess.run(command, capture_output=True, text=True, cwd=staging)
    report = ended.stdout + ended.stderr
    if verbose:
        print(report, file=sys.stderr)
    if ended.returncode != 0 or not made.is_file():
        raise BuildError(_reason(report), report)
    return made


def _reason(report: str) -> str:
    """The one line of a tool's report that matters to the author."""
    if "No module named 'componentize_py'" in report:
        return "componentize-py is not installed; run `pip install quipu-guest`"
    kind = r"^((?:\w+\.)*\w*(?:Error|Exception|Exit|Impure)\b.*)$"
    errors = [it for it in re.findall(kind, report, re.M) if not it.startswith("AssertionError")]
    text = errors[0] if errors else "the tool gave no reason; use --verbose to see its report"
    text = text.removeprefix("quipu_guest.").removeprefix("purity.").removeprefix("errors.")
    if text.startswith("ModuleNotFoundError"):
        text += "; only modules written in Python can be part of a component"
    # The second path is that of the guest.
    frames = re.findall(r'^  File "/1/([^"]+)", line (\d+)', report, re.M)
    return f"{frames[-1][0]}:{frames[-1][1]}: {text}" if frames else text


__all__ = ["BuildError", "Built", "DefinitionError", "build", "entry_of", "inspect"]
