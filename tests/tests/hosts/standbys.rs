//! What a store acknowledges and reads while a standby is missing, is not promoted yet, or takes the
//! place of a server that does not even close its connections.

use std::time::Duration;

use quipu::model::ExpectedVersion::Any;
use quipu::model::Position;
use quipu::store::{self, Error, Item, Outcome, Store};
use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::{PATIENCE, build};
use sqlx::{Connection, Executor};
use tokio::time::timeout;

use super::address::Address;

/// A store whose callers wait for two seconds at most.
async fn open(url: &str) -> Store {
    let url = format!("{url}&writer_wait_max_ms=2000&reader_wait_max_ms=2000");
    store::open(&url.parse().unwrap()).await.unwrap()
}

fn item(id: &str) -> Item {
    let commit = build::commit(Some(id), build::events(1));
    build::item(None, vec![build::write("note-1", Any, commit)])
}

async fn commit(store: &mut Store, id: &str) -> Result<Outcome, Error> {
    let (items, writer) = ([item(id)], &mut store.writer);
    let outcomes = timeout(PATIENCE, writer.commit(&items, None)).await;
    let mut outcomes = outcomes.expect("a batch is answered in time")?;
    Ok(outcomes.pop().unwrap())
}

/// Repeats a read until it is answered.
async fn head(store: &Store) -> Position {
    let reading = async {
        loop {
            if let Ok(head) = store.reader.log_head().await {
                return head;
            }
        }
    };
    let head = timeout(PATIENCE, reading).await;
    head.expect("a read is answered in time")
}

/// Repeats a command until it is answered.
async fn is_repeated(store: &mut Store, id: &str) -> Outcome {
    let repeating = async {
        loop {
            if let Ok(outcome) = commit(store, id).await {
                return outcome;
            }
        }
    };
    let outcome = timeout(PATIENCE, repeating).await;
    outcome.expect("a repeated command is answered in time")
}

/// Makes commits wait for a standby that does not exist. Returns once they do: the server reads its
/// settings a little later.
async fn require_missing_standby(server: &Server) {
    const WAITING: &str = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    server.set("synchronous_standby_names", "missing").await;
    let mut observer = server.connect().await;
    let probing = async {
        loop {
            let mut probe = server.connect().await;
            let commit = probe.execute("SELECT pg_logical_emit_message(true, 'probe', '')");
            _ = timeout(Duration::from_millis(100), commit).await;
            if observer.fetch_optional(WAITING).await.unwrap().is_some() {
                return;
            }
        }
    };
    let waits = timeout(PATIENCE, probing).await;
    waits.expect("a commit waits for the standby");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_no_standby_confirms_is_not_acknowledged() {
    let server = Server::start();
    let url = server.url(&fresh_schema());
    let (mut store, other) = (open(&url).await, open(&url).await);
    // So that nothing but the event is to be written later.
    commit(&mut store, "first").await.unwrap();
    require_missing_standby(&server).await;
    for _ in 0..2 {
        let refused = commit(&mut store, "a").await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    // Nobody sees it: it is lost if a standby takes over that never had it.
    assert_eq!(other.reader.log_head().await.unwrap(), Position(1));

    server.set("synchronous_standby_names", "").await;
    let outcome = is_repeated(&mut store, "a").await;
    assert!(matches!(outcome, Outcome::Known(_)), "{outcome:?}");
    assert_eq!(head(&other).await, Position(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_not_read_before_it_is_promoted() {
    let server = Server::start();
    let address = Address::of(&server, &fresh_schema()).await;
    let mut store = open(&address.url).await;
    commit(&mut store, "a").await.unwrap();
    let standby = server.standby();
    server.wait_for_standby().await;
    let mut connection = standby.connect().await;
    let pause = "SELECT pg_wal_replay_pause()";
    connection.execute(pause).await.unwrap();
    connection.close().await.unwrap();
    // The standby has it, and shows it only after the promotion.
    commit(&mut store, "b").await.unwrap();

    server.stop_immediately();
    address.close_and_move_to(&standby);
    let read = store.reader.log_head().await;
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    let refused = commit(&mut store, "b").await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");

    standby.promote().await;
    assert!(head(&store).await >= Position(2));
    let outcome = is_repeated(&mut store, "b").await;
    assert!(matches!(outcome, Outcome::Known(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_is_left_for_the_next() {
    let server = Server::start();
    let address = Address::of(&server, &fresh_schema()).await;
    let mut store = open(&address.url).await;
    commit(&mut store, "a").await.unwrap();
    assert_eq!(head(&store).await, Position(1));
    address.lose_and_move_to(&server);
    let outcome = is_repeated(&mut store, "b").await;
    assert!(
        matches!(outcome, Outcome::Appended(_) | Outcome::Known(_)),
        "{outcome:?}"
    );
    assert!(head(&store).await >= Position(2));
}
