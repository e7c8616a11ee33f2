//! A standby that lacks acknowledged events takes over: the loss is named, and nothing is written
//! until an operator has accepted it.

use quipu::Host;
use quipu::model::ExpectedVersion::Any;
use quipu::model::Position;
use quipu::store::{self, Error, Item, Loss, Outcome, Store, StoreUrl};
use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::{PATIENCE, Place, build};
use sqlx::{Connection, Executor, Row};
use tokio::time::timeout;

use super::address::Address;

/// More than a sequence is ahead of what was drawn from it.
const LOST: usize = 40;

/// A store whose callers wait for two seconds at most.
async fn open(url: &str) -> Store {
    store::open(&short(url).parse().unwrap()).await.unwrap()
}

fn short(url: &str) -> String {
    format!("{url}&writer_wait_max_ms=2000&reader_wait_max_ms=2000")
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

/// The position of the only event of a commit.
fn position(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Appended(appended) => appended[0].positions[0].0,
        other => panic!("{other:?}"),
    }
}

/// Repeats a commit until it is answered, or a loss is found.
async fn found(store: &mut Store, id: &str) -> Result<u64, Loss> {
    let repeating = async {
        loop {
            match commit(store, id).await {
                Ok(outcome) => return Ok(position(&outcome)),
                Err(Error::EventsLost(loss)) => return Err(loss),
                Err(_) => {}
            }
        }
    };
    let found = timeout(PATIENCE, repeating).await;
    found.expect("a commit is answered in time")
}

/// The same after the loss was accepted, which a host notices a little later.
async fn accepted(store: &mut Store, id: &str) -> Result<u64, Loss> {
    let noticing = async {
        loop {
            match found(store, id).await {
                Err(loss) if !loss.is_accepted => {}
                found => return found,
            }
        }
    };
    let noticed = timeout(PATIENCE, noticing).await;
    noticed.expect("an accepted loss is noticed in time")
}

/// Commits events that a standby does not receive. Returns the position of the last one.
async fn lose(store: &mut Store) -> u64 {
    let mut last = 0;
    for number in 0..LOST {
        last = position(&commit(store, &format!("lost-{number}")).await.unwrap());
    }
    last
}

/// A standby that receives nothing more, although it has everything so far.
async fn disconnected(server: &Server) -> Server {
    let standby = server.standby();
    server.wait_for_standby().await;
    // Waits until the standby has everything.
    let mut connection = server.connect().await;
    let message = "SELECT pg_logical_emit_message(true, 'test', '')";
    connection.execute(message).await.unwrap();
    server.set("synchronous_standby_names", "").await;
    standby.set("primary_conninfo", "").await;
    let disconnecting = async {
        const CONNECTED: &str = "SELECT count(*) FROM pg_stat_replication";
        loop {
            let row = connection.fetch_one(CONNECTED).await.unwrap();
            if row.get::<i64, _>(0) == 0 {
                return;
            }
        }
    };
    let disconnected = timeout(PATIENCE, disconnecting).await;
    disconnected.expect("the standby disconnects");
    connection.close().await.unwrap();
    standby
}

async fn fail_over(server: &Server, standby: &Server, address: &Address) {
    server.stop_immediately();
    address.close_and_move_to(standby);
    standby.promote().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_a_standby_never_had_are_named_and_their_positions_not_reused() {
    let server = Server::start();
    let address = Address::of(&server, &fresh_schema()).await;
    let mut store = open(&address.url).await;
    for id in ["a", "b", "c"] {
        commit(&mut store, id).await.unwrap();
    }
    let standby = disconnected(&server).await;
    let last = lose(&mut store).await;
    fail_over(&server, &standby, &address).await;

    // A host that knows no lost event is first, and reuses no position.
    let mut idle = open(&address.url).await;
    let early = found(&mut idle, "early").await.unwrap();
    assert!(early > last, "{early}");
    let loss = found(&mut store, "after").await.unwrap_err();
    assert_eq!((loss.from, loss.to, loss.is_accepted), (4, last, false));
    assert_eq!(store.reader.lost(), Some(loss));
    let error = store.writer.check().await.unwrap_err();
    assert_eq!(error.code(), "events-lost");
    let text = error.to_string();
    assert!(text.contains(&format!("positions 4 to {last}")), "{text}");
    assert!(text.contains("quipu accept-loss"), "{text}");
    // From then on it does not write either, and neither does a host that starts.
    assert_eq!(found(&mut idle, "after").await.unwrap_err(), loss);
    let mut started = open(&address.url).await;
    assert_eq!(found(&mut started, "after").await.unwrap_err(), loss);
    // What is left can be read.
    let head = started.reader.head(&build::stream("note-1")).await.unwrap();
    assert_eq!(head.unwrap().version.0, 4);

    let url = address.url.parse().unwrap();
    assert_eq!(store::lost(&url).await.unwrap(), Some(loss));
    let other = Loss { to: 1, ..loss };
    assert!(!store::accept_loss(&url, &other).await.unwrap());
    assert!(store::accept_loss(&url, &loss).await.unwrap());
    assert_eq!(store::lost(&url).await.unwrap(), None);
    let after = accepted(&mut started, "after").await.unwrap();
    assert!(after > early, "{after}");
    assert_eq!(started.reader.lost(), None);
    // States of hosts that ran before may contain lost events.
    for before in [&mut store, &mut idle] {
        assert!(accepted(before, "again").await.unwrap_err().is_accepted);
        assert!(before.reader.lost().unwrap().is_accepted);
    }
    let mut restarted = open(&address.url).await;
    found(&mut restarted, "again").await.unwrap();
    assert_eq!(store::lost(&url).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_only_read_a_lost_event_finds_it_missing() {
    let server = Server::start();
    let address = Address::of(&server, &fresh_schema()).await;
    let reading = Host::builder().store(short(&address.url)).build();
    let reading = reading.await.unwrap();
    let mut store = open(&address.url).await;
    commit(&mut store, "a").await.unwrap();
    let standby = disconnected(&server).await;
    let now = server_time(&server).await;
    let lost = lose(&mut store).await;
    wait_for_reads(&server, &now).await;
    let seen = async {
        let everything = store::Filter::default();
        loop {
            let page = reading.read_log(Position(0), store::Direction::Forward, 99, &everything);
            if page.await.unwrap().events.len() == 1 + LOST {
                return;
            }
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    // The one who committed it is gone.
    drop(store);
    fail_over(&server, &standby, &address).await;
    let stream = build::stream("note-2");
    let appending = async {
        loop {
            match reading
                .append(&stream, build::append(build::events(1)))
                .await
            {
                Err(error) if error.code() == "events-lost" => return error.to_string(),
                Err(_) => {}
                Ok(_) => panic!("it writes although an event is lost"),
            }
        }
    };
    let error = timeout(PATIENCE, appending).await.unwrap();
    assert!(error.contains("position"), "{error}");
    let ready = reading.readiness(PATIENCE).await;
    let writer = ready.checks.iter().find(|check| check.name == "writer");
    let fault = writer.unwrap().fault.as_deref().unwrap();
    assert!(fault.contains("are missing"), "{fault}");
    let loss = reading.lost().unwrap();
    assert!(loss.from == 2 && loss.to <= lost, "{loss:?}");
    assert_eq!(reading.figures().await.unwrap().lost, reading.lost());
}

async fn server_time(server: &Server) -> String {
    let mut connection = server.connect().await;
    let now = connection.fetch_one("SELECT clock_timestamp()::text").await;
    now.unwrap().get(0)
}

/// Waits until two hosts have read the newest event since a time of the server.
async fn wait_for_reads(server: &Server, since: &str) {
    let query = format!(
        "SELECT FROM pg_stat_activity WHERE query_start > '{since}' \
             AND query LIKE 'SELECT position, event_id, $1::bigint IS NULL%'"
    );
    let mut connection = server.connect().await;
    let polling = async {
        loop {
            let rows = connection.fetch_all(sqlx::AssertSqlSafe(query.clone()));
            if rows.await.unwrap().len() >= 2 {
                return;
            }
        }
    };
    timeout(PATIENCE, polling).await.expect("the hosts read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_reads_nothing_finds_a_lost_event_of_another_one_missing() {
    let server = Server::start();
    let address = Address::of(&server, &fresh_schema()).await;
    let mut idle = open(&address.url).await;
    let mut store = open(&address.url).await;
    commit(&mut store, "a").await.unwrap();
    let standby = disconnected(&server).await;
    let now = server_time(&server).await;
    let last = lose(&mut store).await;
    wait_for_reads(&server, &now).await;
    // The one who committed them is gone.
    drop(store);
    fail_over(&server, &standby, &address).await;
    let loss = found(&mut idle, "after").await.unwrap_err();
    assert_eq!((loss.from, loss.is_accepted), (2, false));
    assert!((2..=last).contains(&loss.to), "{loss:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_the_next_server_forgets_no_lost_event() {
    let server = Server::start();
    let address = Address::of(&server, &fresh_schema()).await;
    let mut store = open(&address.url).await;
    commit(&mut store, "a").await.unwrap();
    let standby = disconnected(&server).await;
    let last = lose(&mut store).await;
    fail_over(&server, &standby, &address).await;
    // Others write, and the host that knows the lost events reads that before it writes.
    let mut early = open(&address.url).await;
    found(&mut early, "early").await.unwrap();
    let now = server_time(&standby).await;
    found(&mut early, "later").await.unwrap();
    wait_for_reads(&standby, &now).await;
    let loss = found(&mut store, "after").await.unwrap_err();
    assert_eq!((loss.from, loss.to, loss.is_accepted), (2, last, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_after_a_restored_dump_are_not_reused() {
    let server = Server::start();
    let schema = fresh_schema();
    let mut store = open(&server.url(&schema)).await;
    commit(&mut store, "kept").await.unwrap();
    let dump = server.dump(&schema);
    let last = position(&commit(&mut store, "seen by somebody").await.unwrap());
    store.writer.close().await.unwrap();
    server.drop_schema(&schema).await;
    server.restore(&dump);
    let mut store = open(&server.url(&schema)).await;
    let next = position(&commit(&mut store, "next").await.unwrap());
    assert!(next > last, "{next}");
    // Only once.
    let mut other = open(&server.url(&schema)).await;
    let again = position(&commit(&mut other, "again").await.unwrap());
    assert_eq!(again, next + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_restarted_does_not_reuse_positions() {
    let server = Server::start();
    let schema = fresh_schema();
    let mut store = open(&server.url(&schema)).await;
    let first = position(&commit(&mut store, "kept").await.unwrap());
    let standby = disconnected(&server).await;
    let last = lose(&mut store).await;
    store.writer.close().await.unwrap();
    server.stop_immediately();
    standby.promote().await;
    // Nobody knows the lost events any more.
    let mut store = open(&standby.url(&schema)).await;
    let next = position(&commit(&mut store, "next").await.unwrap());
    assert!(next > last, "{next}");
    assert_eq!(store.reader.lost(), None);
    // Only once.
    let mut other = open(&standby.url(&schema)).await;
    let again = position(&commit(&mut other, "again").await.unwrap());
    assert_eq!((first, again), (1, next + 1));
    standby.restart();
    let mut restarted = open(&standby.url(&schema)).await;
    let later = found(&mut restarted, "later").await.unwrap();
    assert!(later < next + 1_000, "{later}");
}

#[tokio::test]
async fn a_store_that_has_no_standby_loses_nothing() {
    let url: StoreUrl = Place::sqlite().url().parse().unwrap();
    let error = store::lost(&url).await.unwrap_err();
    assert!(matches!(error, Error::Url(_)), "{error}");
}
