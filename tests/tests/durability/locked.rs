//! Another program holds SQLite's lock for writing for a while.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use quipu_tests::{PATIENCE, Place};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};

/// A host in a process of its own.
struct Served {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Served {
    fn start(place: &Place) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quipu-program"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store", place.url()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ");
        let url = url.unwrap_or_else(|| panic!("not ready: {line:?}"));
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Self {
            url: url.to_owned(),
            child,
            client: client.build().unwrap(),
        }
    }

    fn post(&self, path: &str) -> RequestBuilder {
        let path = format!("/v1/streams/note-1/{path}");
        self.client.post(self.url.clone() + &path)
    }

    async fn append(&self, number: u64) -> (u16, Value) {
        let body = json!({"events": [{"type": "noted", "data": {"number": number}}]});
        let key = format!("note-{number}");
        let request = self.post("events").json(&body);
        answered(request.header("Idempotency-Key", key)).await
    }

    /// A transaction of several statements, unlike an append.
    async fn archive(&self) -> (u16, Value) {
        answered(self.post("archive")).await
    }

    /// What the events of the stream say.
    async fn numbers(&self) -> Vec<u64> {
        let url = format!("{}/v1/streams/note-1/events", self.url);
        let (_, page) = answered(self.client.get(url)).await;
        let events = page["events"].as_array().unwrap().iter();
        let numbers = events.filter_map(|event| event["data"]["number"].as_u64());
        numbers.collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

async fn answered(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn locked(place: &Place) -> SqliteConnection {
    let file = place.url().strip_prefix("sqlite:").unwrap();
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    connection.execute("BEGIN IMMEDIATE").await.unwrap();
    connection
}

fn is_stored((status, answer): &(u16, Value)) {
    assert_eq!(*status, 200, "{answer}");
}

/// The caller may send the same a second time.
fn is_unavailable((status, answer): &(u16, Value)) {
    assert_eq!(*status, 503, "{answer}");
    assert_eq!(answer["code"], "store-unavailable", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_waits_for_a_program_that_holds_the_lock_and_then_says_that_it_is_unavailable() {
    let place = Place::sqlite();
    let host = Served::start(&place);
    is_stored(&host.append(1).await);

    // While the lock lasts, callers are refused after a wait, and reads go on.
    let mut holder = locked(&place).await;
    is_unavailable(&host.append(2).await);
    is_unavailable(&host.archive().await);
    assert_eq!(host.numbers().await, [1]);
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(host.numbers().await, [1]);

    // The same requests are stored once, whether or not they meet the lock.
    holder.execute("BEGIN IMMEDIATE").await.unwrap();
    let releasing = async {
        assert_eq!(host.numbers().await, [1]);
        holder.execute("ROLLBACK").await.unwrap();
    };
    let (appended, ()) = tokio::join!(host.append(2), releasing);
    is_stored(&appended);
    is_stored(&host.append(2).await);
    is_stored(&host.archive().await);
    assert_eq!(host.numbers().await, [1, 2]);
    holder.close().await.unwrap();
}
