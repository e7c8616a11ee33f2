"""The package as authors get it: built, installed into an empty environment, and used there."""

import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest
import venv
from pathlib import Path

from . import FIXTURES, PACKAGE


class Package(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def run_in(self, directory: Path, *command: object) -> str:
        ended = subprocess.run(
            [str(it) for it in command], cwd=directory, capture_output=True, text=True
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        return ended.stdout

    def test_the_wheel_of_the_source_package_builds_a_guest_in_an_empty_environment(self) -> None:
        copy = self.directory / "package"
        leave_out = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "venv")
        shutil.copytree(PACKAGE, copy, ignore=leave_out)
        # The wheel is built from the source package, so this tests both.
        self.run_in(copy, sys.executable, "-m", "build", "--outdir", self.directory / "dist")
        (wheel,) = (self.directory / "dist").glob("*.whl")
        self.assertEqual(len(list((self.directory / "dist").glob("*.tar.gz"))), 1)

        venv.create(self.directory / "venv", with_pip=True)
        python = self.directory / "venv" / "bin" / "python"
        self.run_in(self.directory, python, "-m", "pip", "install", "--quiet", wheel)
        project = self.directory / "project"
        shutil.copytree(FIXTURES / "bank", project, ignore=leave_out)
        printed = self.run_in(project, python, "-m", "quipu_guest", "build")
        size = (project / "bank.wasm").stat().st_size
        lines = printed.splitlines()
        self.assertEqual(lines[0], f"bank.wasm: bank 2.1.0, {size:,} bytes")
        self.assertEqual(
            lines[1].split(None, 1),
            ["imports", "quipu:domain/diagnostics@0.1.0, quipu:domain/types@0.1.0"],
        )
        files = self.run_in(project, python, "-m", "pip", "show", "-f", "quipu-guest")
        for name in ("quipu_guest/py.typed", "quipu_guest/wit/domain.wit", "licenses/LICENSE"):
            self.assertIn(name, files)

    def test_the_tool_is_pinned(self) -> None:
        project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
        self.assertEqual(len(project["dependencies"]), 1)
        self.assertRegex(project["dependencies"][0], r"^componentize-py==\d+\.\d+\.\d+$")


class Types(unittest.TestCase):
    def test_the_package_has_complete_type_hints(self) -> None:
        command = [sys.executable, "-m", "mypy", "--strict"]
        ended = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)


if __name__ == "__main__":
    unittest.main()
