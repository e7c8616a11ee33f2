use std::sync::{Arc, Mutex};
use std::time::Duration;

use quipu::Host;
use quipu::model::{Name, Position, RecordedEvent, Version};
use quipu::store::{Direction, Filter};
use quipu::subscribe::{Committed, Message, Options, Place, Subscribe, Subscription};
use quipu::upcast::Form;
use quipu_tests::build::{append, command, event, foreign, stream};
use quipu_tests::clock::until;
use quipu_tests::{Place as Store, examples, on_every_store};

use crate::follow::{host, small, subscribe};
use crate::upcaster::{Step, upcaster};

on_every_store! {
    every_kind_of_subscription_delivers_events_in_the_current_form,
    a_filter_by_type_includes_older_names,
    a_place_moves_only_after_all_parts_of_an_event,
    a_dropped_event_moves_the_place,
    a_waiting_subscription_gets_events_stored_under_older_names,
    the_same_type_name_in_another_category_is_a_different_type,
    old_events_are_delivered_in_the_form_of_the_current_decider,
}

/// Steps that rename, split and drop.
pub const STEPS: &[Step] = &[
    Step("order", ("ordered", 1), &[("placed", 1)]),
    Step("order", ("placed", 1), &[("placed", 2)]),
    Step(
        "order",
        ("paid", 1),
        &[("paid", 2), ("booked", 1), ("thanked", 1)],
    ),
    Step("order", ("pinged", 1), &[]),
];

/// The stored types, repeatedly.
pub const STORED: [&str; 5] = ["ordered", "pinged", "paid", "placed", "noted"];

/// The types that readers see.
pub const READ: [&str; 6] = ["placed", "paid", "booked", "thanked", "placed", "noted"];

pub fn types(names: &[&str]) -> Filter {
    let names = names.iter().map(|name| Name::new(name).unwrap());
    Filter {
        types: Some(names.collect()),
        ..Filter::default()
    }
}

/// Appends events of these types to a stream, one by one.
pub async fn record(host: &Host, to: &str, names: &[&str]) {
    for name in names {
        let one = append(vec![event(name, "{}")]);
        host.append(&stream(to), one).await.unwrap();
    }
}

/// The events until a place of the log, whether from pages or from the ring.
async fn up_to(subscription: &mut Subscription, end: Place) -> Vec<Arc<RecordedEvent>> {
    let mut all = Vec::new();
    while subscription.place() != end {
        if let Message::Event(event) = crate::follow::next(subscription).await {
            all.push(event);
        }
    }
    all
}

async fn until_caught_up(subscription: &mut Subscription) -> Vec<Arc<RecordedEvent>> {
    let mut all = Vec::new();
    loop {
        match crate::follow::next(subscription).await {
            Message::Event(event) => all.push(event),
            Message::CaughtUp(_) => return all,
            Message::Heartbeat(_) => {}
        }
    }
}

pub fn names(events: &[Arc<RecordedEvent>]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

async fn read(host: &Host, form: Form, filter: &Filter) -> Vec<Arc<RecordedEvent>> {
    let (begin, forward) = (Position(0), Direction::Forward);
    let page = host.read_log(begin, forward, 1_000, filter).form(form);
    page.await
        .unwrap()
        .events
        .into_iter()
        .map(Arc::new)
        .collect()
}

/// A ring that subscriptions soon leave, one that holds all events, and one that holds none.
fn rings() -> [Options; 3] {
    let none = Options {
        ring_events_max: 0,
        page_bytes_max: 0,
        ..small()
    };
    [small(), Options::default(), none]
}

/// The events that a handler gets.
type Deliveries = Arc<Mutex<Vec<Arc<RecordedEvent>>>>;

async fn on_commit(host: &Host, form: Form) -> Deliveries {
    let deliveries = Deliveries::default();
    let sink = Arc::clone(&deliveries);
    host.on_commit(form, move |committed| {
        match committed {
            Committed::Events(events) => sink.lock().unwrap().extend(events),
            // With a ring that is too small for it.
            Committed::Missed(_) => {}
            other => panic!("{other:?}"),
        }
        async {}
    })
    .await
    .unwrap();
    deliveries
}

fn named(host: &Host, form: Form) -> Deliveries {
    let deliveries = Deliveries::default();
    let sink = Arc::clone(&deliveries);
    let named = host
        .subscription(&format!("{form:?}"))
        .unwrap()
        .batch_max(2);
    let named = match form {
        Form::Lifted => named,
        Form::Stored => named.as_stored(),
    };
    tokio::spawn(named.run(async move |events: &[Arc<RecordedEvent>]| {
        assert!(events.last().unwrap().is_last_part());
        sink.lock().unwrap().extend_from_slice(events);
        Ok::<_, String>(())
    }));
    deliveries
}

async fn every_kind_of_subscription_delivers_events_in_the_current_form(store: Store) {
    for options in rings() {
        let store = store.another();
        let holds_all = options.ring_events_max > 100;
        let host = host(&store, options).await;
        record(&host, "order-1", &STORED).await;
        examples::deploy(&host, upcaster("orders", STEPS)).await;
        record(&host, "order-1", &STORED).await;
        record(&host, "other-1", &STORED).await;
        let old = host.log_head().await.unwrap();
        let (log, of_stream) = (
            Subscribe::log(Position(0), Filter::default()),
            Subscribe::stream(stream("order-1"), Version(1)),
        );
        let mut lifted = subscribe(&host, log.clone()).await;
        let mut stored = subscribe(&host, log.as_stored()).await;
        let mut lifted_stream = subscribe(&host, of_stream.clone()).await;
        let mut stored_stream = subscribe(&host, of_stream.as_stored()).await;
        let before = names(&until_caught_up(&mut lifted).await).join(" ");
        assert_eq!(before, [&READ[..], &READ, &STORED].concat().join(" "));
        let commits = on_commit(&host, Form::Lifted).await;
        let stored_commits = on_commit(&host, Form::Stored).await;
        let (mailer, archive) = (named(&host, Form::Lifted), named(&host, Form::Stored));
        for _ in 0..3 {
            record(&host, "order-1", &STORED).await;
        }
        let end = Place::Log(host.log_head().await.unwrap());
        let end_of_stream = Place::Stream(Version(25));
        for (form, subscription, of_stream, commits, named) in [
            (
                Form::Lifted,
                &mut lifted,
                &mut lifted_stream,
                commits,
                mailer,
            ),
            (
                Form::Stored,
                &mut stored,
                &mut stored_stream,
                stored_commits,
                archive,
            ),
        ] {
            let all = read(&host, form, &Filter::default()).await;
            let is_new = |it: &&Arc<RecordedEvent>| it.position > old;
            let new: Vec<_> = all.iter().filter(is_new).cloned().collect();
            let delivery = up_to(subscription, end).await;
            assert!(all.ends_with(&delivery) && delivery.len() >= new.len());
            let in_stream = all.iter().filter(|it| it.stream.category() == "order");
            let delivery = up_to(of_stream, end_of_stream).await;
            assert_eq!(delivery, in_stream.cloned().collect::<Vec<_>>());
            if holds_all {
                until(|| commits.lock().unwrap().len() >= new.len()).await;
                assert_eq!(*commits.lock().unwrap(), new);
            }
            until(|| named.lock().unwrap().len() >= all.len()).await;
            assert_eq!(*named.lock().unwrap(), all);
        }
    }
}

async fn a_filter_by_type_includes_older_names(store: Store) {
    for options in rings() {
        let store = store.another();
        let host = host(&store, options).await;
        examples::deploy(&host, upcaster("orders", STEPS)).await;
        // Some events are read from pages, the rest arrive during the wait.
        record(&host, "order-1", &STORED).await;
        let filters = [
            (&["placed"][..], "placed placed"),
            (&["ordered"], "placed"),
            (&["paid"], "paid booked thanked"),
            (&["booked"], "booked"),
            (&["thanked", "noted"], "thanked noted"),
            (&["pinged"], ""),
        ];
        let mut subscriptions = Vec::new();
        for (filter, expected) in filters {
            let filter = types(filter);
            for form in [Form::Lifted, Form::Stored] {
                let to = Subscribe::log(Position(0), filter.clone());
                let to = match form {
                    Form::Lifted => to,
                    Form::Stored => to.as_stored(),
                };
                let to = to.heartbeat(Duration::from_millis(2));
                let mut subscription = subscribe(&host, to).await;
                let delivery = until_caught_up(&mut subscription).await;
                assert_eq!(delivery, read(&host, form, &filter).await);
                if form == Form::Lifted {
                    assert_eq!(names(&delivery).join(" "), expected);
                }
                subscriptions.push((filter.clone(), form, subscription, delivery));
            }
        }
        record(&host, "order-1", &STORED).await;
        let end = Place::Log(host.log_head().await.unwrap());
        for (filter, form, mut subscription, mut delivery) in subscriptions {
            delivery.extend(up_to(&mut subscription, end).await);
            assert_eq!(
                delivery,
                read(&host, form, &filter).await,
                "{filter:?} {form:?}"
            );
        }
    }
}

async fn a_place_moves_only_after_all_parts_of_an_event(store: Store) {
    for options in rings() {
        let store = store.another();
        let host = host(&store, options).await;
        examples::deploy(&host, upcaster("orders", STEPS)).await;
        record(&host, "order-1", &["noted", "paid", "noted"]).await;
        let log = Subscribe::log(Position(0), Filter::default());
        let of_stream = Subscribe::stream(stream("order-1"), Version(1));
        let only = Subscribe::log(Position(0), types(&["booked", "noted"]));
        let mut positions = crate::follow::all_positions(&host).await;
        positions.dedup();
        let [first, second, third] = positions[..] else {
            panic!("three events are stored")
        };
        let in_log = [first, first, first, second, third];
        for (to, places) in [
            (log, &in_log[..]),
            (of_stream, &[1, 1, 1, 2, 3]),
            (only, &[first, second, third]),
        ] {
            let mut subscription = subscribe(&host, to).await;
            for (index, place) in places.iter().enumerate() {
                let Message::Event(event) = crate::follow::next(&mut subscription).await else {
                    panic!("there is more")
                };
                let found = match subscription.place() {
                    Place::Log(position) => position.0,
                    Place::Stream(version) => version.0,
                };
                assert_eq!(found, *place, "{index}");
                let is_part = places.len() == 5 && (1..3).contains(&index);
                assert!(places.len() != 5 || event.is_last_part() != is_part);
            }
        }
    }
}

async fn a_dropped_event_moves_the_place(store: Store) {
    for options in rings() {
        let store = store.another();
        let host = host(&store, options).await;
        examples::deploy(&host, upcaster("orders", STEPS)).await;
        record(&host, "order-1", &["noted", "pinged"]).await;
        let log = Subscribe::log(Position(0), Filter::default());
        let of_stream = Subscribe::stream(stream("order-1"), Version(1));
        let mut log = subscribe(&host, log).await;
        let mut of_stream = subscribe(&host, of_stream).await;
        for subscription in [&mut log, &mut of_stream] {
            assert_eq!(names(&until_caught_up(subscription).await), ["noted"]);
        }
        let end = host.log_head().await.unwrap();
        assert_eq!(log.place(), Place::Log(end));
        assert_eq!(of_stream.place(), Place::Stream(Version(2)));
        record(&host, "order-1", &["pinged", "pinged", "noted"]).await;
        let end = host.log_head().await.unwrap();
        for (subscription, end) in [
            (&mut log, Place::Log(end)),
            (&mut of_stream, Place::Stream(Version(5))),
        ] {
            assert_eq!(names(&up_to(subscription, end).await), ["noted"]);
        }
    }
}

/// An upcaster is deployed during the wait, and the subscription is not renewed.
async fn a_waiting_subscription_gets_events_stored_under_older_names(store: Store) {
    let host = host(&store, small()).await;
    let brief = Duration::from_millis(2);
    let to = |names| Subscribe::log(Position(0), types(names)).heartbeat(brief);
    let mut new = subscribe(&host, to(&["placed"])).await;
    let mut old = subscribe(&host, to(&["ordered"])).await;
    record(&host, "order-1", &["ordered", "noted"]).await;
    let end = Place::Log(host.log_head().await.unwrap());
    assert_eq!(names(&up_to(&mut new, end).await), [""; 0]);
    assert_eq!(names(&up_to(&mut old, end).await), ["ordered"]);
    examples::deploy(&host, upcaster("orders", STEPS)).await;
    record(&host, "order-1", &["noted", "ordered"]).await;
    let end = Place::Log(host.log_head().await.unwrap());
    for subscription in [&mut new, &mut old] {
        let delivery = up_to(subscription, end).await;
        assert_eq!(names(&delivery), ["placed"]);
        let stored = delivery[0].stored_as.as_ref().unwrap();
        assert_eq!(stored.name.as_str(), "ordered");
    }
}

async fn the_same_type_name_in_another_category_is_a_different_type(store: Store) {
    for options in rings() {
        let store = store.another();
        let host = host(&store, options).await;
        examples::deploy(&host, upcaster("orders", STEPS)).await;
        let write = async || {
            record(&host, "other-1", &STORED).await;
            record(&host, "order-1", &STORED[..4]).await;
        };
        write().await;
        let to = Subscribe::log(Position(0), types(&["booked", "placed"]));
        let mut subscription = subscribe(&host, to).await;
        write().await;
        let end = Place::Log(host.log_head().await.unwrap());
        let once = ["placed", "placed", "booked", "placed"];
        let delivery = up_to(&mut subscription, end).await;
        assert_eq!(names(&delivery), [once, once].concat());
    }
}

/// The second generation of loans is activated over a log of the first.
async fn old_events_are_delivered_in_the_form_of_the_current_decider(store: Store) {
    let host = host(&store, Options::default()).await;
    examples::deploy(&host, examples::loan()).await;
    let one = stream("loan-1");
    for (name, json) in [
        ("submit", r#"{"amount":500}"#),
        ("partly-submit", "{}"),
        ("preaccept", "{}"),
        ("accept", "{}"),
        ("finalize", "{}"),
        ("approve", "{}"),
    ] {
        host.execute(&one, command(name, json)).await.unwrap();
    }
    let mut waits = subscribe(&host, Subscribe::log(Position(0), Filter::default())).await;
    assert_eq!(until_caught_up(&mut waits).await.len(), 6);
    let to = Subscribe::log(Position(0), types(&["credit-granted"]));
    let mut granted = subscribe(&host, to).await;
    assert!(until_caught_up(&mut granted).await.is_empty());
    examples::deploy(&host, examples::loan_v2()).await;
    check_history(&host).await;
    let raw = foreign(vec![event("application-declined", "{}")]);
    host.append(&one, raw).await.unwrap();
    let delivery = up_to(&mut waits, Place::Log(host.log_head().await.unwrap())).await;
    assert_eq!(names(&delivery), ["application-declined"]);
    drop(waits);
    host.shutdown().await.unwrap();
    // Read from pages.
    check_history(&crate::follow::host(&store, small()).await).await;
}

async fn check_history(host: &Host) {
    let all = async |filter: Filter| {
        let to = Subscribe::log(Position(0), filter);
        until_caught_up(&mut subscribe(host, to).await).await
    };
    let delivery = all(Filter::default()).await;
    let expected = [
        "application-submitted",
        "application-checked",
        "application-shortlisted",
        "application-accepted",
        "application-finalized",
        "application-approved",
        "credit-granted",
    ];
    assert_eq!(names(&delivery)[..7], expected);
    let body = std::str::from_utf8(delivery[6].body.bytes()).unwrap();
    assert_eq!(body, r#"{"credit":{"units":500,"currency":"EUR"}}"#);
    for (filter, count) in [
        (&["application-shortlisted"][..], 1),
        (&["application-preaccepted"], 1),
        (&["application-checked"], 1),
        (&["application-partly-submitted"], 1),
        (&["credit-granted"], 1),
        (&["application-approved"], 2),
    ] {
        assert_eq!(all(types(filter)).await.len(), count, "{filter:?}");
    }
}
