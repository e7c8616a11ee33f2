"""The rules of an application."""

from typing import Any

from quipu_guest import Rejection

from . import messages as m
from .state import Loan, Status

#: The longest name of a work item, in bytes.
ITEM_BYTES_MAX = 64


def decide(loan: Loan, command: Any) -> Any:
    """Decides a command. If it is accepted, the result is exactly one event."""
    kind = type(command)
    if kind is m.Submit:
        if loan.status is not Status.NONE:
            raise Rejection("already-submitted", "there is an application already")
        return m.ApplicationSubmitted(command.amount)
    if loan.status is Status.NONE:
        raise Rejection("not-submitted", "there is no application yet")
    return _RULES[kind](loan, command)


def _step(start: Status, event: Any) -> Any:
    """The application has exactly this status."""

    def rule(loan: Loan, _: Any) -> Any:
        if loan.status is not start:
            raise _misplaced(loan, start.text)
        return event

    return rule


def _end(event: Any) -> Any:
    def rule(loan: Loan, _: Any) -> Any:
        _at_least(loan, Status.PARTLY_SUBMITTED)
        return event

    return rule


def _approve(loan: Loan, _: m.Approve) -> m.ApplicationApproved:
    _grant(loan, loan.approved)
    return m.ApplicationApproved(loan.amount)


def _register(loan: Loan, _: m.Register) -> m.ApplicationRegistered:
    _grant(loan, loan.registered)
    return m.ApplicationRegistered()


def _activate(loan: Loan, _: m.Activate) -> m.ApplicationActivated:
    _grant(loan, loan.activated)
    return m.ApplicationActivated()


def _select_offer(loan: Loan, _: m.SelectOffer) -> m.OfferSelected:
    _at_least(loan, Status.ACCEPTED)
    return m.OfferSelected()


def _create_offer(loan: Loan, _: m.CreateOffer) -> m.OfferCreated:
    _at_least(loan, Status.FINALIZED)
    _offer(loan.offers.selected, "no-offer-selected")
    return m.OfferCreated()


def _send_offer(loan: Loan, _: m.SendOffer) -> m.OfferSent:
    _at_least(loan, Status.FINALIZED)
    _offer(loan.offers.created, "no-offer-created")
    return m.OfferSent()


def _return_offer(loan: Loan, _: m.ReturnOffer) -> m.OfferReturned:
    _offer(loan.offers.sent, "no-offer-sent")
    return m.OfferReturned()


def _settle_offer(event: Any) -> Any:
    def rule(loan: Loan, _: Any) -> Any:
        _offer(loan.offers.sent + loan.offers.returned, "no-offer-sent")
        return event

    return rule


def _schedule_work(_: Loan, command: m.ScheduleWork) -> m.WorkScheduled:
    length = len(command.item.encode())
    if not 1 <= length <= ITEM_BYTES_MAX:
        raise Rejection("invalid-item", f"item of {length} bytes, 1 to {ITEM_BYTES_MAX}")
    return m.WorkScheduled(command.item)


def _start_work(loan: Loan, command: m.StartWork) -> m.WorkStarted:
    _open_work(loan, command.item)
    return m.WorkStarted(command.item)


def _complete_work(loan: Loan, command: m.CompleteWork) -> m.WorkCompleted:
    if _open_work(loan, command.item) == 0:
        raise Rejection("work-not-started", f"{command.item} is completed as often as started")
    return m.WorkCompleted(command.item)


_RULES: dict[type, Any] = {
    m.PartlySubmit: _step(Status.SUBMITTED, m.ApplicationPartlySubmitted()),
    m.Preaccept: _step(Status.PARTLY_SUBMITTED, m.ApplicationPreaccepted()),
    m.Accept: _step(Status.PREACCEPTED, m.ApplicationAccepted()),
    m.Finalize: _step(Status.ACCEPTED, m.ApplicationFinalized()),
    m.Approve: _approve,
    m.Register: _register,
    m.Activate: _activate,
    m.Decline: _end(m.ApplicationDeclined()),
    m.Cancel: _end(m.ApplicationCancelled()),
    m.SelectOffer: _select_offer,
    m.CreateOffer: _create_offer,
    m.SendOffer: _send_offer,
    m.ReturnOffer: _return_offer,
    m.AcceptOffer: _settle_offer(m.OfferAccepted()),
    m.CancelOffer: _settle_offer(m.OfferCancelled()),
    m.DeclineOffer: _settle_offer(m.OfferDeclined()),
    m.ScheduleWork: _schedule_work,
    m.StartWork: _start_work,
    m.CompleteWork: _complete_work,
}


def _at_least(loan: Loan, status: Status) -> None:
    if loan.status.rank < status.rank or loan.status.is_end:
        raise _misplaced(loan, f"{status.text} or later")


def _grant(loan: Loan, is_done: bool) -> None:
    if loan.status not in (Status.FINALIZED, Status.GRANTED):
        raise _misplaced(loan, "finalized or granted")
    if is_done:
        # It was done, so the application is granted unless events were appended directly.
        if loan.status is Status.GRANTED:
            raise Rejection("already-done", "this was done before")
        raise _misplaced(loan, "finalized or granted")


def _offer(count: int, code: str) -> None:
    if count == 0:
        raise Rejection(code, "no offer is at that stage")


def _open_work(loan: Loan, item: str) -> int:
    """Returns how often a scheduled item was started and not completed."""
    count = loan.work.get(item)
    if count is None:
        raise Rejection("work-not-scheduled", f"{item} was never scheduled")
    return int(count)


def _misplaced(loan: Loan, needed: str) -> Rejection:
    status = loan.status
    code = "ended" if status.is_end else "wrong-status"
    return Rejection(
        code, f"application is {status.text}, needed {needed}", {"status": status.text}
    )
