"""Example guest: applications for a loan.

It decides as the guest of ``example-guests/loan``, which is written in Rust and has the table of
commands, events and rejections. Events and snapshots have the same form, so either guest can
continue a stream of the other.
"""

from quipu_guest import decider

from .decide import ITEM_BYTES_MAX, decide
from .messages import COMMANDS, EVENTS
from .state import Loan, Offers, Status, evolve, view

guest = decider(
    "loan",
    version="0.1.0",
    commands=COMMANDS,
    events=EVENTS,
    state=Loan,
    decide=decide,
    evolve=evolve,
    view=view,
)

__all__ = ["ITEM_BYTES_MAX", "Loan", "Offers", "Status", "decide", "evolve", "guest", "view"]
