"""The examples of the page about guests in Python, and of the README."""

import ast
import re
import sys
import types
import unittest
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import UUID

import quipu_guest
from quipu_guest import I32, I64, U32, U64, Map, purity
from quipu_guest.anyjson import parse
from quipu_guest.guest import guest_of
from quipu_guest.typeshapes import shape_of

from . import PACKAGE, REPOSITORY

PAGE = REPOSITORY / "docs" / "src" / "guests" / "python.md"


def blocks(file: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", file.read_text(), re.M | re.S)


def run(file: Path) -> dict[str, Any]:
    """Executes all blocks of a page as one module."""
    module = types.ModuleType(file.stem + "_page")
    sys.modules[module.__name__] = module
    for number, block in enumerate(blocks(file, "python")):
        exec(compile(block, f"{file.name}, block {number + 1}", "exec"), vars(module))
    return vars(module)


class Colour(Enum):
    RED = "red"


@dataclass
class Numbered:
    number: int


class Page(unittest.TestCase):
    def test_every_example_runs(self) -> None:
        names = run(PAGE)
        self.assertEqual(names["guest"].name, "account")
        self.assertEqual(guest_of(names["Lamp"]).name, "lamp")
        self.assertEqual(names["views"].interfaces(), ["projection"])

    def test_the_readme_runs(self) -> None:
        self.assertEqual(run(PACKAGE / "README.md")["guest"].name, "account")

    def test_the_failure_is_the_one_that_is_shown(self) -> None:
        names = run(PAGE)
        given, deposited = names["given"], names["Deposited"]
        with self.assertRaises(AssertionError) as raised:
            start = given(names["guest"], deposited(5))
            start.when(names["Withdraw"](3)).then(names["Withdrawn"](4))
        self.assertIn(str(raised.exception) + "\n", blocks(PAGE, "text"))

    def test_the_sentences_about_purity_are_those_that_are_shown(self) -> None:
        (shown,) = [it for it in blocks(PAGE, "text") if "a guest has no clock" in it]
        known = {f"{module.__name__}.{name}": remedy for module, name, remedy in self.forbidden()}
        known["open"] = known["os.open"]
        for line in shown.splitlines():
            name, _, remedy = line.partition(": ")
            self.assertEqual(known[name], remedy)

    def forbidden(self) -> Any:
        in_calls = (purity.os, purity._FORBIDDEN_IN_CALLS, purity._WORLD)
        return purity._names((*purity.FORBIDDEN, in_calls))

    def test_every_type_of_the_table_has_the_form_that_is_shown(self) -> None:
        table = PAGE.read_text().split("| type of a field | in JSON |\n")[1].split("\n\n")[0]
        rows = re.findall(r"^\| (.+?) (?<!\\)\| (.+) \|$", table, re.M)[1:]
        names = {
            "I32": I32,
            "I64": I64,
            "U32": U32,
            "U64": U64,
            "Map": Map,
            "Literal": Literal,
            "datetime": datetime,
            "date": date,
            "UUID": UUID,
            "Decimal": Decimal,
        }
        checked = 0
        for left, right in rows:
            if left == "`Any`":
                continue
            kinds = re.findall(r"`(.+?)`", left.replace("\\|", "|"))
            if left.startswith("an `Enum`"):
                found: list[Any] = [Colour]
            elif left == "a dataclass":
                found = [Numbered]
            else:
                found = [eval(kind, names) for kind in kinds]
            text = re.findall(r"`(.+?)`", right)[0]
            self.assertTrue(found, left)
            for kind in found:
                shape = shape_of(kind)
                self.assertEqual(shape.write(shape.read(parse(text))), text, kind)
                checked += 1
        self.assertGreater(checked, 20)

    def test_the_bounds_of_int_are_those_that_are_shown(self) -> None:
        shape = shape_of(int).schema({})
        self.assertIn(f"from {shape['minimum']} to {shape['maximum']}", PAGE.read_text())

    def test_every_argument_and_method_that_is_named_exists(self) -> None:
        page = PAGE.read_text()
        from quipu_guest import testing

        for name in re.findall(r"^\| `(given|migrated|lifted|projected)\(", page, re.M):
            self.assertTrue(hasattr(testing, name))
        row = re.search(r"^\| `projected\(projection\)`.*$", page, re.M)
        assert row is not None
        for method in re.findall(r"`\.(\w+)", row[0]):
            self.assertTrue(hasattr(testing.Projected, method), method)
        for method in ("commands", "at", "seed", "key", "command_id", "annotation", "when"):
            self.assertIn(f"`.{method}(", page)
            self.assertTrue(hasattr(testing.Given, method), method)


class Package(unittest.TestCase):
    def test_everything_public_has_a_description(self) -> None:
        missing = []
        for file in sorted((PACKAGE / "src" / "quipu_guest").rglob("*.py")):
            tree = ast.parse(file.read_text())
            if not ast.get_docstring(tree):
                missing.append(file.name)
            for node in tree.body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    is_public = not node.name.startswith("_")
                    is_overload = any("overload" in ast.dump(it) for it in node.decorator_list)
                    if is_public and not is_overload and not ast.get_docstring(node):
                        missing.append(f"{file.name}: {node.name}")
        self.assertEqual(missing, [])

    def test_every_public_name_exists(self) -> None:
        for name in quipu_guest.__all__:
            self.assertTrue(hasattr(quipu_guest, name), name)
        self.assertTrue(get_args(U32))


if __name__ == "__main__":
    unittest.main()
