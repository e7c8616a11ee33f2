//! A server that keeps its connections open and sends nothing, like a server that lost its power.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use quipu::Host;
use quipu::model::ExpectedVersion::Any;
use quipu::model::Position;
use quipu::store::{self, Direction, Error, EventReader, Filter, Import, Store};
use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::{PATIENCE, build, examples};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, Row};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::address::Address;

/// More than a host has connections.
const READS: usize = 12;

/// A store with three events whose readers wait for an answer for a second at most.
async fn open(server: &Server, schema: &str) -> (Address, Store) {
    let address = Address::of(server, schema).await;
    let url = format!(
        "{}&reader_answer_max_ms=1000&reader_wait_max_ms=4000",
        address.url
    );
    let mut store = store::open(&url.parse().unwrap()).await.unwrap();
    let noted = [build::noted("note-1", Any, 3)];
    store.writer.commit(&noted, None).await.unwrap();
    (address, store)
}

async fn read(reader: &dyn EventReader) -> Result<Vec<Position>, Error> {
    let everything = Filter::default();
    let reading = reader.read_log(Position(0), Direction::Forward, 10, &everything);
    let page = timeout(PATIENCE, reading).await;
    let page = page.expect("a read is answered in time")?;
    Ok(page.events.iter().map(|event| event.position).collect())
}

/// Waits until this number of statements of the schema wait for a lock.
async fn wait_for_locks(observer: &mut PgConnection, schema: &str, number: usize) {
    let waiting = format!(
        "SELECT FROM pg_locks WHERE NOT granted AND relation = '{schema}.events'::regclass"
    );
    let polling = async {
        loop {
            let rows = observer.fetch_all(sqlx::AssertSqlSafe(waiting.clone()));
            if rows.await.unwrap().len() >= number {
                return;
            }
        }
    };
    let found = timeout(PATIENCE, polling).await;
    found.expect("the reads have reached the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_a_silent_server_holds_ends_and_the_next_connects() {
    let (server, schema) = (Server::start(), fresh_schema());
    let (address, store) = open(&server, &schema).await;
    let (mut holder, mut observer) = (server.connect().await, server.connect().await);
    let locking = format!("BEGIN; LOCK TABLE {schema}.events IN ACCESS EXCLUSIVE MODE");
    holder.execute(sqlx::AssertSqlSafe(locking)).await.unwrap();
    let reads = (0..READS).map(|_| {
        let reader = Arc::clone(&store.reader);
        tokio::spawn(async move { read(&*reader).await })
    });
    let reads: Vec<_> = reads.collect();
    // The others wait for a connection.
    wait_for_locks(&mut observer, &schema, 7).await;
    address.lose_and_move_to(&server);
    holder.execute("ROLLBACK").await.unwrap();
    let mut lost = 0;
    for answer in join_all(reads).await {
        match answer.unwrap() {
            Ok(positions) => assert_eq!(positions.len(), 3),
            Err(Error::Unavailable(why)) => {
                assert!(why.contains("reader_answer_max_ms"), "{why}");
                lost += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!((1..=7).contains(&lost), "{lost}");
    assert_eq!(read(&*store.reader).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_to_a_silent_server_are_replaced_before_a_read() {
    let (server, schema) = (Server::start(), fresh_schema());
    let (address, store) = open(&server, &schema).await;
    let together = (0..READS).map(|_| read(&*store.reader));
    for answer in join_all(together).await {
        assert_eq!(answer.unwrap().len(), 3);
    }
    address.lose_and_move_to(&server);
    for _ in 0..READS {
        assert_eq!(read(&*store.reader).await.unwrap().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_an_import_that_a_server_holds_ends_and_can_be_repeated() {
    let (server, schema) = (Server::start(), fresh_schema());
    let (address, source) = open(&server, &schema).await;
    let url = address.url.replace(&schema, &fresh_schema()) + "&import_max_ms=500";
    let mut store = store::open(&url.parse().unwrap()).await.unwrap();
    let page = source.reader.read_stored(Position(0), 10);
    let part = Import::Events(page.await.unwrap().events);
    // The first use connects.
    store.writer.check().await.unwrap();
    address.lose_and_move_to(&server);
    let importing = timeout(PATIENCE, store.writer.import(&part)).await;
    let error = importing.expect("an import ends in time").unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    store.writer.import(&part).await.unwrap();
    assert_eq!(read(&*store.reader).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_on_a_silent_connection_connects_again() {
    let (server, schema) = (Server::start(), fresh_schema());
    let (address, store) = open(&server, &schema).await;
    // Nothing but the listener uses a connection.
    address.is_found(3).await;
    let mut observer = server.connect().await;
    const LISTENING: &str = "SELECT pid FROM pg_stat_activity \
         WHERE query LIKE 'LISTEN %' OR query LIKE '% AS listening'";
    let pids = |rows: Vec<PgRow>| rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>();
    let mut before = Vec::new();
    while before.is_empty() {
        before = pids(observer.fetch_all(LISTENING).await.unwrap());
    }
    address.lose_and_move_to(&server);
    address.is_found(1).await;
    let polling = async {
        // On a slow machine the server has noticed the end of the one before.
        loop {
            let now = pids(observer.fetch_all(LISTENING).await.unwrap());
            if now.iter().any(|pid| !before.contains(pid)) {
                return;
            }
        }
    };
    timeout(PATIENCE, polling).await.expect("it listens");
    store.writer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_server_is_silent_is_not_opened_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://quipu@127.0.0.1:{port}/bank?reader_answer_max_ms=500");
    let url = url.parse().unwrap();
    let opening = store::open(&url);
    let opened = timeout(Duration::from_secs(20), opening).await;
    let Err(error) = opened.expect("opening ends in time") else {
        panic!("a store without a server was opened");
    };
    assert!(error.to_string().contains("did not answer"), "{error}");
}

/// A served host, and what its callers see.
struct Served {
    url: String,
    client: Client,
}

impl Served {
    async fn new(host: Host) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let options = quipu_server::Options::default();
        tokio::spawn(quipu_server::serve(listener, host, options, pending()));
        let client = Client::builder().no_proxy().timeout(PATIENCE).build();
        Self {
            url,
            client: client.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.url));
        request.send().await.expect("a read is answered in time")
    }

    async fn deposit(&self, id: &str) -> Response {
        let url = format!("{}/v1/streams/account-1/commands", self.url);
        let command = json!({"type": "deposit", "data": {"amount": 1}});
        let request = self.client.post(url).header("idempotency-key", id);
        let sent = request.json(&command).send().await;
        sent.expect("a command is answered in time")
    }
}

/// What a caller needs in order to try again: the status, the code and the time.
async fn unavailable(answer: Response) {
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "store-unavailable", "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_host_whose_server_is_silent_are_answered_503_and_nothing_is_doubled() {
    let server = Server::start();
    let address = Address::of(&server, &fresh_schema()).await;
    let url = format!(
        "{}&reader_answer_max_ms=500&reader_wait_max_ms=1000&writer_wait_max_ms=1000",
        address.url
    );
    let host = Host::builder().store(url).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let stream = build::stream("account-1");
    let opened = host.execute(&stream, build::open_account()).await;
    opened.unwrap();
    let served = Served::new(host).await;
    assert_eq!(served.deposit("before").await.status(), 200);
    assert_eq!(served.get("/readyz").await.status(), 200);

    address.lose();
    let (read, command, ready) = tokio::join!(
        served.get("/v1/events"),
        served.deposit("during"),
        served.get("/readyz"),
    );
    unavailable(read).await;
    unavailable(command).await;
    assert_eq!(ready.status(), 503);
    let problem: Value = ready.json().await.unwrap();
    assert_eq!(problem["code"], "not-ready", "{problem}");
    // Nothing of it needs the store.
    assert_eq!(served.get("/healthz").await.status(), 200);

    address.lose_and_move_to(&server);
    let repeating = async {
        loop {
            let answer = served.deposit("during").await;
            match answer.status().as_u16() {
                503 => unavailable(answer).await,
                status => return status,
            }
        }
    };
    let status = timeout(PATIENCE, repeating).await;
    assert_eq!(status.expect("the host recovers by itself"), 200);
    assert_eq!(served.deposit("before").await.status(), 200);
    let events = served.get("/v1/streams/account-1/events").await;
    let events: Value = events.json().await.unwrap();
    assert_eq!(events["events"].as_array().unwrap().len(), 3, "{events}");
}
