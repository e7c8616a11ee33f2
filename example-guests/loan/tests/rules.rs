//! Tests the rules of an application.

use loan::{Command, Event, ITEM_BYTES_MAX, Loan};
use quipu_guest::testing::{Given, check_cuts, check_guest, given};

const STEPS: [Event; 5] = [
    Event::ApplicationSubmitted { amount: 5000 },
    Event::ApplicationPartlySubmitted,
    Event::ApplicationPreaccepted,
    Event::ApplicationAccepted,
    Event::ApplicationFinalized,
];
const SUBMITTED: usize = 1;
const PARTLY_SUBMITTED: usize = 2;
const ACCEPTED: usize = 4;
const FINALIZED: usize = 5;

/// Creates an application after this many steps and some more events.
fn loan<const N: usize>(steps: usize, more: [Event; N]) -> Given<Loan> {
    given::<Loan>(STEPS.into_iter().take(steps).chain(more))
}

fn item() -> String {
    "call-about-offer".to_owned()
}

#[test]
fn a_host_accepts_the_guest_and_folds_as_it_likes() {
    check_guest::<Loan>();
    let work = [
        Event::WorkScheduled { item: item() },
        Event::WorkStarted { item: item() },
        Event::WorkCompleted { item: item() },
        Event::OfferSelected,
        Event::OfferCreated,
    ];
    check_cuts::<Loan>(STEPS.into_iter().chain(work));
}

#[test]
fn submit_comes_first_and_once() {
    let submit = Command::Submit { amount: 0 };
    loan(0, [])
        .when(submit.clone())
        .then([Event::ApplicationSubmitted { amount: 0 }]);
    loan(SUBMITTED, [])
        .when(submit)
        .rejected("already-submitted");
    for command in [
        Command::PartlySubmit,
        Command::Cancel,
        Command::SelectOffer,
        Command::AcceptOffer,
        Command::ScheduleWork { item: item() },
    ] {
        loan(0, []).when(command).rejected("not-submitted");
    }
}

#[test]
fn each_step_follows_on_the_one_before() {
    let commands = [
        Command::PartlySubmit,
        Command::Preaccept,
        Command::Accept,
        Command::Finalize,
    ];
    for (step, command) in (1..).zip(commands) {
        for steps in 1..=FINALIZED {
            let outcome = loan(steps, []).when(command.clone());
            if steps == step {
                outcome.then([STEPS[step].clone()]);
            } else {
                outcome.rejected("wrong-status");
            }
        }
    }
}

#[test]
fn a_misplaced_step_says_where_the_application_is() {
    let rejection = loan(SUBMITTED, [])
        .when(Command::Accept)
        .rejected("wrong-status");
    assert_eq!(
        rejection.message(),
        "application is submitted, needed preaccepted"
    );
    assert_eq!(rejection.details_json(), Some(r#"{"status":"submitted"}"#));
}

#[test]
fn approve_register_and_activate_come_once_in_any_order_after_finalize() {
    let all = || {
        [
            (
                Command::Approve,
                Event::ApplicationApproved { amount: 5000 },
            ),
            (Command::Register, Event::ApplicationRegistered),
            (Command::Activate, Event::ApplicationActivated),
        ]
    };
    for (command, event) in all() {
        loan(ACCEPTED, [])
            .when(command.clone())
            .rejected("wrong-status");
        loan(FINALIZED, [])
            .when(command.clone())
            .then([event.clone()]);
        for (_, first) in all() {
            let outcome = loan(FINALIZED, [first.clone()]).when(command.clone());
            if first == event {
                outcome.rejected("already-done");
            } else {
                outcome.then([event.clone()]);
            }
        }
    }
}

#[test]
fn decline_and_cancel_are_possible_from_partly_submitted_until_an_end() {
    for (command, event) in [
        (Command::Decline, Event::ApplicationDeclined),
        (Command::Cancel, Event::ApplicationCancelled),
    ] {
        loan(SUBMITTED, [])
            .when(command.clone())
            .rejected("wrong-status");
        for steps in PARTLY_SUBMITTED..=FINALIZED {
            loan(steps, []).when(command.clone()).then([event.clone()]);
        }
        for end in [
            Event::ApplicationDeclined,
            Event::ApplicationCancelled,
            Event::ApplicationRegistered,
        ] {
            loan(FINALIZED, [end])
                .when(command.clone())
                .rejected("ended");
        }
    }
}

#[test]
fn nothing_leads_on_from_declined_or_cancelled() {
    for end in [Event::ApplicationDeclined, Event::ApplicationCancelled] {
        for command in [Command::Finalize, Command::Approve, Command::SelectOffer] {
            loan(ACCEPTED, [end.clone()])
                .when(command)
                .rejected("ended");
        }
    }
}

#[test]
fn selecting_an_offer_needs_accept_and_the_rest_finalize() {
    let selected = || [Event::OfferSelected];
    let created = || [Event::OfferSelected, Event::OfferCreated];
    loan(ACCEPTED - 1, [])
        .when(Command::SelectOffer)
        .rejected("wrong-status");
    loan(ACCEPTED, [])
        .when(Command::SelectOffer)
        .then([Event::OfferSelected]);
    loan(FINALIZED, [])
        .when(Command::SelectOffer)
        .then([Event::OfferSelected]);
    loan(ACCEPTED, selected())
        .when(Command::CreateOffer)
        .rejected("wrong-status");
    loan(FINALIZED, selected())
        .when(Command::CreateOffer)
        .then([Event::OfferCreated]);
    loan(ACCEPTED, created())
        .when(Command::SendOffer)
        .rejected("wrong-status");
    loan(FINALIZED, created())
        .when(Command::SendOffer)
        .then([Event::OfferSent]);
}

#[test]
fn an_offer_passes_its_stages_in_order() {
    let selected = || vec![Event::OfferSelected];
    let sent = || vec![Event::OfferSelected, Event::OfferCreated, Event::OfferSent];
    let after = |events: Vec<Event>| given::<Loan>(STEPS.into_iter().chain(events));
    after(vec![])
        .when(Command::CreateOffer)
        .rejected("no-offer-selected");
    after(selected())
        .when(Command::SendOffer)
        .rejected("no-offer-created");
    after(sent())
        .when(Command::CreateOffer)
        .rejected("no-offer-selected");
    after(sent())
        .when(Command::SendOffer)
        .rejected("no-offer-created");
    after(selected())
        .when(Command::ReturnOffer)
        .rejected("no-offer-sent");
    after(sent())
        .when(Command::ReturnOffer)
        .then([Event::OfferReturned]);
    for (command, event) in [
        (Command::AcceptOffer, Event::OfferAccepted),
        (Command::CancelOffer, Event::OfferCancelled),
        (Command::DeclineOffer, Event::OfferDeclined),
    ] {
        after(selected())
            .when(command.clone())
            .rejected("no-offer-sent");
        after(sent()).when(command.clone()).then([event.clone()]);
        let returned = sent().into_iter().chain([Event::OfferReturned]);
        after(returned.clone().collect())
            .when(command.clone())
            .then([event.clone()]);
        let ended = returned.chain([Event::ApplicationCancelled]);
        after(ended.clone().collect())
            .when(command.clone())
            .then([event.clone()]);
        after(ended.chain([event]).collect())
            .when(command)
            .rejected("no-offer-sent");
    }
}

#[test]
fn of_several_offers_a_returned_one_is_settled_first() {
    let offer = [Event::OfferSelected, Event::OfferCreated, Event::OfferSent];
    let events = STEPS.into_iter().chain(offer.clone()).chain(offer);
    let loan = given::<Loan>(events.chain([Event::OfferReturned, Event::OfferAccepted]));
    assert!(
        loan.view()
            .contains(r#""sent":1,"returned":0,"accepted":1"#)
    );
    loan.when(Command::ReturnOffer).then([Event::OfferReturned]);
}

#[test]
fn work_is_started_only_when_scheduled_and_then_any_number_of_times() {
    let start = Command::StartWork { item: item() };
    let scheduled = Event::WorkScheduled { item: item() };
    let started = Event::WorkStarted { item: item() };
    loan(SUBMITTED, [])
        .when(start.clone())
        .rejected("work-not-scheduled");
    let other = Event::WorkScheduled {
        item: "handle-lead".to_owned(),
    };
    loan(SUBMITTED, [other])
        .when(start.clone())
        .rejected("work-not-scheduled");
    loan(SUBMITTED, [scheduled.clone()])
        .when(start.clone())
        .then([started.clone()]);
    loan(SUBMITTED, [scheduled, started.clone()])
        .when(start)
        .then([started]);
}

#[test]
fn work_is_completed_as_often_as_started() {
    let complete = Command::CompleteWork { item: item() };
    let scheduled = Event::WorkScheduled { item: item() };
    let started = Event::WorkStarted { item: item() };
    let completed = Event::WorkCompleted { item: item() };
    loan(SUBMITTED, [])
        .when(complete.clone())
        .rejected("work-not-scheduled");
    loan(SUBMITTED, [scheduled.clone()])
        .when(complete.clone())
        .rejected("work-not-started");
    loan(
        SUBMITTED,
        [
            scheduled.clone(),
            started.clone(),
            started.clone(),
            completed.clone(),
        ],
    )
    .when(complete.clone())
    .then([completed.clone()]);
    loan(SUBMITTED, [scheduled, started, completed])
        .when(complete)
        .rejected("work-not-started");
}

#[test]
fn work_goes_on_after_an_end() {
    loan(FINALIZED, [Event::ApplicationDeclined])
        .when(Command::ScheduleWork { item: item() })
        .then([Event::WorkScheduled { item: item() }]);
}

#[test]
fn the_name_of_a_work_item_is_bounded() {
    let schedule = |bytes| {
        loan(SUBMITTED, []).when(Command::ScheduleWork {
            item: "x".repeat(bytes),
        })
    };
    schedule(0).rejected("invalid-item");
    schedule(ITEM_BYTES_MAX).then([Event::WorkScheduled {
        item: "x".repeat(ITEM_BYTES_MAX),
    }]);
    schedule(ITEM_BYTES_MAX + 1).rejected("invalid-item");
}

#[test]
fn foreign_events_never_overflow() {
    loan(
        0,
        [
            Event::OfferAccepted,
            Event::OfferSent,
            Event::WorkCompleted { item: item() },
        ],
    )
    .when(Command::Submit { amount: u64::MAX })
    .then([Event::ApplicationSubmitted { amount: u64::MAX }]);
}

#[test]
fn the_view_shows_status_amounts_offers_and_open_work() {
    assert_eq!(
        loan(
            FINALIZED,
            [
                Event::OfferSelected,
                Event::WorkScheduled { item: item() },
                Event::WorkScheduled {
                    item: "validate-application".to_owned()
                },
                Event::WorkStarted { item: item() },
                Event::ApplicationApproved { amount: 5000 },
            ]
        )
        .view(),
        concat!(
            r#"{"status":"granted","amount":5000,"granted_amount":5000,"approved":true,"#,
            r#""registered":false,"activated":false,"offers":{"selected":1,"created":0,"#,
            r#""sent":0,"returned":0,"accepted":0,"cancelled":0,"declined":0},"#,
            r#""open_work":{"call-about-offer":1}}"#
        )
    );
    assert!(
        loan(SUBMITTED, [])
            .view()
            .contains(r#""granted_amount":null"#)
    );
}
