//! Upcasters are activated and replaced while clients append and follow; compared with a model.

use std::sync::Arc;
use std::time::Duration;

use quipu::Host;
use quipu::model::{Position, RecordedEvent, Version};
use quipu::store::{Direction, Filter};
use quipu::subscribe::{Message, Options, Place, Subscribe, Subscription};
use quipu::upcast::Form;
use quipu_tests::build::{append, event, stream};
use quipu_tests::{Place as Store, examples, on_every_store, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::follow::{host, next, subscribe};
use crate::lifted::types;
use crate::upcaster::{Step, upcaster};

on_every_store! {
    nothing_is_missed_or_duplicated_while_upcasters_change,
}

const WRITERS: usize = 3;
const APPENDS: usize = 60;
const SUBSCRIBERS: usize = 12;
const STORED: [&str; 4] = ["old", "gone", "kept", "new"];

/// The steps of each plan, and their results for each type.
const PLANS: [(&[Step], [&[&str]; 4]); 4] = [
    (&[], [&["old"], &["gone"], &["kept"], &["new"]]),
    (
        &[Step("a", ("old", 1), &[("mid", 1)])],
        [&["mid"], &["gone"], &["kept"], &["new"]],
    ),
    (
        &[
            Step("a", ("old", 1), &[("mid", 1)]),
            Step("a", ("mid", 1), &[("new", 2), ("more", 1)]),
            Step("a", ("gone", 1), &[]),
        ],
        [&["new", "more"], &[], &["kept"], &["new"]],
    ),
    (
        &[
            Step("a", ("old", 1), &[("new", 2)]),
            Step("a", ("gone", 1), &[("kept", 2), ("kept", 2)]),
        ],
        [&["new"], &["kept", "kept"], &["kept"], &["new"]],
    ),
];

const FILTERS: [&[&str]; 7] = [
    &["old"],
    &["mid"],
    &["new"],
    &["more"],
    &["kept", "more"],
    &["gone"],
    &["nothing"],
];

async fn write(host: Host, mut random: StdRng) {
    for _ in 0..APPENDS {
        let category = ["a", "a", "b"][random.random_range(0..3)];
        let to = format!("{category}-{}", random.random_range(0..2));
        let names = (0..random.random_range(1..=3)).map(|_| STORED[random.random_range(0..4)]);
        let events = names.map(|name| event(name, "{}")).collect();
        host.append(&stream(&to), append(events)).await.unwrap();
    }
}

/// Activates one plan after the other while the log grows.
async fn swap(host: Host) {
    for (number, (steps, _)) in PLANS.iter().enumerate().skip(1) {
        let uploaded = host.upload(upcaster("swapped", steps)).await.unwrap();
        let soon = Position((WRITERS * APPENDS * number / 3) as u64);
        while host.log_head().await.unwrap() < soon {
            tokio::task::yield_now().await;
        }
        let digest = uploaded.module.digest();
        let deployed = host.activate(digest, None).await.unwrap();
        assert_eq!(deployed.plan, number as u64);
    }
}

/// The delivered form of a stored event under a plan.
fn form_of(stored: &RecordedEvent, plan: usize, filter: &Filter) -> Vec<&'static str> {
    let kind = STORED.iter().position(|name| *name == stored.name.as_str());
    let plan = if stored.stream.category() == "a" {
        plan
    } else {
        0
    };
    let wants = |name: &str| {
        let types = filter.types.as_ref();
        types.is_none_or(|types| types.iter().any(|it| it.as_str() == name))
    };
    let parts = PLANS[plan].1[kind.unwrap()].iter().copied();
    parts
        .filter(|name| wants(name) || wants(stored.name.as_str()))
        .collect()
}

/// Checks that each stored event was delivered in order, once, in the form of some plan. The plan
/// is never older than the one of its commit, or than the one of an event delivered before.
fn check(stored: &[RecordedEvent], delivery: &[Arc<RecordedEvent>], filter: &Filter, last: usize) {
    let mut rest = delivery;
    let mut plan = 0;
    for event in stored {
        let own = rest.iter().take_while(|it| it.position == event.position);
        let (own, later) = rest.split_at(own.count());
        rest = later;
        let names: Vec<&str> = own.iter().map(|it| it.name.as_str()).collect();
        let first = plan.max(usize::try_from(event.commit.plan).unwrap());
        let found = (first..=last).find(|plan| form_of(event, *plan, filter) == names);
        plan = found.unwrap_or_else(|| {
            panic!("{event:?} was delivered as {names:?}, plan {first} or later, with {filter:?}")
        });
        assert!(filter.types.is_some() || own.last().is_none_or(|it| it.is_last_part()));
    }
    assert_eq!(rest, [], "with {filter:?}");
}

async fn stored(host: &Host) -> Vec<RecordedEvent> {
    let (mut all, mut after) = (Vec::new(), Position(0));
    loop {
        let (forward, filter) = (Direction::Forward, Filter::default());
        let page = host
            .read_log(after, forward, 1_000, &filter)
            .form(Form::Stored);
        let page = page.await.unwrap();
        all.extend(page.events);
        match page.next {
            Some(next) => after = next,
            None => return all,
        }
    }
}

/// Follows from some place, and sometimes reconnects from its last place, until everything is
/// delivered.
async fn follow(host: Host, mut random: StdRng, mut done: watch::Receiver<bool>) {
    let id = random.random_bool(0.3).then_some("a-1");
    let filter = match FILTERS.get(random.random_range(0..10)) {
        Some(names) if id.is_none() => types(names),
        _ => Filter::default(),
    };
    let after = host.log_head().await.unwrap().0 * random.random_range(0..2);
    let begin = match id {
        Some(_) => Place::Stream(Version(random.random_range(0..5))),
        None => Place::Log(Position(after)),
    };
    let to = |place| match place {
        Place::Log(position) => Subscribe::log(position, filter.clone()),
        Place::Stream(version) => Subscribe::stream(stream("a-1"), version.next()),
    };
    let brief = Duration::from_millis(3);
    let mut subscription = subscribe(&host, to(begin).heartbeat(brief)).await;
    // Events after the last place were delivered completely, or are delivered from the start.
    let (mut delivery, mut whole) = (Vec::new(), 0);
    // The last position and version, read once, when nothing more is written.
    let mut last = None;
    loop {
        // Before the next message, so that nothing more can arrive if it is true.
        let is_done = *done.borrow_and_update();
        match next(&mut subscription).await {
            Message::Event(event) => {
                let position = event.position;
                let version = event.version;
                delivery.push(event);
                let place = subscription.place();
                if place == Place::Log(position) || place == Place::Stream(version) {
                    whole = delivery.len();
                }
            }
            _ if is_done && whole == delivery.len() => {
                if last.is_none() {
                    let all = stored(&host).await;
                    let of_stream = all.iter().filter(|it| it.stream == stream("a-1"));
                    let version = of_stream.map(|it| it.version).max();
                    last = Some((host.log_head().await.unwrap(), version));
                }
                let end = last.is_some_and(|(head, last)| match subscription.place() {
                    Place::Log(position) => position >= head,
                    Place::Stream(version) => Some(version) >= last,
                });
                if end {
                    break;
                }
            }
            _ => {}
        }
        for _ in 0..random.random_range(0..8) {
            tokio::task::yield_now().await;
        }
        if random.random_bool(0.02) {
            delivery.truncate(whole);
            let place = subscription.place();
            subscription = subscribe(&host, to(place).heartbeat(brief)).await;
        }
    }
    let concerns = |event: &RecordedEvent| match begin {
        Place::Log(position) => event.position > position,
        Place::Stream(version) => event.stream == stream("a-1") && event.version > version,
    };
    let mut all = stored(&host).await;
    all.retain(concerns);
    check(&all, &delivery, &filter, PLANS.len() - 1);
}

async fn nothing_is_missed_or_duplicated_while_upcasters_change(store: Store) {
    for seed in seed::seeds(2) {
        let (mut random, store) = (seed::random(seed), store.another());
        let options = Options {
            ring_events_max: random.random_range(0..60),
            page_events_max: random.random_range(1..10),
            page_bytes_max: random.random_range(0..4_000),
            reads_max: 2,
            ..Options::default()
        };
        let host = host(&store, options).await;
        let (done, is_done) = watch::channel(false);
        let (mut writers, mut followers) = (JoinSet::new(), JoinSet::new());
        for _ in 0..WRITERS {
            writers.spawn(write(host.clone(), StdRng::seed_from_u64(random.random())));
        }
        writers.spawn(swap(host.clone()));
        for _ in 0..SUBSCRIBERS {
            let random = StdRng::seed_from_u64(random.random());
            followers.spawn(follow(host.clone(), random, is_done.clone()));
        }
        writers.join_all().await;
        done.send_replace(true);
        followers.join_all().await;
        assert_eq!(host.subscriptions(), 0);
    }
}

/// The types of the next events.
async fn next_types(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < count {
        if let Message::Event(event) = next(subscription).await {
            names.push(event.name.to_string());
        }
    }
    names
}

/// A host that has not learned of an upcaster when the first events arrive that the upcaster has to
/// lift.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upcaster_activated_by_another_host_lifts_events_committed_under_it() {
    for _ in 0..3 {
        let store = Store::postgres();
        let (here, there) = (
            host(&store, Options::default()).await,
            host(&store, Options::default()).await,
        );
        let to = |filter| Subscribe::log(Position(0), filter);
        let mut all = subscribe(&here, to(Filter::default())).await;
        let mut new = subscribe(&here, to(types(&["new"]))).await;
        for subscription in [&mut all, &mut new] {
            crate::follow::until_caught_up(subscription).await;
        }
        for (steps, made) in &PLANS[1..] {
            examples::deploy(&there, upcaster("swapped", steps)).await;
            for name in STORED {
                let one = append(vec![event(name, "{}")]);
                there.append(&stream("a-1"), one).await.unwrap();
            }
            let mut expected = made.concat();
            assert_eq!(next_types(&mut all, expected.len()).await, expected);
            expected.retain(|name| *name == "new");
            assert_eq!(next_types(&mut new, expected.len()).await, expected);
        }
    }
}
