//! Many clients, a failing store, appends by other writers, evictions and swaps at the same time;
//! then every answer is compared with a sequential model of the log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures::future::{Either, join_all, select};
use quipu::Host;
use quipu::engine::{Error, Executed, Options};
use quipu::model::{Command, CommandId, ExpectedVersion, RecordedEvent, StreamId, Version};
use quipu::store;
use quipu_tests::account::{Account, Decision};
use quipu_tests::faults::{Faults, Injection, Script};
use quipu_tests::{Place, build, clock, examples, log, place, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const STREAMS: u64 = 4;
const CLIENTS: u64 = 12;
const COMMANDS_PER_CLIENT: u64 = 60;
const IDS: u64 = 150;

/// One request and its answer.
struct Request {
    stream: StreamId,
    command: Command,
    /// The stream's version that was known before the request was sent.
    known: u64,
    answer: Result<Executed, Error>,
    /// The stream's version when the answer arrived.
    seen: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_on_memory_equal_a_sequential_model() {
    for seed in seed::seeds(12) {
        run(seed, &Place::memory()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_on_sqlite_equal_a_sequential_model() {
    for seed in seed::seeds(6) {
        run(seed, &Place::sqlite()).await;
    }
}

async fn run(seed: u64, place: &Place) {
    let mut random = seed::random(seed);
    let (store, faults) = Faults::before(place.open().await, Box::new(|_| Injection::Pass));
    let host = host(store, &mut random).await;
    let digest = examples::deploy(&host, examples::account()).await;
    faults.script(script(random.random()));

    let requests = Arc::new(Mutex::new(Vec::new()));
    let clients = (0..CLIENTS).map(|_| {
        let (host, requests, seed) = (host.clone(), Arc::clone(&requests), random.random());
        tokio::spawn(client(host, digest, seed, requests))
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
    faults.script(Box::new(|_| Injection::Pass));

    // Commands whose callers have disconnected may still be running.
    clock::until(|| host.in_flight() == 0).await;
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    let streams = log::check(&log::whole(&host).await);
    for request in &requests {
        let events = streams.get(&request.stream).map_or(&[][..], Vec::as_slice);
        check(
            request,
            &commit_under_id(&all_commits(&streams), request),
            events,
        );
    }
    check_log(&streams, &requests);
    for (stream, events) in &streams {
        check_state(&host, stream, events).await;
    }
    host.shutdown().await.unwrap();
}

async fn host(store: store::Store, random: &mut StdRng) -> Host {
    let engine = Options {
        workers: random.random_range(1..=3),
        warm_aggregates_max: random.random_range(1..=5),
        load_page: random.random_range(1..=20),
        ..Options::default()
    };
    let commit = quipu::commit::Options {
        batch_max: *[1, 3, 1_024].get(random.random_range(0..3)).unwrap(),
        full_batch: random.random_range(1..=16),
        ..quipu::commit::Options::default()
    };
    Host::builder()
        .opened_store(store)
        .engine(engine)
        .commit(commit)
        .cache_dir(place::compiled())
        .build()
        .await
        .unwrap()
}

/// Some batches fail as if the store were unavailable, some as if one item were the cause, and some
/// are preceded by a deposit of another writer.
fn script(seed: u64) -> Script {
    let mut random = StdRng::seed_from_u64(seed);
    Box::new(move |_| match random.random_range(0..100) {
        0..10 => Injection::Fail(store::Error::Unavailable("injected".to_owned())),
        10..18 => Injection::Fail(store::Error::Unexpected("injected".to_owned())),
        18..38 => {
            let to = format!("account-{}", random.random_range(0..STREAMS));
            let amount = random.random_range(1..50);
            let event = build::event("deposited", &format!("{{\"amount\":{amount}}}"));
            let mut commit = build::commit(None, vec![event]);
            commit.plan = 1_000_000;
            let write = build::write(&to, ExpectedVersion::StreamExists, commit);
            Injection::Precede(vec![build::item(None, vec![write])])
        }
        _ => Injection::Pass,
    })
}

async fn client(
    host: Host,
    digest: quipu::model::Digest,
    seed: u64,
    requests: Arc<Mutex<Vec<Request>>>,
) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..COMMANDS_PER_CLIENT {
        let stream = build::stream(&format!("account-{}", random.random_range(0..STREAMS)));
        let known = version(&host, &stream).await;
        let command = some_command(&mut random, known);
        if random.random_ratio(1, 100) {
            // Activates the same module a second time: every warm state is discarded.
            _ = host.activate(digest, None).await;
        }
        let executing = Box::pin(host.execute(&stream, command.clone()));
        let answer = if random.random_ratio(1, 25) {
            match select(executing, Box::pin(tokio::task::yield_now())).await {
                Either::Left((answer, _)) => answer,
                // The caller disconnects before the answer arrives; the command is not cancelled.
                Either::Right(_) => continue,
            }
        } else {
            executing.await
        };
        let seen = version(&host, &stream).await;
        requests.lock().unwrap().push(Request {
            stream,
            command,
            known,
            answer,
            seen,
        });
    }
}

async fn version(host: &Host, stream: &StreamId) -> u64 {
    use quipu::store::Direction::Backward;
    match host
        .read_stream(stream, Version(u64::MAX), Backward, 1)
        .await
    {
        Ok(page) => page.version.0,
        Err(Error::StreamNotFound(_)) => 0,
        Err(error) => panic!("{error}"),
    }
}

fn some_command(random: &mut StdRng, known: u64) -> Command {
    let amount = random.random_range(0..100);
    let command = match random.random_range(0..100) {
        0..15 => build::open_account(),
        15..60 => build::deposit(amount),
        60..99 => build::withdraw(amount),
        _ => build::command("close", "{}"),
    };
    let command = match random.random_range(0..10) {
        0..5 => command,
        // There are few ids, so that they collide: mostly with the same body, sometimes with
        // another.
        5..9 => {
            let id = random.random_range(0..IDS);
            build::command_as(
                &format!("deposit-{id}"),
                "deposit",
                &format!("{{\"amount\":{}}}", id + 1),
            )
        }
        _ => command
            .with_id(&format!("deposit-{}", random.random_range(0..IDS)))
            .unwrap(),
    };
    command.expecting(match random.random_range(0..10) {
        0 => ExpectedVersion::NoStream,
        1 => ExpectedVersion::StreamExists,
        2 | 3 => build::exact(known.saturating_sub(random.random_range(0..2))),
        _ => ExpectedVersion::Any,
    })
}

/// The commits of a log by stream and caller's id.
type Commits = HashMap<(StreamId, CommandId), Vec<RecordedEvent>>;

fn all_commits(streams: &BTreeMap<StreamId, Vec<RecordedEvent>>) -> Commits {
    let mut commits = Commits::new();
    for (stream, events) in streams {
        for event in events {
            if let Some(id) = &event.commit.command_id {
                let key = (stream.clone(), id.clone());
                commits.entry(key).or_default().push(event.clone());
            }
        }
    }
    commits
}

/// The commit that was recorded under a request's id.
fn commit_under_id(commits: &Commits, request: &Request) -> Vec<RecordedEvent> {
    let id = request.command.id.clone();
    id.and_then(|id| commits.get(&(request.stream.clone(), id)).cloned())
        .unwrap_or_default()
}

/// Compares one answer with the log: `recorded` are the events stored under its id, `events` are
/// those of its stream.
fn check(request: &Request, recorded: &[RecordedEvent], events: &[RecordedEvent]) {
    let Request {
        command,
        answer,
        known,
        seen,
        ..
    } = request;
    let context = || format!("{}: {command:?} -> {answer:?}", request.stream);
    let states = Account::history(events);
    // A negative answer depends on a version between these two, before the id was recorded.
    let before = recorded
        .first()
        .map_or(u64::MAX, |event| event.version.0 - 1);
    let window = *known..=(*seen).min(before);
    match answer {
        Ok(executed) => check_executed(executed, command, recorded, events, &context()),
        Err(Error::Rejected { rejection, .. }) => {
            let holds = |version: u64| {
                let state = &states[usize::try_from(version).unwrap()];
                let is_expected = command.expected_version.admits(Version(version));
                is_expected && state.decide(command) == Err(rejection.code.as_str())
            };
            let mut versions = window.clone();
            assert!(
                versions.any(holds),
                "no state allows this answer: {}",
                context()
            );
        }
        Err(Error::WrongExpectedVersion { found, .. }) => {
            assert!(window.contains(&found.0), "{window:?}: {}", context());
            assert!(!command.expected_version.admits(*found), "{}", context());
        }
        Err(Error::IdempotencyKeyReused { .. }) => {
            let differs = recorded.first().is_some_and(|event| !is_by(event, command));
            assert!(differs, "{}", context());
        }
        Err(Error::Store(store::Error::Unavailable(_) | store::Error::Unexpected(_))) => {}
        Err(_) => panic!("unexpected: {}", context()),
    }
}

fn check_executed(
    executed: &Executed,
    command: &Command,
    recorded: &[RecordedEvent],
    events: &[RecordedEvent],
    context: &str,
) {
    let first = executed
        .events
        .first()
        .expect("every accepted command has an event");
    let stored = &events[usize::try_from(first.version.0 - 1).unwrap()..];
    for (answered, stored) in executed.events.iter().zip(stored) {
        assert_eq!(
            (answered.id, answered.version, answered.position),
            (stored.id, stored.version, stored.position),
            "{context}"
        );
        assert_eq!(
            (&answered.name, &answered.body),
            (&stored.name, &stored.body)
        );
    }
    assert!(is_by(&stored[0], command), "{context}");
    assert_eq!(
        Some(executed.version),
        executed.events.last().map(|e| e.version)
    );
    assert_eq!(
        executed.position,
        executed.events.last().map(|e| e.position)
    );
    if command.id.is_some() {
        assert_eq!(recorded.len(), executed.events.len(), "{context}");
        assert_eq!(recorded[0].id, first.id, "{context}");
    }
    if !executed.replayed {
        let found = Version(first.version.0 - 1);
        assert!(command.expected_version.admits(found), "{context}");
    }
}

/// Whether an event is the expected result of a command.
fn is_by(event: &RecordedEvent, command: &Command) -> bool {
    let name = match command.name.as_str() {
        "open" => "opened",
        "deposit" => "deposited",
        "withdraw" => "withdrawn",
        _ => "closed",
    };
    event.name.as_str() == name && event.body == command.body
}

/// Checks that every decision in the log follows from the state before it and was answered as new
/// at most once, and that nothing is stored that the store has refused.
fn check_log(streams: &BTreeMap<StreamId, Vec<RecordedEvent>>, requests: &[Request]) {
    for events in streams.values() {
        let states = Account::history(events);
        for (event, state) in events.iter().zip(&states) {
            if event.commit.module.is_some() {
                let decided: Decision = state.decide(&command_of(event));
                let name = decided.map(|(name, _)| name);
                assert_eq!(name, Ok(event.name.as_str()), "{event:?} on {state:?}");
            }
        }
    }
    let mut new = HashSet::new();
    for executed in requests
        .iter()
        .filter_map(|request| request.answer.as_ref().ok())
    {
        if !executed.replayed {
            assert!(
                new.insert(executed.events[0].id),
                "answered as new a second time: {executed:?}"
            );
        }
    }
}

/// The command that led to an event.
fn command_of(event: &RecordedEvent) -> Command {
    let name = match event.name.as_str() {
        "opened" => "open",
        "deposited" => "deposit",
        "withdrawn" => "withdraw",
        _ => "close",
    };
    Command::new(name, event.body.bytes().clone()).unwrap()
}

/// Checks that the shown state and the state for decisions are the folded state.
async fn check_state(host: &Host, stream: &StreamId, events: &[RecordedEvent]) {
    let account = Account::history(events).pop().unwrap();
    let shown = host.state(stream).await.unwrap();
    let state: serde_json::Value = serde_json::from_str(&shown.state).unwrap();
    assert_eq!(
        (shown.version.0, state),
        (events.len() as u64, account.view())
    );

    let too_much = build::withdraw(account.balance + 1);
    let answer = host.execute(stream, too_much.clone()).await;
    let Err(Error::Rejected { rejection, .. }) = answer else {
        panic!("{stream} at {account:?}: {answer:?}");
    };
    assert_eq!(Err(rejection.code.as_str()), account.decide(&too_much));
    if account.balance > 0 && account.decide(&build::deposit(1)).is_ok() {
        host.execute(stream, build::withdraw(account.balance))
            .await
            .unwrap();
    }
}
