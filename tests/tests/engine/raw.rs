//! Semantics 2.9: a decider folds the raw events of its category before they are stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use quipu::Host;
use quipu::engine::{Append, AppendAll, Error, Executed, Options};
use quipu::model::{CommandId, ExpectedVersion, NewEvent, Position, StreamId, Version};
use quipu::store::{
    Direction, EventReader, Filter, Head, LoadPage, LogPage, Result, StoredPage, StreamFilter,
    StreamPage, StreamsPage,
};
use quipu_tests::coin::coin;
use quipu_tests::{Place, build, examples, log, on_every_store};

on_every_store!(
    an_event_that_the_decider_cannot_fold_is_refused,
    an_event_is_folded_on_the_state_after_the_events_before_it,
    a_snapshot_is_used_for_the_fold,
    of_a_long_stream_only_new_events_are_folded,
    a_replay_returns_the_first_outcome_though_its_events_cannot_be_folded_now,
    an_append_to_several_streams_is_refused_if_one_part_cannot_be_folded,
    archived_streams_and_conflicts_are_reported_before_fold_errors,
    concurrent_commands_cannot_make_a_raw_event_unfoldable,
    an_append_is_refolded_when_others_append_first,
    an_append_that_always_loses_the_race_is_a_conflict,
    a_stored_event_that_cannot_be_folded_is_not_the_callers_error,
);

async fn purses(place: &Place) -> Host {
    let host = place.host().await;
    examples::deploy(&host, coin()).await;
    host
}

fn purse() -> StreamId {
    build::stream("coin-1")
}

fn deposited(wei: i64) -> NewEvent {
    build::event("deposited", &format!("{{\"wei\":{wei}}}"))
}

fn spent(wei: i64) -> NewEvent {
    build::event("spent", &format!("{{\"wei\":{wei}}}"))
}

async fn raw(host: &Host, events: Vec<NewEvent>) -> std::result::Result<Executed, Error> {
    host.append(&purse(), build::foreign(events)).await
}

async fn wei(host: &Host) -> u64 {
    let state = host.state(&purse()).await.unwrap().state;
    let state: HashMap<String, u64> = serde_json::from_str(&state).unwrap();
    state["wei"]
}

#[track_caller]
fn check_code<T>(answer: std::result::Result<T, Error>, code: &str) -> String {
    match answer {
        Ok(_) => panic!("the append succeeded; expected {code}"),
        Err(error) => {
            assert_eq!(error.code(), code, "{error}");
            error.to_string()
        }
    }
}

async fn an_event_that_the_decider_cannot_fold_is_refused(place: Place) {
    let host = purses(&place).await;
    let said = check_code(raw(&host, vec![deposited(-3)]).await, "bad-request");
    for part in ["coin-1", "event 0", "deposited", "number out of range"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(log::of(&host, &purse()).await.is_empty());
    let events = vec![deposited(5), build::event("deposited", "{}")];
    let said = check_code(raw(&host, events).await, "bad-request");
    for part in ["coin-1", "event 1", "deposited", "wei"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(log::of(&host, &purse()).await.is_empty());
    // The previous command leaves a warm state, which does not contain the refused events.
    let deposit = || build::command("deposit", r#"{"wei":1}"#);
    host.execute(&purse(), deposit()).await.unwrap();
    check_code(raw(&host, vec![deposited(-3)]).await, "bad-request");
    host.execute(&purse(), deposit()).await.unwrap();
    assert_eq!(
        (log::of(&host, &purse()).await.len(), wei(&host).await),
        (2, 2)
    );
    // This category has no decider.
    let free = build::stream("note-1");
    host.append(&free, build::append(vec![deposited(-3)]))
        .await
        .unwrap();
}

async fn an_event_is_folded_on_the_state_after_the_events_before_it(place: Place) {
    let host = purses(&place).await;
    let said = check_code(raw(&host, vec![spent(5)]).await, "guest-fault");
    assert!(said.contains("coin-1: event 0 (spent)"), "{said}");
    assert!(log::of(&host, &purse()).await.is_empty());
    let appended = raw(&host, vec![deposited(5), spent(5)]).await.unwrap();
    assert_eq!(appended.version, Version(2));
    let events = vec![deposited(5), spent(3), spent(3)];
    let said = check_code(raw(&host, events).await, "guest-fault");
    assert!(said.contains("event 2 (spent)"), "{said}");
    assert_eq!(log::of(&host, &purse()).await.len(), 2);
    raw(&host, vec![deposited(5)]).await.unwrap();
    raw(&host, vec![spent(3)]).await.unwrap();
    check_code(raw(&host, vec![spent(3)]).await, "guest-fault");
    assert_eq!(
        (log::of(&host, &purse()).await.len(), wei(&host).await),
        (4, 2)
    );
}

async fn a_snapshot_is_used_for_the_fold(place: Place) {
    let host = purses(&place).await;
    raw(&host, vec![deposited(5)]).await.unwrap();
    host.snapshot(&purse()).await.unwrap();
    let before = host.snapshot_counts().used;
    raw(&host, vec![spent(5)]).await.unwrap();
    assert_eq!(host.snapshot_counts().used, before + 1);
    check_code(raw(&host, vec![spent(1)]).await, "guest-fault");
}

async fn a_replay_returns_the_first_outcome_though_its_events_cannot_be_folded_now(place: Place) {
    let host = purses(&place).await;
    raw(&host, vec![deposited(5), deposited(4)]).await.unwrap();
    let by_command = |id: &str, wei| Append {
        id: Some(CommandId::new(id).unwrap()),
        ..build::foreign(vec![spent(wei)])
    };
    let given = NewEvent {
        id_is_callers: true,
        ..spent(4)
    };
    let by_event = || build::foreign(vec![given.clone()]);
    let first = host.append(&purse(), by_command("once", 5)).await.unwrap();
    let second = host.append(&purse(), by_event()).await.unwrap();
    assert_eq!(wei(&host).await, 0);
    check_code(raw(&host, vec![spent(4)]).await, "guest-fault");
    for (append, expected) in [(by_command("once", 5), first), (by_event(), second)] {
        let again = host.append(&purse(), append).await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.version, expected.version);
        assert_eq!(again.position, expected.position);
        let ids = |executed: &Executed| executed.events.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&expected));
    }
    let reused = host.append(&purse(), by_command("once", 6)).await;
    check_code(reused, "idempotency-key-reused");
    check_code(
        host.append(&purse(), by_command("new", 6)).await,
        "guest-fault",
    );
    let partly = build::foreign(vec![given.clone(), spent(1)]);
    check_code(host.append(&purse(), partly).await, "partial-duplicate");
}

async fn an_append_to_several_streams_is_refused_if_one_part_cannot_be_folded(place: Place) {
    let host = purses(&place).await;
    let all = |second: NewEvent| AppendAll {
        into_owned_category: true,
        ..build::append_all(vec![
            ("coin-1", ExpectedVersion::Any, vec![deposited(5)]),
            ("note-1", ExpectedVersion::Any, build::events(1)),
            ("coin-2", ExpectedVersion::Any, vec![deposited(1), second]),
            ("note-2", ExpectedVersion::NoStream, Vec::new()),
        ])
    };
    let said = check_code(host.append_all(all(deposited(-3))).await, "bad-request");
    assert!(said.contains("coin-2: event 1"), "{said}");
    check_code(host.append_all(all(spent(2))).await, "guest-fault");
    assert!(log::whole(&host).await.is_empty());
    let appended = host.append_all(all(spent(1))).await.unwrap();
    let versions: Vec<_> = appended.iter().map(|one| one.version.0).collect();
    assert_eq!(versions, [1, 1, 2, 0]);
    // The last part fails before the result of the fold is checked.
    let mut wrong = all(spent(2));
    wrong.streams[3].expected_version = build::exact(7);
    let answer = host.append_all(wrong).await;
    assert!(
        matches!(&answer, Err(Error::WrongExpectedVersion { stream, .. }) if *stream == build::stream("note-2")),
        "{answer:?}"
    );
    assert_eq!(log::whole(&host).await.len(), 4);
}

/// Semantics 2.7.
async fn archived_streams_and_conflicts_are_reported_before_fold_errors(place: Place) {
    let host = purses(&place).await;
    raw(&host, vec![deposited(5)]).await.unwrap();
    for wrong in [ExpectedVersion::NoStream, build::exact(2)] {
        for event in [spent(6), spent(1)] {
            let append = Append {
                expected_version: wrong,
                ..build::foreign(vec![event])
            };
            match host.append(&purse(), append).await {
                Err(Error::WrongExpectedVersion {
                    expected, found, ..
                }) => {
                    assert_eq!((expected, found), (wrong, Version(1)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for right in [ExpectedVersion::StreamExists, build::exact(2)] {
        let append = Append {
            expected_version: right,
            ..build::foreign(vec![spent(1)])
        };
        host.append(&purse(), append).await.unwrap();
    }
    host.archive(&purse(), quipu::model::Context::default())
        .await
        .unwrap();
    for event in [spent(6), spent(1)] {
        check_code(raw(&host, vec![event]).await, "stream-archived");
    }
    assert_eq!(log::of(&host, &purse()).await.len(), 3);
}

/// Raw events and commands that spend more than there is, all at the same time.
async fn concurrent_commands_cannot_make_a_raw_event_unfoldable(place: Place) {
    let host = Arc::new(purses(&place).await);
    raw(&host, vec![deposited(10)]).await.unwrap();
    let raws = (0..30).map(|n| {
        let host = Arc::clone(&host);
        async move {
            let events = match n % 3 {
                0 => vec![spent(3)],
                1 => vec![deposited(1), spent(3)],
                _ => vec![deposited(2)],
            };
            raw(&host, events)
                .await
                .map(|it| (it.version, it.events.len()))
        }
    });
    let commands = (0..60).map(|n| {
        let host = Arc::clone(&host);
        async move {
            let name = if n % 3 == 0 { "deposit" } else { "spend" };
            let command = build::command(name, r#"{"wei":1}"#);
            let executed = host.execute(&purse(), command).await;
            executed.map(|it| (it.version, it.events.len()))
        }
    });
    let raws: Vec<_> = raws.map(tokio::spawn).collect();
    let commands: Vec<_> = commands.map(tokio::spawn).collect();
    let mut last = Vec::new();
    for answer in join_all(raws.into_iter().chain(commands)).await {
        match answer.unwrap() {
            Ok((version, events)) => last.extend((0..events as u64).map(|n| version.0 - n)),
            Err(error) => assert!(
                matches!(error.code(), "guest-fault" | "rejected" | "conflict"),
                "{error}"
            ),
        }
    }
    last.sort_unstable();
    let events = log::of(&host, &purse()).await;
    assert_eq!(last, (2..=events.len() as u64).collect::<Vec<_>>());
    let mut balance = 0_i64;
    for event in &events {
        let body: HashMap<String, i64> = serde_json::from_slice(event.body.bytes()).unwrap();
        balance += if event.name.as_str() == "spent" {
            -body["wei"]
        } else {
            body["wei"]
        };
        assert!(balance >= 0, "{event:?}");
    }
    assert_eq!(i64::try_from(wei(&host).await).unwrap(), balance);
}

/// Lets another writer append first whenever the stream was loaded for a raw append.
struct Rival {
    inner: Arc<dyn EventReader>,
    host: std::sync::OnceLock<std::sync::Weak<Host>>,
    times: AtomicUsize,
    /// Events that were loaded.
    loaded: AtomicUsize,
}

impl Rival {
    async fn host(place: &Place, deadline: Duration) -> (Arc<Host>, Arc<Self>) {
        let mut store = place.open().await;
        let rival = Arc::new(Self {
            inner: Arc::clone(&store.reader),
            host: std::sync::OnceLock::new(),
            times: AtomicUsize::new(0),
            loaded: AtomicUsize::new(0),
        });
        store.reader = rival.clone();
        let options = Options {
            deadline,
            ..Options::default()
        };
        let host = Host::builder().opened_store(store).engine(options);
        let host = Arc::new(host.build().await.unwrap());
        examples::deploy(&host, coin()).await;
        // The stream's state is warm from now on, so that the rival reads nothing.
        host.execute(&purse(), build::command("deposit", r#"{"wei":4}"#))
            .await
            .unwrap();
        rival.host.set(Arc::downgrade(&host)).unwrap();
        (host, rival)
    }

    async fn spend(&self) {
        let one = |times: usize| times.checked_sub(1);
        let is_due = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one);
        let host = self.host.get().and_then(std::sync::Weak::upgrade);
        if let (Ok(_), Some(host)) = (is_due, host) {
            let spend = build::command("spend", r#"{"wei":1}"#);
            host.execute(&purse(), spend).await.unwrap();
        }
    }
}

#[async_trait]
impl EventReader for Rival {
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>> {
        self.inner.head(stream).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<StreamPage>> {
        self.inner.read_stream(stream, from, direction, limit).await
    }

    async fn read_log(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage> {
        self.inner.read_log(after, direction, limit, filter).await
    }

    async fn load(&self, stream: &StreamId, after: Version, limit: usize) -> Result<LoadPage> {
        let page = self.inner.load(stream, after, limit).await?;
        self.loaded.fetch_add(page.events.len(), Ordering::SeqCst);
        self.spend().await;
        Ok(page)
    }

    async fn log_head(&self) -> Result<Position> {
        self.inner.log_head().await
    }

    async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage> {
        self.inner.streams(after, limit, filter).await
    }

    async fn read_stored(&self, after: Position, limit: usize) -> Result<StoredPage> {
        self.inner.read_stored(after, limit).await
    }
}

async fn an_append_is_refolded_when_others_append_first(place: Place) {
    let (host, rival) = Rival::host(&place, Duration::from_secs(30)).await;
    rival.times.store(3, Ordering::SeqCst);
    // It succeeds on the state after three spenders, and fails after a fourth.
    let appended = raw(&host, vec![spent(1)]).await.unwrap();
    assert_eq!((appended.version, wei(&host).await), (Version(5), 0));
    let deposit = build::command("deposit", r#"{"wei":3}"#);
    host.execute(&purse(), deposit).await.unwrap();
    rival.times.store(3, Ordering::SeqCst);
    check_code(raw(&host, vec![spent(1)]).await, "guest-fault");
    assert_eq!(
        (log::of(&host, &purse()).await.len(), wei(&host).await),
        (9, 0)
    );
    // The caller's expected version is still checked.
    let deposit = build::command("deposit", r#"{"wei":3}"#);
    host.execute(&purse(), deposit).await.unwrap();
    rival.times.store(1, Ordering::SeqCst);
    let append = Append {
        expected_version: build::exact(10),
        ..build::foreign(vec![spent(1)])
    };
    match host.append(&purse(), append).await {
        Err(Error::WrongExpectedVersion {
            expected, found, ..
        }) => {
            assert_eq!((expected, found), (build::exact(10), Version(11)));
        }
        other => panic!("{other:?}"),
    }
}

async fn of_a_long_stream_only_new_events_are_folded(place: Place) {
    let (host, reader) = Rival::host(&place, Duration::from_secs(30)).await;
    let many = || (0..1_000).map(|_| deposited(1)).collect();
    for _ in 0..3 {
        raw(&host, many()).await.unwrap();
    }
    for _ in 0..3 {
        raw(&host, vec![deposited(1)]).await.unwrap();
        let before = reader.loaded.load(Ordering::SeqCst);
        raw(&host, vec![spent(1)]).await.unwrap();
        let loaded = reader.loaded.load(Ordering::SeqCst) - before;
        assert!(loaded < 20, "{loaded} events");
    }
    // Everything is in the state: this much can be spent, and no more.
    assert_eq!(wei(&host).await, 3_004);
    check_code(raw(&host, vec![spent(3_005)]).await, "guest-fault");
    raw(&host, vec![spent(3_004)]).await.unwrap();
}

async fn an_append_that_always_loses_the_race_is_a_conflict(place: Place) {
    let (host, rival) = Rival::host(&place, Duration::ZERO).await;
    rival.times.store(1, Ordering::SeqCst);
    let said = check_code(raw(&host, vec![spent(1)]).await, "conflict");
    assert!(said.contains("coin-1"), "{said}");
    assert_eq!(log::of(&host, &purse()).await.len(), 2);
}

async fn a_stored_event_that_cannot_be_folded_is_not_the_callers_error(place: Place) {
    let host = place.host().await;
    let append = build::append(vec![deposited(-3)]);
    host.append(&purse(), append).await.unwrap();
    examples::deploy(&host, coin()).await;
    check_code(raw(&host, vec![deposited(1)]).await, "unreadable-event");
    let other = build::stream("coin-2");
    host.append(&other, build::foreign(vec![deposited(1)]))
        .await
        .unwrap();
}
