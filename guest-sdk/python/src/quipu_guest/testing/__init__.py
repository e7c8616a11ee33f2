"""Native tests of guests, without a host and without WebAssembly.

Clocks, randomness and files fail here as they do in a component.
"""

from ._given import Given, Outcome, given, migrated
from ._lifted import Lifted, lifted
from ._projected import Projected, projected
from ._properties import check_folding, check_random

__all__ = [
    "Given",
    "Lifted",
    "Outcome",
    "Projected",
    "check_folding",
    "check_random",
    "given",
    "lifted",
    "migrated",
    "projected",
]
