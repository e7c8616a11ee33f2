"""Decides the commands of category `{{category}}`."""

from dataclasses import dataclass, replace
from datetime import datetime

from quipu_guest import U64, Context, Rejection, decider, message

TOTAL_MAX = 1000
"""The highest total."""


@message
class Open:
    title: str


@message
class Add:
    amount: U64


@message
class Close:
    pass


@message
class Opened:
    title: str


@message
class Added:
    amount: U64


@message
class Closed:
    at: datetime


Command = Open | Add | Close
Event = Opened | Added | Closed


@dataclass(frozen=True)
class State:
    """Only what the rules need."""

    is_open: bool = False
    total: int = 0


def decide(state: State, command: Command, context: Context) -> Event:
    """The rules. Time and random numbers come from the context, never from the machine."""
    match command:
        case Open() if state.is_open:
            raise Rejection("already-open", "it is open")
        case Open(title):
            return Opened(title)
        case _ if not state.is_open:
            raise Rejection("not-open", "open it first")
        case Add(amount) if amount > TOTAL_MAX - state.total:
            raise Rejection("limit-exceeded", f"the total is {state.total}, at most {TOTAL_MAX}")
        case Add(amount):
            return Added(amount)
        case Close():
            return Closed(context.accepted_at)


def evolve(state: State, event: Event) -> State:
    """What an event changes. It accepts every event that was ever stored."""
    match event:
        case Opened():
            return replace(state, is_open=True)
        case Added(amount):
            return replace(state, total=state.total + amount)
        case Closed():
            return replace(state, is_open=False)


guest = decider(
    "{{category}}",
    version="0.1.0",
    rejections=["already-open", "not-open", "limit-exceeded"],
    commands=Command,
    events=Event,
    state=State,
    decide=decide,
    evolve=evolve,
)
