"""The rules of an application, as the tests of the guest in Rust have them."""

import unittest

from loan import ITEM_BYTES_MAX, guest
from loan.messages import (
    Accept,
    AcceptOffer,
    Activate,
    ApplicationAccepted,
    ApplicationActivated,
    ApplicationApproved,
    ApplicationCancelled,
    ApplicationDeclined,
    ApplicationFinalized,
    ApplicationPartlySubmitted,
    ApplicationPreaccepted,
    ApplicationRegistered,
    ApplicationSubmitted,
    Approve,
    Cancel,
    CancelOffer,
    CompleteWork,
    CreateOffer,
    Decline,
    DeclineOffer,
    Finalize,
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferReturned,
    OfferSelected,
    OfferSent,
    PartlySubmit,
    Preaccept,
    Register,
    ReturnOffer,
    ScheduleWork,
    SelectOffer,
    SendOffer,
    StartWork,
    Submit,
    WorkCompleted,
    WorkScheduled,
    WorkStarted,
)
from quipu_guest.testing import check_folding, check_random, given

STEPS = [
    ApplicationSubmitted(5000),
    ApplicationPartlySubmitted(),
    ApplicationPreaccepted(),
    ApplicationAccepted(),
    ApplicationFinalized(),
]
SUBMITTED, PARTLY_SUBMITTED, ACCEPTED, FINALIZED = 1, 2, 4, 5
ITEM = "call-about-offer"
SENT = [OfferSelected(), OfferCreated(), OfferSent()]


def loan(steps, *more):
    """An application after so many steps and some more events."""
    return given(guest, *STEPS[:steps], *more)


class Steps(unittest.TestCase):
    def test_submit_comes_first_and_once(self):
        loan(0).when(Submit(0)).then(ApplicationSubmitted(0))
        loan(SUBMITTED).when(Submit(0)).rejected("already-submitted")
        for command in (PartlySubmit(), Cancel(), SelectOffer(), AcceptOffer(), ScheduleWork(ITEM)):
            loan(0).when(command).rejected("not-submitted")

    def test_each_step_follows_on_the_one_before(self):
        commands = [PartlySubmit(), Preaccept(), Accept(), Finalize()]
        for step, command in enumerate(commands, 1):
            for steps in range(1, FINALIZED + 1):
                outcome = loan(steps).when(command)
                if steps == step:
                    outcome.then(STEPS[step])
                else:
                    outcome.rejected("wrong-status")

    def test_a_misplaced_step_says_where_the_application_is(self):
        loan(SUBMITTED).when(Accept()).rejected(
            "wrong-status",
            details={"status": "submitted"},
            message="application is submitted, needed preaccepted",
        )
        loan(SUBMITTED).when(Cancel()).rejected(
            "wrong-status", message="application is submitted, needed partly-submitted or later"
        )

    def test_approve_register_and_activate_come_once_in_any_order_after_finalize(self):
        every = [
            (Approve(), ApplicationApproved(5000)),
            (Register(), ApplicationRegistered()),
            (Activate(), ApplicationActivated()),
        ]
        for command, event in every:
            loan(ACCEPTED).when(command).rejected(
                "wrong-status", message="application is accepted, needed finalized or granted"
            )
            loan(FINALIZED).when(command).then(event)
            for _, first in every:
                outcome = loan(FINALIZED, first).when(command)
                if first == event:
                    outcome.rejected("already-done")
                else:
                    outcome.then(event)

    def test_decline_and_cancel_are_possible_from_partly_submitted_until_an_end(self):
        for command, event in (
            (Decline(), ApplicationDeclined()),
            (Cancel(), ApplicationCancelled()),
        ):
            loan(SUBMITTED).when(command).rejected("wrong-status")
            for steps in range(PARTLY_SUBMITTED, FINALIZED + 1):
                loan(steps).when(command).then(event)
            for end in (ApplicationDeclined(), ApplicationCancelled(), ApplicationRegistered()):
                loan(FINALIZED, end).when(command).rejected("ended")

    def test_nothing_leads_on_from_declined_or_cancelled(self):
        for end in (ApplicationDeclined(), ApplicationCancelled()):
            for command in (Finalize(), Approve(), SelectOffer()):
                loan(ACCEPTED, end).when(command).rejected("ended")


class Offers(unittest.TestCase):
    def test_selecting_an_offer_needs_accept_and_the_rest_finalize(self):
        selected, created = [OfferSelected()], [OfferSelected(), OfferCreated()]
        loan(ACCEPTED - 1).when(SelectOffer()).rejected("wrong-status")
        loan(ACCEPTED).when(SelectOffer()).then(OfferSelected())
        loan(FINALIZED).when(SelectOffer()).then(OfferSelected())
        loan(ACCEPTED, *selected).when(CreateOffer()).rejected("wrong-status")
        loan(FINALIZED, *selected).when(CreateOffer()).then(OfferCreated())
        loan(ACCEPTED, *created).when(SendOffer()).rejected("wrong-status")
        loan(FINALIZED, *created).when(SendOffer()).then(OfferSent())

    def test_an_offer_passes_its_stages_in_order(self):
        loan(FINALIZED).when(CreateOffer()).rejected("no-offer-selected")
        loan(FINALIZED, OfferSelected()).when(SendOffer()).rejected("no-offer-created")
        loan(FINALIZED, *SENT).when(CreateOffer()).rejected("no-offer-selected")
        loan(FINALIZED, *SENT).when(SendOffer()).rejected("no-offer-created")
        loan(FINALIZED, OfferSelected()).when(ReturnOffer()).rejected("no-offer-sent")
        loan(FINALIZED, *SENT).when(ReturnOffer()).then(OfferReturned())

    def test_an_offer_is_settled_once_also_after_the_end(self):
        for command, event in (
            (AcceptOffer(), OfferAccepted()),
            (CancelOffer(), OfferCancelled()),
            (DeclineOffer(), OfferDeclined()),
        ):
            loan(FINALIZED, OfferSelected()).when(command).rejected("no-offer-sent")
            loan(FINALIZED, *SENT).when(command).then(event)
            returned = [*SENT, OfferReturned()]
            loan(FINALIZED, *returned).when(command).then(event)
            ended = [*returned, ApplicationCancelled()]
            loan(FINALIZED, *ended).when(command).then(event)
            loan(FINALIZED, *ended, event).when(command).rejected("no-offer-sent")

    def test_of_several_offers_a_returned_one_is_settled_first(self):
        settled = loan(FINALIZED, *SENT, *SENT, OfferReturned(), OfferAccepted())
        offers = settled.view["offers"]
        self.assertEqual((offers["sent"], offers["returned"], offers["accepted"]), (1, 0, 1))
        settled.when(ReturnOffer()).then(OfferReturned())


class Work(unittest.TestCase):
    def test_work_is_started_only_when_scheduled_and_then_any_number_of_times(self):
        start, started = StartWork(ITEM), WorkStarted(ITEM)
        loan(SUBMITTED).when(start).rejected("work-not-scheduled")
        loan(SUBMITTED, WorkScheduled("handle-lead")).when(start).rejected("work-not-scheduled")
        loan(SUBMITTED, WorkScheduled(ITEM)).when(start).then(started)
        loan(SUBMITTED, WorkScheduled(ITEM), started).when(start).then(started)

    def test_work_is_completed_as_often_as_started(self):
        complete, completed = CompleteWork(ITEM), WorkCompleted(ITEM)
        scheduled, started = WorkScheduled(ITEM), WorkStarted(ITEM)
        loan(SUBMITTED).when(complete).rejected("work-not-scheduled")
        loan(SUBMITTED, scheduled).when(complete).rejected("work-not-started")
        twice = loan(SUBMITTED, scheduled, started, started, completed)
        twice.when(complete).then(completed).when(complete).rejected("work-not-started")

    def test_work_goes_on_after_an_end(self):
        loan(FINALIZED, ApplicationDeclined()).when(ScheduleWork(ITEM)).then(WorkScheduled(ITEM))

    def test_the_name_of_a_work_item_is_bounded_in_bytes(self):
        for name in ("", "x" * (ITEM_BYTES_MAX + 1), "é" * (ITEM_BYTES_MAX // 2 + 1)):
            loan(SUBMITTED).when(ScheduleWork(name)).rejected("invalid-item")
        for name in ("x" * ITEM_BYTES_MAX, "é" * (ITEM_BYTES_MAX // 2)):
            loan(SUBMITTED).when(ScheduleWork(name)).then(WorkScheduled(name))


class States(unittest.TestCase):
    def test_foreign_events_never_overflow(self):
        most = (1 << 64) - 1
        foreign = loan(0, OfferAccepted(), OfferSent(), WorkCompleted(ITEM))
        foreign.when(Submit(most)).then(ApplicationSubmitted(most))

    def test_the_view_shows_status_amounts_offers_and_open_work(self):
        granted = loan(
            FINALIZED,
            OfferSelected(),
            WorkScheduled(ITEM),
            WorkScheduled("validate-application"),
            WorkStarted(ITEM),
            ApplicationApproved(5000),
        )
        view = granted.view
        self.assertEqual((view["status"], view["granted_amount"]), ("granted", 5000))
        self.assertEqual(view["open_work"], {ITEM: 1})
        self.assertIsNone(loan(SUBMITTED).view["granted_amount"])

    def test_a_snapshot_has_the_form_of_the_guest_in_rust(self):
        state = loan(SUBMITTED, WorkScheduled("b"), WorkScheduled("a"), WorkStarted("b"))
        self.assertEqual(
            state.driver.snapshot(),
            (
                1,
                '{"status":"submitted","amount":5000,"approved":false,"registered":false,'
                '"activated":false,"offers":{"selected":0,"created":0,"sent":0,"returned":0,'
                '"accepted":0,"cancelled":0,"declined":0},"work":{"a":0,"b":1}}',
            ),
        )

    def test_any_cut_gives_the_same_state(self):
        check_folding(guest, *STEPS, *SENT, WorkScheduled(ITEM), WorkStarted(ITEM), OfferReturned())

    def test_random_commands_are_decided_equally_after_a_snapshot(self):
        kinds = list(guest.decider.command_of)

        def command(chance, state):
            kind = chance.choice(kinds)
            if kind is Submit:
                return Submit(chance.randrange(100_000))
            if kind in (ScheduleWork, StartWork, CompleteWork):
                return kind(chance.choice(["a", "b"]))
            return kind()

        check_random(guest, command, length=60)


if __name__ == "__main__":
    unittest.main()
