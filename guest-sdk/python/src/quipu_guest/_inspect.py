"""Imports an entry module natively and prints what it defines, as JSON. For the build."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from typing import Any

from .errors import DefinitionError
from .guest import guest_in
from .manifest import manifest_of


def inspect(module_name: str, file: str, root: str) -> dict[str, Any]:
    """Returns the guest's name and types, or the error with its place."""
    try:
        module = importlib.import_module(module_name)
        guest = guest_in(vars(module), file.removeprefix(root).lstrip("/\\"))
        manifest = manifest_of(guest)
    except SyntaxError as error:
        return _error(f"{error.msg}", error.filename or file, error.lineno or 1, root)
    except DefinitionError as error:
        place = _place(error, root)
        file_at, line = place or (None, 0)
        return _error(str(error), file_at, line, root)
    except BaseException as error:
        place = _place(error, root)
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, ImportError):
            text = f"{error}; install it, or correct the name"
        return _error(text, *(place or (file, 1)), root, traceback.format_exc())
    return {
        "name": manifest.name,
        "version": manifest.version,
        "interfaces": guest.interfaces(),
        "commands": [f"{it.name} {it.schema_version}" for it in manifest.commands],
        "events": [f"{it.name} {it.schema_version}" for it in manifest.events],
        "steps": [f"{category}: {step}" for category, step in guest.steps],
        "projections": [f"{it.name} {it.version}" for it in guest.projections],
    }


def _error(text: str, file: str | None, line: int, root: str, trace: str = "") -> dict[str, Any]:
    if file is not None:
        short = file.removeprefix(root).lstrip("/\\") if root else file
        text = f"{short}:{line}: {text}"
    return {"error": text, "trace": trace}


def _place(error: BaseException, root: str) -> tuple[str, int] | None:
    """The innermost line of the guest's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        it for it in frames if it.filename.startswith(root) and "site-packages" not in it.filename
    ]
    return (own[-1].filename, own[-1].lineno or 1) if own else None


if __name__ == "__main__":
    # Prints of the guest must not mix with the result.
    result_to, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, sys.argv[3])
    json.dump(inspect(*sys.argv[1:4]), result_to)
