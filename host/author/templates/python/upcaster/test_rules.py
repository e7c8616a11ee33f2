import unittest

from app import steps
from quipu_guest.testing import lifted


class Lifting(unittest.TestCase):
    def test_amounts_become_cents(self) -> None:
        lifted(steps, "added", 1, {"amount": 5}).to(("added", 2, {"cents": 500}))
