//! The cost of an event for ten thousand waiting subscriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use quipu::Host;
use quipu::model::{Name, Position, Version};
use quipu::store::Filter;
use quipu::subscribe::{Message, Options, Subscribe, Subscription};
use quipu_tests::build::stream;
use quipu_tests::clock::until;
use quipu_tests::{Place, examples};
use tokio::task::JoinSet;

use crate::follow::{note, subscribe};
use crate::upcaster::{Step, upcaster};
use crate::watched::Watch;

const IDLE: usize = 10_000;

/// Counts of the actions of many subscriptions.
#[derive(Default)]
struct Done {
    polls: AtomicUsize,
    caught_up: AtomicUsize,
    events: AtomicUsize,
}

/// Follows in a task of its own, and counts.
async fn follow(mut subscription: Subscription, done: Arc<Done>) {
    let polled = futures::stream::poll_fn(|context| -> Poll<Option<_>> {
        done.polls.fetch_add(1, Ordering::SeqCst);
        std::pin::Pin::new(&mut subscription).poll_next(context)
    });
    let mut polled = std::pin::pin!(polled);
    while let Some(message) = polled.next().await {
        match message.unwrap() {
            Message::Event(_) => _ = done.events.fetch_add(1, Ordering::SeqCst),
            Message::CaughtUp(_) => _ = done.caught_up.fetch_add(1, Ordering::SeqCst),
            Message::Heartbeat(_) => {}
        }
    }
}

/// Ten thousand subscriptions that have caught up.
async fn idle(to: impl Fn(usize) -> Subscribe) -> (Host, Watch, Arc<Done>, JoinSet<()>) {
    let place = Place::memory();
    let (store, watch) = Watch::before(place.open().await);
    let options = Options {
        subscriptions_max: IDLE,
        ..Options::default()
    };
    let builder = place.builder().opened_store(store).subscriptions(options);
    let host = builder.build().await.unwrap();
    let (done, mut tasks) = (Arc::new(Done::default()), JoinSet::new());
    for number in 0..IDLE {
        let to = to(number).heartbeat(Duration::from_secs(3_600));
        let subscription = subscribe(&host, to).await;
        tasks.spawn(follow(subscription, Arc::clone(&done)));
    }
    until(|| done.caught_up.load(Ordering::SeqCst) == IDLE).await;
    (host, watch, done, tasks)
}

fn is_polled_so_often(done: &Done, times: usize) -> bool {
    done.polls.load(Ordering::SeqCst) >= times
}

async fn one_event_wakes_one(to: impl Fn(String) -> Subscribe) {
    let (host, watch, done, _tasks) = idle(|number| to(format!("note-{number:04}"))).await;
    // Each has polled once more after it caught up, and waits.
    until(|| is_polled_so_often(&done, 2 * IDLE)).await;
    let (polls, reads) = (done.polls.load(Ordering::SeqCst), watch.reads());
    let begun = Instant::now();
    for count in 1..=100 {
        note(&host, &format!("note-{:04}", 77 * count), 1).await;
        until(|| done.events.load(Ordering::SeqCst) == count).await;
    }
    let each = begun.elapsed() / 100;
    eprintln!("{IDLE} subscriptions wait, one gets the event: {each:?} from append to delivery");
    let polled = done.polls.load(Ordering::SeqCst) - polls;
    assert!(polled <= 200, "{polled} polls for 100 events");
    // One read for each growth of the log, and no others.
    assert!(watch.reads() - reads <= 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_wakes_only_the_subscription_to_its_stream() {
    one_event_wakes_one(|id| Subscribe::stream(stream(&id), Version(1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_wakes_only_the_subscription_whose_filter_it_passes() {
    one_event_wakes_one(|id| {
        let filter = Filter {
            categories: Some(vec!["note".into()]),
            prefix: Some(id.into()),
            ..Filter::default()
        };
        Subscribe::log(Position(0), filter)
    })
    .await;
}

/// One of a hundred subscriptions waits for the current name of `noted`. None waits for the other
/// types that it may be lifted to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_wakes_only_subscriptions_to_types_that_it_can_be_lifted_to() {
    let wanted = |number: usize| match number % 100 {
        0 => "written".to_owned(),
        _ => format!("other-{number}"),
    };
    let (host, watch, done, _tasks) = idle(|number| {
        let filter = Filter {
            types: Some(vec![Name::new(&wanted(number)).unwrap()]),
            ..Filter::default()
        };
        Subscribe::log(Position(0), filter)
    })
    .await;
    const STEPS: &[Step] = &[Step("note", ("noted", 1), &[("written", 1), ("filed", 1)])];
    examples::deploy(&host, upcaster("notes", STEPS)).await;
    until(|| is_polled_so_often(&done, 2 * IDLE)).await;
    let (polls, reads) = (done.polls.load(Ordering::SeqCst), watch.reads());
    let begun = Instant::now();
    for count in 1..=10 {
        note(&host, "note-1", 1).await;
        until(|| done.events.load(Ordering::SeqCst) == count * IDLE / 100).await;
    }
    let each = begun.elapsed() / 10;
    eprintln!(
        "{IDLE} subscriptions wait, {} get the lifted event: {each:?} from append to the last delivery",
        IDLE / 100
    );
    // A subscription begins to lift, is notified, and waits until the next event.
    let polled = done.polls.load(Ordering::SeqCst) - polls;
    assert!(polled <= 10 * 5 * IDLE / 100, "{polled} polls");
    assert!(watch.reads() - reads <= 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_subscriptions_to_an_event_get_it() {
    let (host, watch, done, _tasks) =
        idle(|_| Subscribe::log(Position(0), Filter::default())).await;
    let reads = watch.reads();
    let begun = Instant::now();
    for count in 1..=10 {
        note(&host, "note-1", 1).await;
        until(|| done.events.load(Ordering::SeqCst) == count * IDLE).await;
    }
    let each = begun.elapsed() / 10;
    eprintln!("{IDLE} want it: {each:?} from append to the last delivery");
    assert!(watch.reads() - reads <= 20);
}
