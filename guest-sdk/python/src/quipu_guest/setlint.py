"""Finds iterations over sets. Their order would differ from build to build."""

from __future__ import annotations

import ast
from pathlib import Path

#: Most files and bytes that are looked at.
_FILES_MAX, _BYTES_MAX = 1000, 1 << 20


def warnings_of(entry: Path, root: Path) -> list[str]:
    """Returns a line for each iteration over a set in the modules next to the entry."""
    found: list[str] = []
    directory = entry.parent
    for file in sorted(directory.glob("*.py"))[:_FILES_MAX]:
        if file.name.startswith("test") or file.stat().st_size > _BYTES_MAX:
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        for line in _iterations(tree):
            found.append(
                f"{file.relative_to(root)}:{line}: iterates over a set, whose order differs from "
                "build to build; use sorted(...)"
            )
    return found


def _iterations(tree: ast.AST) -> list[int]:
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.For, ast.comprehension)) and _is_set(node.iter):
            lines.append(node.iter.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("list", "tuple", "next", "iter", "enumerate", "map", "filter"):
                lines.extend(arg.lineno for arg in node.args if _is_set(arg))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "join":
                lines.extend(arg.lineno for arg in node.args if _is_set(arg))
        elif isinstance(node, ast.Starred) and _is_set(node.value):
            lines.append(node.lineno)
    return sorted(set(lines))


def _is_set(node: ast.AST) -> bool:
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("set", "frozenset")
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub)):
        return _is_set(node.left) or _is_set(node.right)
    return False
