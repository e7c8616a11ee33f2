"""The state of an application, and how events change it."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from quipu_guest import U32, U64, Map, replace

from . import messages as m

_U32_MAX = (1 << 32) - 1


class Status(Enum):
    """Status of an application, in order."""

    NONE = "none"
    SUBMITTED = "submitted"
    PARTLY_SUBMITTED = "partly-submitted"
    PREACCEPTED = "preaccepted"
    ACCEPTED = "accepted"
    FINALIZED = "finalized"
    GRANTED = "granted"
    DECLINED = "declined"
    CANCELLED = "cancelled"

    def __init__(self, text: str) -> None:
        self.text = text
        self.rank = len(type(self).__members__)

    @property
    def is_end(self) -> bool:
        """Whether no other status can follow."""
        return self.rank >= 6


@dataclass(frozen=True)
class Offers:
    """Number of offers at each stage."""

    selected: U32 = 0
    created: U32 = 0
    sent: U32 = 0
    returned: U32 = 0
    accepted: U32 = 0
    cancelled: U32 = 0
    declined: U32 = 0


@dataclass(frozen=True)
class Loan:
    """One application."""

    status: Status = Status.NONE
    amount: U64 = 0
    approved: bool = False
    registered: bool = False
    activated: bool = False
    offers: Offers = Offers()
    #: How often each scheduled item was started and not completed.
    work: Map[U32] = field(default_factory=Map)


def evolve(loan: Loan, event: Any) -> Loan:
    """Returns the application after an event."""
    kind = type(event)
    if kind in _WORK:
        return replace(loan, work=_WORK[kind](loan.work, event.item))
    if kind in _OFFERS:
        taken, added = _OFFERS[kind]
        return replace(loan, offers=_moved(loan.offers, taken, added))
    if kind is m.ApplicationSubmitted:
        return replace(loan, amount=event.amount, status=Status.SUBMITTED)
    return replace(loan, **_STATUSES[kind])


def view(loan: Loan) -> dict[str, Any]:
    """Returns the application as people see it."""
    return {
        "status": loan.status,
        "amount": loan.amount,
        "granted_amount": loan.amount if loan.status is Status.GRANTED else None,
        "approved": loan.approved,
        "registered": loan.registered,
        "activated": loan.activated,
        "offers": loan.offers,
        "open_work": {item: times for item, times in loan.work.items() if times > 0},
    }


# Counts are saturating, because events may also be appended without a decision.
def _add(count: int) -> int:
    return min(count + 1, _U32_MAX)


def _take(count: int) -> int:
    return max(count - 1, 0)


def _moved(offers: Offers, taken: str | None, added: str) -> Offers:
    """Moves an offer from one stage to another."""
    if taken == "out":
        # An offer that was returned, or if there is none, one that was sent.
        taken = "returned" if offers.returned > 0 else "sent"
    changes = {added: _add(getattr(offers, added))}
    if taken is not None:
        changes[taken] = _take(getattr(offers, taken))
    return replace(offers, **changes)


_STATUSES: dict[type, dict[str, Any]] = {
    m.ApplicationPartlySubmitted: {"status": Status.PARTLY_SUBMITTED},
    m.ApplicationPreaccepted: {"status": Status.PREACCEPTED},
    m.ApplicationAccepted: {"status": Status.ACCEPTED},
    m.ApplicationFinalized: {"status": Status.FINALIZED},
    m.ApplicationApproved: {"status": Status.GRANTED, "approved": True},
    m.ApplicationRegistered: {"status": Status.GRANTED, "registered": True},
    m.ApplicationActivated: {"status": Status.GRANTED, "activated": True},
    m.ApplicationDeclined: {"status": Status.DECLINED},
    m.ApplicationCancelled: {"status": Status.CANCELLED},
}

#: The stage that an offer leaves, and the one that it reaches.
_OFFERS: dict[type, tuple[str | None, str]] = {
    m.OfferSelected: (None, "selected"),
    m.OfferCreated: ("selected", "created"),
    m.OfferSent: ("created", "sent"),
    m.OfferReturned: ("sent", "returned"),
    m.OfferAccepted: ("out", "accepted"),
    m.OfferCancelled: ("out", "cancelled"),
    m.OfferDeclined: ("out", "declined"),
}

_WORK: dict[type, Any] = {
    m.WorkScheduled: lambda work, item: work.set(item, work.get(item, 0)),
    m.WorkStarted: lambda work, item: work.set(item, _add(work.get(item, 0))),
    m.WorkCompleted: lambda work, item: work.set(item, _take(work.get(item, 0))),
}
