"""Write Quipu guests in Python: domain logic that a Quipu host runs as a WebAssembly component.

A decider says which events a command leads to, and how an event changes the state. It has no
clock, no randomness and no I/O. The host stores the events, retries, takes snapshots, and
replaces the code while it runs.
"""

from . import log
from .bounds import I32, I64, U32, U64, Between, Length, Name
from .context import Context
from .driver import NewEvent
from .errors import DefinitionError, Unfit
from .guest import Guest, decider, projections, upcaster
from .map import Map
from .message import message
from .migrations import Migration, migration
from .projections import EVERY, Index, Projection, Recorded, Untyped, projection
from .rejection import Rejection
from .replacing import replace
from .upcasts import Part, Steps

__all__ = [
    "EVERY",
    "I32",
    "I64",
    "U32",
    "U64",
    "Between",
    "Context",
    "DefinitionError",
    "Guest",
    "Index",
    "Length",
    "Map",
    "Migration",
    "Name",
    "NewEvent",
    "Part",
    "Projection",
    "Recorded",
    "Rejection",
    "Steps",
    "Unfit",
    "Untyped",
    "decider",
    "log",
    "message",
    "migration",
    "projection",
    "projections",
    "replace",
    "upcaster",
]
