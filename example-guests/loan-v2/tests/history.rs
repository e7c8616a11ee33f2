//! Tests that the second generation reads events and snapshots as the first one writes them.

#![allow(clippy::unwrap_used)]

use loan_v2::{Event, Loan, LoanUpcasts, Money};
use quipu_guest::Manifest;
use quipu_guest::driver::FoldError;
use quipu_guest::testing::{check_guest, check_lifts, check_steps, lifted, migrated};

const MONEY: &str = r#"{"requested":{"units":5000,"currency":"EUR"}}"#;
const CREDIT: &str = r#"{"credit":{"units":5000,"currency":"EUR"}}"#;

/// Checks the result of lifting an event with this body.
#[track_caller]
fn check<const N: usize>(event_type: &str, body: &str, expected: [Event; N]) {
    lifted::<LoanUpcasts>(event_type, 1, body).read_by::<Loan>(expected);
}

fn work() -> String {
    "handle-lead".to_owned()
}

#[test]
fn a_host_would_take_it() {
    check_guest::<Loan>();
    check_steps::<LoanUpcasts>();
    check_lifts::<LoanUpcasts>(&[
        ("application-submitted", 1, r#"{"amount":5000}"#),
        ("application-approved", 1, r#"{"amount":5000}"#),
        ("application-preaccepted", 1, "{}"),
    ]);
}

#[test]
fn every_event_of_the_first_generation_is_read() {
    let work_body = r#"{"item":"handle-lead"}"#;
    let requested = Money::euros(5000);
    let submitted = Event::ApplicationSubmitted { requested };
    let credit = Event::CreditGranted { credit: requested };
    let amount = r#"{"amount":5000}"#;
    check("application-submitted", amount, [submitted]);
    check(
        "application-partly-submitted",
        "{}",
        [Event::ApplicationChecked],
    );
    check(
        "application-preaccepted",
        "{}",
        [Event::ApplicationShortlisted],
    );
    check("application-accepted", "{}", [Event::ApplicationAccepted]);
    check("application-finalized", "{}", [Event::ApplicationFinalized]);
    check(
        "application-approved",
        amount,
        [Event::ApplicationApproved, credit],
    );
    check(
        "application-registered",
        "{}",
        [Event::ApplicationRegistered],
    );
    check("application-activated", "{}", [Event::ApplicationActivated]);
    check("application-declined", "{}", [Event::ApplicationDeclined]);
    check("application-cancelled", "{}", [Event::ApplicationCancelled]);
    check("offer-selected", "{}", [Event::OfferSelected]);
    check("offer-created", "{}", [Event::OfferCreated]);
    check("offer-sent", "{}", [Event::OfferSent]);
    check("offer-returned", "{}", [Event::OfferReturned]);
    check("offer-accepted", "{}", [Event::OfferAccepted]);
    check("offer-cancelled", "{}", [Event::OfferCancelled]);
    check("offer-declined", "{}", [Event::OfferDeclined]);
    check(
        "work-scheduled",
        work_body,
        [Event::WorkScheduled { work: work() }],
    );
    check(
        "work-started",
        work_body,
        [Event::WorkStarted { work: work() }],
    );
    check(
        "work-completed",
        work_body,
        [Event::WorkCompleted { work: work() }],
    );
}

#[test]
fn a_lifted_event_has_the_form_in_which_the_second_generation_writes() {
    let lift = lifted::<LoanUpcasts>;
    let amount = r#"{"amount":5000}"#;
    lift("application-submitted", 1, amount).to([("application-submitted", 2, MONEY)]);
    lift("application-submitted", 2, MONEY).to([("application-submitted", 2, MONEY)]);
    lift("application-approved", 1, amount).to([
        ("application-approved", 2, "{}"),
        ("credit-granted", 1, CREDIT),
    ]);
    lift("application-partly-submitted", 1, "{}").to([("application-checked", 1, "{}")]);
    let body = r#"{"work":"handle-lead"}"#;
    lift("work-started", 1, r#"{"item":"handle-lead"}"#).to([("work-started", 2, body)]);
}

#[test]
fn no_type_of_the_first_generation_is_forgotten() {
    let (first, second) = (Manifest::of::<loan::Loan>(), Manifest::of::<Loan>());
    let renamed = ["application-partly-submitted"];
    for event in &first.events {
        let is_known = second.event(event.name).is_some();
        assert_ne!(is_known, renamed.contains(&event.name), "{}", event.name);
    }
    assert_eq!(first.commands, second.commands);
    let known = second.event("application-preaccepted").unwrap();
    assert_eq!(known.name, "application-shortlisted");
    assert_eq!((first.name, first.migrations), (second.name, vec![]));
    assert_eq!(
        (second.state_schema_version, second.migrations),
        (2, vec![(1, 2)])
    );
}

#[test]
fn an_event_that_never_had_this_form_is_named_with_its_version() {
    let error = lifted::<LoanUpcasts>("application-submitted", 1, r#"{"amount":-1}"#).failed();
    let expected = "event application-submitted of schema version 1: body does not fit: invalid \
                    value: integer `-1`, expected u64 at line 1 column 12";
    assert_eq!(error, FoldError::BadEvent(expected.to_owned()));
}

#[test]
fn a_snapshot_of_the_first_generation_is_migrated() {
    let old = concat!(
        r#"{"status":"granted","amount":5000,"approved":true,"registered":false,"#,
        r#""activated":true,"offers":{"selected":1,"created":0,"sent":0,"returned":0,"#,
        r#""accepted":0,"cancelled":0,"declined":0},"work":{"handle-lead":2}}"#
    );
    let new = concat!(
        r#"{"status":"granted","requested":{"units":5000,"currency":"EUR"},"#,
        r#""grants":["approved","activated"],"offers":{"selected":1,"created":0,"sent":0,"#,
        r#""returned":0,"accepted":0,"cancelled":0,"declined":0},"work":{"handle-lead":2}}"#
    );
    assert_eq!(migrated::<Loan>(1, old).state(), new);
    assert_eq!(migrated::<Loan>(2, new).state(), new);
}
