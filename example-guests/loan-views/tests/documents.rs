//! Tests the documents, event by event.
#![allow(clippy::unwrap_used)]

use loan_views::{
    APPLICATIONS_MAX, Applications, Done, Event, OPEN_ITEMS_MAX, Officers, Pipelines, Status,
};
use quipu_guest::testing::{check_projection, projected};

fn work(item: &str) -> [Event; 3] {
    let item = item.to_owned();
    [
        Event::WorkScheduled { item: item.clone() },
        Event::WorkStarted { item: item.clone() },
        Event::WorkCompleted { item },
    ]
}

#[test]
fn definitions_are_what_a_host_accepts() {
    check_projection::<Applications>();
    check_projection::<Officers>();
    check_projection::<Pipelines>();
}

#[test]
fn an_application_is_followed_from_its_submission_to_its_end() {
    let [scheduled, started, completed] = work("assess");
    let begun = projected::<Applications>()
        .annotation("at", Some("monday"))
        .event("loan-1", Event::ApplicationSubmitted { amount: 500 })
        .event("loan-1", Event::ApplicationPartlySubmitted)
        .event("loan-1", scheduled)
        .event("loan-1", started);
    let application = begun.document("1").unwrap();
    assert_eq!(application.status, Status::PartlySubmitted);
    assert_eq!(application.work.open["assess"], 1);
    assert_eq!((application.granted, application.finished_at), (None, None));

    let ended = begun
        .annotation("at", Some("tuesday"))
        .event("loan-1", Event::ApplicationApproved { amount: 500 })
        .annotation("at", Some("friday"))
        .event("loan-1", completed)
        .event("loan-1", Event::ApplicationActivated);
    ended.check_cuts();
    let application = ended.document("1").unwrap();
    assert_eq!(application.status, Status::Granted);
    assert_eq!(application.granted, Some(500));
    assert!(application.approved && application.activated && !application.registered);
    assert!(application.work.open.is_empty());
    let times = [
        application.submitted_at,
        application.finished_at,
        application.last_at,
    ];
    assert_eq!(
        times.map(Option::unwrap),
        ["monday", "tuesday", "friday"].map(str::to_owned)
    );
}

#[test]
fn offers_are_counted_where_they_are() {
    let steps = [
        Event::OfferSelected,
        Event::OfferSelected,
        Event::OfferCreated,
        Event::OfferSent,
        Event::OfferReturned,
        Event::OfferCancelled,
        Event::OfferCreated,
    ];
    let offers = steps
        .into_iter()
        .fold(projected::<Applications>(), |projected, event| {
            projected.event("loan-1", event)
        });
    let offers = offers.document("1").unwrap().offers;
    assert_eq!((offers.selected, offers.created), (0, 1));
    assert_eq!((offers.sent, offers.returned, offers.cancelled), (0, 0, 1));
}

#[test]
fn open_work_is_bounded_and_its_number_kept() {
    let mut projected = projected::<Applications>();
    for number in 0..OPEN_ITEMS_MAX + 3 {
        let [_, started, _] = work(&format!("{number:03}"));
        projected = projected.event("loan-1", started);
    }
    let [_, _, completed] = work("258");
    let application = projected.event("loan-1", completed).document("1").unwrap();
    assert_eq!(application.work.open.len(), OPEN_ITEMS_MAX);
    assert_eq!(application.work.open_more, 2);
}

#[test]
fn officers_are_known_by_what_they_did_on_every_application() {
    let [scheduled, started, completed] = work("call");
    let officers = projected::<Officers>()
        .event("loan-1", Event::ApplicationSubmitted { amount: 1 })
        .annotation("actor", Some("ann"))
        .event("loan-1", scheduled)
        .event("loan-2", started)
        .event("loan-2", Event::OfferSelected)
        .event("loan-2", Event::ApplicationApproved { amount: 70 })
        .annotation("actor", Some("bob"))
        .event("loan-2", completed)
        .annotation("actor", Some("null"))
        .event("loan-3", Event::ApplicationSubmitted { amount: 1 })
        .annotation("actor", Some(""))
        .event("loan-3", Event::ApplicationCancelled);
    assert_eq!(officers.documents().len(), 2);
    let ann = officers.document("ann").unwrap();
    assert_eq!(
        (ann.events, ann.steps, ann.offers, ann.approved),
        (4, 1, 1, 70)
    );
    let begun = Done {
        scheduled: 1,
        started: 1,
        completed: 0,
    };
    assert_eq!((ann.work, ann.items["call"]), (begun, begun));
    assert!(ann.applications.iter().eq(["1", "2"]) && !ann.more_applications);
    assert_eq!(officers.document("bob").unwrap().work.completed, 1);
}

#[test]
fn which_applications_an_officer_has_does_not_depend_on_their_order() {
    let ids: Vec<_> = (0..APPLICATIONS_MAX + 20)
        .map(|id| format!("{id:03}"))
        .collect();
    let of = |ids: &mut dyn Iterator<Item = &String>| {
        let ann = projected::<Officers>().annotation("actor", Some("ann"));
        let ann = ids.fold(ann, |ann, id| {
            ann.event(&format!("loan-{id}"), Event::ApplicationRegistered)
        });
        ann.document("ann").unwrap()
    };
    let ann = of(&mut ids.iter());
    assert_eq!(ann, of(&mut ids.iter().rev()));
    assert!(ann.applications.iter().eq(&ids[..APPLICATIONS_MAX]) && ann.more_applications);
}

#[test]
fn the_pipeline_adds_up_what_all_applications_have() {
    let [scheduled, started, _] = work("call");
    let all = projected::<Pipelines>()
        .event("loan-1", Event::ApplicationSubmitted { amount: 10 })
        .event("loan-2", Event::ApplicationSubmitted { amount: 20 })
        .event("loan-2", Event::ApplicationPartlySubmitted)
        .event("loan-2", scheduled)
        .event("loan-2", started)
        .event("loan-2", Event::ApplicationDeclined)
        .event("loan-3", Event::ApplicationApproved { amount: 5 });
    assert_eq!(all.documents().len(), 1);
    let all = all.document("all").unwrap();
    assert_eq!((all.requested_euros, all.granted_euros), (30, 5));
    assert_eq!((all.reached.submitted, all.reached.declined), (2, 1));
    assert_eq!(
        (all.furthest.submitted, all.furthest.partly_submitted),
        (1, 1)
    );
    assert_eq!((all.work.scheduled, all.work.started), (1, 1));
}
