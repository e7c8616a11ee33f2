import unittest

from app import Add, Added, Opened, guest
from quipu_guest.testing import check_folding, given


class Rules(unittest.TestCase):
    def test_an_amount_is_added(self) -> None:
        given(guest, Opened("first")).when(Add(5)).then(Added(5))

    def test_the_total_has_a_limit(self) -> None:
        given(guest, Opened("first"), Added(999)).when(Add(2)).rejected("limit-exceeded")

    def test_the_state_does_not_depend_on_cuts(self) -> None:
        check_folding(guest, Opened("first"), Added(5), Added(7))
