"""Tests of the package. They run with ``python -m unittest``."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
REPOSITORY = PACKAGE.parent.parent
FIXTURES = PACKAGE / "tests" / "fixtures"

sys.path.insert(0, str(PACKAGE / "src"))
