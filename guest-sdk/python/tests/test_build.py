"""The build command: what it says about mistakes. None of these tests makes a component, except
those for mistakes that only the tool can find."""

import io
import os
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from quipu_guest.__main__ import main
from quipu_guest.build import WIT, BuildError, entry_of
from quipu_guest.build import inspect as inspect_entry
from quipu_guest.errors import DefinitionError
from quipu_guest.wasmfile import surface_of

from . import FIXTURES, PACKAGE, REPOSITORY, component

GUEST = """from quipu_guest import decider, message

@message
class Do:
    pass

@message
class Done:
    pass

guest = decider("work", commands=[Do], events=[Done], state=int,
                decide=lambda state, command: Done(), evolve=lambda state, event: state + 1)
"""


class Building(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()

    def write(self, name: str, text: str) -> Path:
        file = self.directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def run_build(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["build", *arguments])
        return code, out.getvalue(), err.getvalue()

    def refuse(self, text: str, expected: str) -> None:
        """The build says exactly one line."""
        file = self.write("app.py", text)
        code, out, err = self.run_build("--entry", str(file))
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(err, f"error: {expected}\n")
        self.assertEqual(list(self.directory.glob("*.wasm")), [])


class Mistakes(Building):
    def test_each_mistake_is_one_line_with_its_place(self) -> None:
        self.refuse("x = (\n", "app.py:1: '(' was never closed")
        self.refuse(
            "import colorzys\n",
            "app.py:1: No module named 'colorzys'; install it, or correct the name",
        )
        self.refuse(
            "from quipu_guest import Decidr\n",
            "app.py:1: cannot import name 'Decidr' from 'quipu_guest' ("
            + str(PACKAGE / "src/quipu_guest/__init__.py")
            + "); install it, or correct the name",
        )
        self.refuse("\nx = y\n", "app.py:2: NameError: name 'y' is not defined")
        self.refuse("import sys\nsys.exit(3)\n", "app.py:2: SystemExit: 3")
        self.refuse("import os\nos._exit(3)\n", "app.py: the module ended the process with code 3")
        self.refuse("print('noise')\n1 / 0\n", "app.py:2: ZeroDivisionError: division by zero")

    def test_a_missing_guest_and_a_missing_class_are_named(self) -> None:
        self.refuse(
            "guest = 5\n",
            "app.py defines no guest; assign the result of decider(...), upcaster(...) or projections(...) to a name of the module",
        )
        self.refuse(
            GUEST.replace("class Done:", "class Dun:"),
            "app.py:11: NameError: name 'Done' is not defined",
        )
        self.refuse(
            GUEST.replace("@message\nclass Done", "class Done"),
            "app.py:10: events of work: Done is not a dataclass; decorate it by @message",
        )
        self.refuse(
            GUEST
            + "second = decider('a', commands=[Do], events=[Done], state=int, decide=lambda a, b: None, evolve=lambda a, b: a)\n",
            "app.py defines guest and second; a component holds one guest",
        )

    def test_the_place_is_that_of_an_imported_module(self) -> None:
        self.write("helper.py", "\n\nvalue = 1 / 0\n")
        self.refuse("import helper\n", "helper.py:3: ZeroDivisionError: division by zero")

    def test_a_file_that_cannot_be_an_entry_is_named(self) -> None:
        for name, part in (
            ("missing.py", "there is no such file"),
            ("my-app.py", "'my-app' is not the name of a module; rename the file"),
            ("random.py", "the name random is taken"),
            ("wit_world.py", "the name wit_world is taken"),
        ):
            file = self.directory / name
            if name != "missing.py":
                file.write_text("")
            with self.subTest(name), self.assertRaises(BuildError) as raised:
                entry_of(file)
            self.assertIn(part, str(raised.exception))

    def test_an_entry_may_be_in_a_package(self) -> None:
        self.write("bank/__init__.py", "")
        entry = entry_of(self.write("bank/app.py", GUEST))
        self.assertEqual((entry.module, entry.root), ("bank.app", self.directory))
        self.assertEqual(inspect_entry(entry)["name"], "work")
        self.assertEqual(entry_of(self.directory / "bank").module, "bank.app")

    def test_a_target_directory_that_is_missing_is_named(self) -> None:
        file = self.write("app.py", GUEST)
        code, _, err = self.run_build("--entry", str(file), "--out", "/missing/x.wasm")
        self.assertEqual((code, err), (1, "error: /missing/x.wasm: the directory does not exist\n"))

    def test_a_clock_at_the_top_of_a_module_is_one_line_with_its_place(self) -> None:
        file = self.write("app.py", GUEST + "import time\nSTARTED = time.time()\n")
        code, out, err = self.run_build("--entry", str(file))
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(
            err,
            "error: app.py:14: Impure: time.time: a guest has no clock; use context.accepted_at, "
            "the time at which the host accepted the command\n",
        )
        self.assertNotIn("Stack backtrace", err)

    def test_a_module_that_cannot_be_part_of_a_component_is_named(self) -> None:
        file = self.write("app.py", "import wasmtime\n" + GUEST)
        code, _, err = self.run_build("--entry", str(file))
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^error: app\.py:1: .*; only modules written in Python[^\n]*\n$")


class Results(Building):
    def test_the_summary_names_size_imports_and_types(self) -> None:
        built = component.built("bank")
        self.assertEqual(built.size, built.path.stat().st_size)
        self.assertEqual(built.guest["commands"], ["open 1", "deposit 1", "misuse 1", "draw 1"])
        self.assertEqual(built.guest["events"], ["opened 1", "deposited 2", "drawn 1"])
        self.assertEqual(built.guest["projections"], ["balances 3"])
        self.assertEqual(
            built.surface.exports,
            (
                "exports",
                "quipu:domain/manifest@0.1.0",
                "quipu:domain/decider@0.1.0",
                "quipu:domain/upcaster@0.1.0",
                "quipu:domain/projection@0.1.0",
            ),
        )

    def test_a_build_writes_nothing_into_the_folder_of_the_guest(self) -> None:
        component.built("bank")
        found = sorted(it.name for it in (FIXTURES / "bank").iterdir())
        self.assertEqual(found, ["app.py", "rates.txt", "rules.py"])

    def test_other_bytes_are_not_a_component(self) -> None:
        data = component.built("bank").path.read_bytes()
        for bad in (b"", b"\0asm\x01\0\0\0", data[1:100]):
            with self.assertRaises(DefinitionError):
                surface_of(bad)

    def test_iterations_over_sets_are_warned_of(self) -> None:
        from quipu_guest.setlint import warnings_of

        text = "x = {1, 2}\nfor it in {1, 2}: pass\nlist(set(x))\nsorted({1})\n','.join({'a'})\n[*{1}]\n"
        file = self.write("app.py", text)
        found = warnings_of(file, self.directory)
        self.assertEqual(
            [it.split(": ")[0] for it in found], [f"app.py:{line}" for line in (2, 3, 5, 6)]
        )
        self.assertIn("use sorted(...)", found[0])


class Commands(Building):
    def test_tests_run_with_several_hash_orders(self) -> None:
        self.write(
            "test_order.py",
            "import unittest\nclass T(unittest.TestCase):\n def test(self):\n"
            "  self.assertEqual(list(set('abcdefgh')), list(set('abcdefgh')))\n"
            "  self.assertEqual(hash('a') % 2, FOUND)\n",
        )
        seeds = [self.hash_bit(seed) for seed in range(8)]
        other = next(seed for seed, bit in enumerate(seeds) if bit != seeds[0])
        text = (self.directory / "test_order.py").read_text()
        (self.directory / "test_order.py").write_text(text.replace("FOUND", str(seeds[0])))
        ended = self.run_tests("8")
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"error: the tests fail with PYTHONHASHSEED={other}", ended.stderr)
        (self.directory / "test_order.py").write_text(text.replace("hash('a') % 2, FOUND", "1, 1"))
        self.assertEqual(self.run_tests("2").returncode, 0)

    def run_tests(self, orders: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "quipu_guest", "test", "--orders", orders]
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE / "src")}
        return subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True
        )

    def hash_bit(self, seed: int) -> int:
        command = [sys.executable, "-c", "print(hash('a') % 2)"]
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        return int(subprocess.run(command, env=environment, capture_output=True).stdout)


class Contract(unittest.TestCase):
    def test_the_contract_in_the_package_is_that_of_the_repository(self) -> None:
        self.assertEqual(WIT.read_bytes(), (REPOSITORY / "wit" / "domain.wit").read_bytes())


if __name__ == "__main__":
    unittest.main()
