//! Semantics 4.3: a reader of the log never misses an event, while a reader that uses only positions
//! does.

use std::collections::BTreeSet;

use quipu::model::Position;
use quipu::store::{Direction, EventReader, Filter};
use quipu::subscribe::Subscribe;
use quipu_tests::postgres::server;
use quipu_tests::{Place, build, log};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

/// A connection with the store's schema as its search path.
async fn connect(place: &Place) -> PgConnection {
    let mut connection = server().connect().await;
    let schema = place.url().rsplit_once("schema=").unwrap().1;
    let path = AssertSqlSafe(format!("SET search_path TO {schema}"));
    sqlx::raw_sql(path).execute(&mut connection).await.unwrap();
    connection
}

/// Reads the events after the last position that it has seen.
struct Naive {
    connection: PgConnection,
    seen: BTreeSet<i64>,
}

impl Naive {
    async fn read(&mut self) {
        let last = self.seen.last().copied().unwrap_or(0);
        let rows = sqlx::query("SELECT position FROM events WHERE position > $1 ORDER BY position")
            .bind(last)
            .fetch_all(&mut self.connection)
            .await
            .unwrap();
        self.seen
            .extend(rows.iter().map(|row| row.get::<i64, _>(0)));
    }
}

/// The events that the store's reader finds after a position, in order.
async fn read(reader: &dyn EventReader, seen: &mut Vec<Position>) {
    let after = seen.last().copied().unwrap_or_default();
    let page = reader
        .read_log(after, Direction::Forward, 1_000, &Filter::default())
        .await
        .unwrap();
    seen.extend(page.events.iter().map(|event| event.position));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_commits_late_is_missed_by_a_naive_reader_and_not_by_ours() {
    let place = Place::postgres();
    let (slow, fast) = (place.host().await, place.host().await);
    let store = place.open().await;
    let mut naive = Naive {
        connection: connect(&place).await,
        seen: BTreeSet::new(),
    };
    let mut seen = Vec::new();
    let stream = build::stream("slow-1");
    slow.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();

    // Another session is about to take the stream's next version without following the rules, so
    // the append below has drawn its position and waits in the middle of its commit.
    let mut blocker = connect(&place).await;
    sqlx::raw_sql(
        "BEGIN; INSERT INTO events (position, stream_id, version, type_id, event_id, \
         recorded_at, commit_offset, data) \
         SELECT -1, stream_id, 2, type_id, gen_random_uuid(), 0, 0, 'x' FROM events",
    )
    .execute(&mut blocker)
    .await
    .unwrap();
    let drawn = store.reader.log_head().await.unwrap();
    let late = tokio::spawn({
        let (slow, stream) = (slow.clone(), stream.clone());
        async move { slow.append(&stream, build::append(build::events(1))).await }
    });
    let last = "SELECT last_position()";
    while sqlx::query(last)
        .fetch_one(&mut naive.connection)
        .await
        .unwrap()
        .get::<i64, _>(0)
        == i64::try_from(drawn.0).unwrap()
    {
        tokio::task::yield_now().await;
    }
    let mut own = Position(0);
    for n in 0..5 {
        let other = build::stream(&format!("fast-{n}"));
        let appended = fast.append(&other, build::append(build::events(2))).await;
        own = appended.unwrap().position.unwrap();
        naive.read().await;
        read(&*store.reader, &mut seen).await;
    }
    // Our reader stops before the late event.
    assert_eq!((seen.len(), naive.seen.len()), (1, 11));
    // A client may continue after its own event, which no reader is shown yet.
    let everything = Filter::default();
    let page = fast.read_log(own, Direction::Forward, 9, &everything).await;
    let page = page.unwrap();
    assert!(page.events.is_empty() && page.head < own, "{}", page.head);
    let subscribe = Subscribe::log(own, Filter::default()).seen();
    fast.subscribe(subscribe).await.unwrap();
    let ahead = Position(own.0 + 100);
    let refused = fast.read_log(ahead, Direction::Forward, 9, &everything);
    assert_eq!(refused.await.unwrap_err().code(), "bad-request");

    sqlx::raw_sql("ROLLBACK")
        .execute(&mut blocker)
        .await
        .unwrap();
    let late = late.await.unwrap().unwrap();
    naive.read().await;
    while seen.len() < 12 {
        read(&*store.reader, &mut seen).await;
    }
    let log: Vec<Position> = log::whole(&fast)
        .await
        .iter()
        .map(|it| it.position)
        .collect();
    assert_eq!(seen, log);
    let missed = i64::try_from(late.position.unwrap().0).unwrap();
    assert!(!naive.seen.contains(&missed), "the naive reader was lucky");
    blocker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_of_a_failed_commit_are_a_gap_that_blocks_no_reader() {
    let place = Place::postgres();
    let host = place.host().await;
    let stream = build::stream("note-1");
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    let mut other = connect(&place).await;
    for sql in ["SELECT nextval('positions')", "SELECT nextval('positions')"] {
        sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
    }
    assert_eq!(host.log_head().await.unwrap(), Position(3));
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    let positions: Vec<u64> = log::whole(&host)
        .await
        .iter()
        .map(|it| it.position.0)
        .collect();
    assert_eq!(positions, [1, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fence_of_a_killed_backend_is_released() {
    let place = Place::postgres();
    let (host, store) = (place.host().await, place.open().await);
    let stream = build::stream("note-1");
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    let mut dying = connect(&place).await;
    sqlx::raw_sql(
        "BEGIN; SELECT pg_advisory_xact_lock_shared(fence(\
         (SELECT oid::bigint % 524288 FROM pg_namespace WHERE nspname = current_schema()), \
         last_position())); SELECT nextval('positions')",
    )
    .execute(&mut dying)
    .await
    .unwrap();
    let process: i32 = sqlx::query("SELECT pg_backend_pid()")
        .fetch_one(&mut dying)
        .await
        .unwrap()
        .get(0);
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    assert_eq!(store.reader.log_head().await.unwrap(), Position(1));
    let mut operator = server().connect().await;
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(process)
        .execute(&mut operator)
        .await
        .unwrap();
    while store.reader.log_head().await.unwrap() != Position(3) {
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    read(&*store.reader, &mut seen).await;
    assert_eq!(seen, [Position(1), Position(3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_commits_late_is_counted() {
    let place = Place::postgres();
    let (host, store) = (place.host().await, place.open().await);
    let stream = build::stream("note-1");
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    // Another session has drawn a position, and commits late.
    let mut late = connect(&place).await;
    sqlx::raw_sql(
        "BEGIN; SELECT pg_advisory_xact_lock_shared(fence(\
         (SELECT oid::bigint % 524288 FROM pg_namespace WHERE nspname = current_schema()), \
         last_position())); \
         INSERT INTO streams (name, version) VALUES ('note-2', 1); \
         INSERT INTO events (position, stream_id, version, type_id, event_id, \
         recorded_at, commit_offset, data, commit_size, plan) \
         SELECT nextval('positions'), s.stream_id, 1, e.type_id, gen_random_uuid(), \
         e.recorded_at, 0, e.data, 1, 0 FROM events AS e, streams AS s WHERE s.name = 'note-2'",
    )
    .execute(&mut late)
    .await
    .unwrap();
    host.append(&stream, build::append(build::events(3)))
        .await
        .unwrap();
    let events = async || store.types.types().await.unwrap()[0].events;
    assert_eq!((events().await, events().await), (1, 1));
    sqlx::raw_sql("COMMIT").execute(&mut late).await.unwrap();
    assert_eq!((events().await, events().await), (5, 5));
}
