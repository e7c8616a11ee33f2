use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quipu::Host;
use quipu::model::{Position, RecordedEvent};
use quipu::store::Filter;
use quipu::subscribe::{Named, Options};
use quipu_tests::clock::until;
use quipu_tests::{Place, on_every_store, seed};
use rand::Rng;
use tokio::sync::Semaphore;

use crate::follow::{all_positions, host, note, small};
use crate::watched::Watch;

on_every_store! {
    every_event_is_handled_once_when_nothing_fails,
    a_handler_that_fails_gets_the_same_events_a_second_time,
    of_two_runners_only_one_handles_events_until_it_ends,
    a_checkpoint_moves_over_events_that_do_not_pass_the_filter,
    a_named_subscription_skips_excluded_events,
    a_name_is_taken_over_when_its_owner_stops_renewing_the_lease,
    every_event_is_handled_at_least_once_across_restarts,
    a_runner_continues_where_the_last_host_ended,
}

type Handled = Arc<Mutex<Vec<u64>>>;

fn of(events: &[Arc<RecordedEvent>]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

fn named(host: &Host, name: &str) -> Named {
    let quickly = Duration::from_millis(1);
    host.subscription(name)
        .unwrap()
        .batch_max(4)
        .retry(quickly, quickly)
}

/// Runs a named subscription in a task, with a handler that records the events it gets.
fn run(host: &Host, name: &str, handled: &Handled) -> tokio::task::JoinHandle<()> {
    let (named, handled) = (named(host, name), Arc::clone(handled));
    tokio::spawn(async move {
        let handler = async move |events: &[Arc<RecordedEvent>]| {
            handled.lock().unwrap().extend(of(events));
            Ok::<_, String>(())
        };
        named.run(handler).await.unwrap();
    })
}

fn count(handled: &Handled) -> usize {
    handled.lock().unwrap().len()
}

async fn every_event_is_handled_once_when_nothing_fails(place: Place) {
    let host = host(&place, small()).await;
    note(&host, "note-1", 20).await;
    let handled = Handled::default();
    let running = run(&host, "mailer", &handled);
    until(|| count(&handled) == 20).await;
    note(&host, "note-1", 5).await;
    until(|| count(&handled) == 25).await;
    let all = all_positions(&host).await;
    host.shutdown().await.unwrap();
    running.await.unwrap();
    assert_eq!(*handled.lock().unwrap(), all);
}

async fn a_handler_that_fails_gets_the_same_events_a_second_time(place: Place) {
    let host = host(&place, small()).await;
    note(&host, "note-1", 10).await;
    let (calls, named) = (Arc::new(Mutex::new(Vec::new())), named(&host, "mailer"));
    let sink = Arc::clone(&calls);
    let running = tokio::spawn(named.run(async move |events: &[Arc<RecordedEvent>]| {
        let mut calls = sink.lock().unwrap();
        calls.push(of(events));
        // It fails in the middle of the second batch, twice.
        match calls.len() {
            2 | 3 => Err("no connection"),
            _ => Ok(()),
        }
    }));
    let all = all_positions(&host).await;
    let is_last = |call: &Vec<u64>| call.last() == all.last();
    until(|| calls.lock().unwrap().iter().any(is_last)).await;
    host.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
    let calls = calls.lock().unwrap();
    assert_eq!((&calls[1], &calls[2]), (&calls[2], &calls[3]));
    assert_eq!([&calls[..1], &calls[3..]].concat().concat(), all);
}

async fn of_two_runners_only_one_handles_events_until_it_ends(place: Place) {
    let host = host(&place, small()).await;
    let (first, second) = (Handled::default(), Handled::default());
    let gate = Arc::new(Semaphore::new(5));
    let (named_first, sink, waits) = (
        named(&host, "mailer").batch_max(1),
        Arc::clone(&first),
        Arc::clone(&gate),
    );
    let running = tokio::spawn(named_first.run(async move |events: &[Arc<RecordedEvent>]| {
        sink.lock().unwrap().extend(of(events));
        waits.acquire().await.unwrap().forget();
        Ok::<_, String>(())
    }));
    note(&host, "note-1", 1).await;
    until(|| count(&first) == 1).await;
    let standing_by = run(&host, "mailer", &second);
    let elsewhere = Handled::default();
    let other_name = run(&host, "another", &elsewhere);
    note(&host, "note-1", 9).await;
    until(|| count(&first) == 6 && count(&elsewhere) == 10).await;
    assert_eq!(count(&second), 0);
    // It ends in the middle of the sixth event.
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    until(|| count(&second) == 5).await;
    let all = all_positions(&host).await;
    assert_eq!(*first.lock().unwrap(), all[..6]);
    assert_eq!(*second.lock().unwrap(), all[5..]);
    host.shutdown().await.unwrap();
    standing_by.await.unwrap();
    other_name.await.unwrap();
}

/// A host whose leases and checkpoints are watched.
async fn watched(place: &Place) -> (Host, Watch) {
    let (store, watch) = Watch::before(place.open().await);
    let builder = place.builder().opened_store(store).subscriptions(small());
    (builder.build().await.unwrap(), watch)
}

async fn a_checkpoint_moves_over_events_that_do_not_pass_the_filter(place: Place) {
    let (host, watch) = watched(&place).await;
    note(&host, "note-1", 30).await;
    let filter = Filter {
        prefix: Some("other".into()),
        ..Filter::default()
    };
    let named = named(&host, "mailer")
        .filter(filter)
        .lease(Duration::from_millis(30));
    let running = tokio::spawn(named.run(async |_| Err::<(), _>("nothing passes")));
    for _ in 0..2 {
        let head = host.log_head().await.unwrap();
        until(|| watch.stored() == head).await;
        note(&host, "note-1", 3).await;
    }
    host.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
}

async fn a_named_subscription_skips_excluded_events(place: Place) {
    let host = host(&place, small()).await;
    for to in ["note-1", "other-1", "note-2"] {
        note(&host, to, 2).await;
    }
    let handled = Handled::default();
    let sink = Arc::clone(&handled);
    let filter = Filter {
        not_categories: Some(vec!["other".into()]),
        not_prefixes: Some(vec!["note-1".into()]),
        ..Filter::default()
    };
    let named = named(&host, "mailer").filter(filter);
    let running = tokio::spawn(named.run(async move |events: &[Arc<RecordedEvent>]| {
        sink.lock().unwrap().extend(of(events));
        Ok::<_, String>(())
    }));
    until(|| count(&handled) == 2).await;
    host.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(*handled.lock().unwrap(), [5, 6]);
}

async fn a_name_is_taken_over_when_its_owner_stops_renewing_the_lease(place: Place) {
    let store = place.open().await;
    let length = Duration::from_millis(50);
    let claimed = store.checkpoints.claim("subscription/mailer", length).await;
    assert!(claimed.unwrap().is_some());
    let host = place.builder().opened_store(store).build().await.unwrap();
    note(&host, "note-1", 3).await;
    let handled = Handled::default();
    let (named, sink) = (named(&host, "mailer").lease(length), Arc::clone(&handled));
    let running = tokio::spawn(named.run(async move |events: &[Arc<RecordedEvent>]| {
        sink.lock().unwrap().extend(of(events));
        Ok::<_, String>(())
    }));
    until(|| count(&handled) >= 3).await;
    host.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handler_is_cancelled_when_its_lease_is_lost() {
    let (host, watch) = watched(&Place::memory()).await;
    note(&host, "note-1", 3).await;
    let (calls, gate) = (
        Arc::new(Mutex::new(Vec::new())),
        Arc::new(Semaphore::new(0)),
    );
    let (sink, waits) = (Arc::clone(&calls), Arc::clone(&gate));
    let named = named(&host, "mailer").lease(Duration::from_millis(300));
    let running = tokio::spawn(named.run(async move |events: &[Arc<RecordedEvent>]| {
        sink.lock().unwrap().push(of(events));
        waits.acquire().await.unwrap().forget();
        Ok::<_, String>(())
    }));
    until(|| !calls.lock().unwrap().is_empty()).await;
    // On a busy machine, a lease may expire in addition to the one that is lost here.
    let before = calls.lock().unwrap().len();
    watch.lose_a_lease();
    until(|| calls.lock().unwrap().len() > before).await;
    gate.add_permits(1_000);
    until(|| watch.stored() == Position(3)).await;
    host.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
    let calls = calls.lock().unwrap();
    assert!(calls.iter().all(|call| *call == [1, 2, 3]), "{calls:?}");
}

#[tokio::test]
async fn a_shutdown_waits_for_the_handler_up_to_a_limit() {
    for (finishes, wait) in [(true, Duration::from_secs(60)), (false, Duration::ZERO)] {
        let options = Options {
            shutdown_wait: wait,
            ..small()
        };
        let host = host(&Place::memory(), options).await;
        note(&host, "note-1", 1).await;
        let (gate, began) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (waits, signal) = (Arc::clone(&gate), Arc::clone(&began));
        let running = tokio::spawn(named(&host, "mailer").run(async move |_| {
            signal.add_permits(1);
            waits.acquire().await.unwrap().forget();
            Ok::<_, String>(())
        }));
        began.acquire().await.unwrap().forget();
        let ending = tokio::spawn(host.shutdown());
        if finishes {
            gate.add_permits(1);
            running.await.unwrap().unwrap();
        }
        ending.await.unwrap().unwrap();
    }
}

async fn a_runner_continues_where_the_last_host_ended(place: Place) {
    let handled = Handled::default();
    for round in 1..=3 {
        let host = host(&place, small()).await;
        note(&host, "note-1", 10).await;
        let running = run(&host, "mailer", &handled);
        until(|| count(&handled) == 10 * round).await;
        let all = all_positions(&host).await;
        host.shutdown().await.unwrap();
        running.await.unwrap();
        assert_eq!(*handled.lock().unwrap(), all);
    }
}

/// Runs that end in the middle of a batch, with hosts that are shut down and hosts that are
/// dropped.
/// Semantics 4.5.
async fn every_event_is_handled_at_least_once_across_restarts(place: Place) {
    for seed in seed::seeds(2) {
        let (mut random, place) = (seed::random(seed), place.another());
        let mut calls: Vec<Vec<u64>> = Vec::new();
        let mut seen = BTreeSet::new();
        let all = loop {
            let host = host(&place, small()).await;
            if calls.len() < 30 {
                note(&host, "note-1", random.random_range(1..=9)).await;
            }
            let all = all_positions(&host).await;
            let (sender, mut next) = tokio::sync::mpsc::unbounded_channel();
            let named = named(&host, "mailer").lease(Duration::from_secs(60));
            let running = tokio::spawn(named.run(async move |events: &[Arc<RecordedEvent>]| {
                let (go_on, may_go_on) = tokio::sync::oneshot::channel();
                sender.send((of(events), go_on)).unwrap();
                may_go_on.await.unwrap_or(Err("dropped"))
            }));
            let mut last_ok = 0;
            for _ in 0..random.random_range(1..6) {
                if seen.len() == all.len() {
                    break;
                }
                let (events, go_on) = next.recv().await.unwrap();
                assert!(events.is_sorted());
                assert!(events[0] > last_ok, "{events:?} after {last_ok}");
                calls.push(events.clone());
                match random.random_range(0..4) {
                    0 => _ = go_on.send(Err("no connection")),
                    1 => break,
                    _ => {
                        last_ok = *events.last().unwrap();
                        seen.extend(events);
                        _ = go_on.send(Ok(()));
                    }
                }
            }
            running.abort();
            _ = running.await;
            host.shutdown().await.unwrap();
            if calls.len() >= 30 && seen.len() == all.len() {
                break all;
            }
        };
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
        // New events are delivered in order: no call skips an event that was not handled.
        let mut highest = 0;
        for call in &calls {
            let expected = all.iter().copied().find(|it| *it > highest);
            assert!(call[0] <= highest || Some(call[0]) == expected, "{call:?}");
            highest = highest.max(*call.last().unwrap());
        }
    }
}
