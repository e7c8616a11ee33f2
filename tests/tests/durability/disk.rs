//! The disk of a store is full for a while.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quipu_tests::{PATIENCE, Place, seed};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_quipu-program");

/// A host in a process of its own.
struct Served {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Served {
    fn start(command: &mut Command) -> Self {
        let command = command.env_remove("QUIPU_LOG").stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ");
        let url = url.unwrap_or_else(|| panic!("not ready: {line:?}"));
        Self {
            url: url.to_owned(),
            child,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// A host on a store.
    fn on(url: &str) -> Self {
        let mut command = Command::new(PROGRAM);
        Self::start(command.args(["serve", "--store", url, "--listen", "127.0.0.1:0"]))
    }

    async fn append(&self, number: usize, bytes: usize) -> (u16, Value) {
        let data = json!({"number": number, "text": "x".repeat(bytes)});
        let body = json!({"events": [{"type": "noted", "data": data}]});
        let url = format!("{}/v1/streams/note-1/events", self.url);
        let request = self.client.post(url).json(&body);
        let request = request.header("Idempotency-Key", format!("note-{number}"));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Whether it is ready, and what it says of its writer.
    async fn ready(&self) -> (u16, Value) {
        let answer = self.client.get(format!("{}/readyz", self.url)).send();
        let answer = answer.await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        let mut checks = body["checks"].as_array().unwrap().iter();
        let writer = checks.find(|check| check["name"] == "writer").unwrap();
        (status, writer.clone())
    }

    /// The numbers of all events. A page ends at some mebibytes.
    async fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            let from = numbers.len() + 1;
            let path = format!("/v1/streams/note-1/events?limit=1000&from={from}");
            let page = self.client.get(self.url.clone() + &path).send().await;
            let page: Value = page.unwrap().json().await.unwrap();
            let events = page["events"].as_array().unwrap().iter();
            numbers.extend(events.map(|event| event["data"]["number"].as_u64().unwrap()));
            if page["next"].is_null() {
                return numbers;
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Fills the disk and makes room, several times. `says` is part of what a refused caller reads. Returns
/// the numbers of the acknowledged events.
async fn check(host: &Served, says: &str, fill: impl AsyncFn(), free: impl AsyncFn()) -> Vec<u64> {
    let (mut acknowledged, mut number) = (Vec::new(), 0);
    for round in 0..if seed::is_long() { 20 } else { 3 } {
        for _ in 0..3 {
            let (status, answer) = host.append(number, 10).await;
            assert_eq!(status, 200, "round {round}: {answer}");
            acknowledged.push(number as u64);
            number += 1;
        }
        fill().await;
        let mut refused = 0;
        while refused < 3 {
            let (status, answer) = host.append(number, 100_000).await;
            match status {
                200 => acknowledged.push(number as u64),
                _ => {
                    assert_eq!(
                        (status, &answer["code"]),
                        (503, &json!("store-unavailable"))
                    );
                    let detail = answer["detail"].as_str().unwrap();
                    assert!(detail.contains(says), "{detail}");
                    refused += 1;
                }
            }
            number += 1;
            assert!(number < 1_000 * (round + 1), "the disk is never full");
        }
        // Reads go on, and nothing that was refused is there.
        assert_eq!(host.numbers().await, acknowledged);
        // It answers that it is not ready, as often as it is asked.
        for _ in 0..3 {
            let (status, writer) = host.ready().await;
            assert_eq!(status, 503, "round {round}: {writer}");
            let fault = writer["fault"].as_str().unwrap();
            assert!(fault.contains(says), "{fault}");
        }
        free().await;
        // A host that nobody sends to any more becomes ready by itself.
        let until = Instant::now() + PATIENCE;
        while host.ready().await.0 != 200 {
            assert!(Instant::now() < until, "round {round}: it is never ready");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // With room it goes on without help. One that was refused is sent again.
        let (status, answer) = host.append(number - 1, 10).await;
        assert_eq!(status, 200, "round {round}: {answer}");
        acknowledged.push(number as u64 - 1);
        assert_eq!(host.numbers().await, acknowledged);
    }
    acknowledged
}

/// Runs a program in a mount namespace of its own.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user"]);
    command
}

fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mount = unshare()
        .args(["mount", "-t", "tmpfs", "tmpfs"])
        .arg(folder.path())
        .output();
    mount.is_ok_and(|it| it.status.success())
}

/// Fills what is left of a file system: a write of the last part fails.
fn fill(ballast: &Path) {
    let filling = std::fs::File::create(ballast)
        .and_then(|mut file| std::io::copy(&mut std::io::repeat(0).take(512 << 20), &mut file));
    assert!(filling.is_err(), "the file system is not small");
}

/// The store is on a small file system of its own, which only the host sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_a_passing_error_and_loses_nothing_acknowledged() {
    if !can_mount() {
        assert!(!seed::is_long(), "this process may not mount a file system");
        eprintln!("NOT TRIED: this process may not mount a file system (`unshare --mount`)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Each round adds what fits into the write-ahead log, about 16 MiB.
    let size = if seed::is_long() { "400m" } else { "96m" };
    let script = format!(
        "mount -t tmpfs -o size={size} tmpfs \"$1\" && \
         exec \"$0\" serve --store \"sqlite:$1/q.db\" --listen 127.0.0.1:0"
    );
    let mut command = unshare();
    command
        .args(["sh", "-c", &script, PROGRAM])
        .arg(folder.path());
    let host = Served::start(&mut command);
    // As the host sees it.
    let seen = format!("/proc/{}/root{}", host.child.id(), folder.path().display());
    let ballast = Path::new(&seen).join("ballast");
    let free = async || std::fs::remove_file(&ballast).unwrap();
    check(&host, "full", async || fill(&ballast), free).await;
}

/// Sets how many bytes each file of a process may have.
fn limit_files(process: u32, bytes: &str) {
    let mut command = Command::new("prlimit");
    let process = process.to_string();
    // The colon leaves the hard limit as it is.
    let command = command.args(["--pid", &process, &format!("--fsize={bytes}:")]);
    let limited = command.output().unwrap();
    assert!(limited.status.success(), "{limited:?}");
}

/// This needs no rights: the files of the host may not grow for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_may_not_grow_are_a_passing_error_and_lose_nothing_acknowledged() {
    let place = Place::sqlite();
    let script = "exec \"$0\" serve --store \"$1\" --listen 127.0.0.1:0";
    let mut command = Command::new("sh");
    // The log may be a file, too.
    let command = command.args(["-c", script, PROGRAM, place.url()]);
    let host = Served::start(command.stderr(Stdio::null()));
    let process = host.child.id();
    let fill = async || limit_files(process, "2097152");
    let free = async || limit_files(process, "unlimited");
    let acknowledged = check(&host, "may not grow", fill, free).await;
    drop(host);
    assert_eq!(Served::on(place.url()).numbers().await, acknowledged);
}

/// A minute may begin between two of them, so that a cause may have two lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_can_not_be_written_is_one_line_of_the_log_in_a_minute() {
    let place = Place::sqlite();
    let script = "exec \"$0\" serve --store \"$1\" --listen 127.0.0.1:0";
    let mut command = Command::new("sh");
    let command = command.args(["-c", script, PROGRAM, place.url()]);
    let command = command.env("QUIPU_LOG_FORMAT", "text");
    let mut host = Served::start(command.stderr(Stdio::piped()));
    limit_files(host.child.id(), "2097152");
    let (mut number, mut refused) = (0, 0);
    while refused < 30 {
        let (status, _) = host.append(number, 100_000).await;
        refused += usize::from(status != 200);
        number += 1;
        assert!(number < 1_000, "the files may grow");
        host.ready().await;
    }
    host.child.kill().unwrap();
    let mut log = String::new();
    let mut errors = host.child.stderr.take().unwrap();
    errors.read_to_string(&mut log).unwrap();
    for line in ["a batch was not stored", "not ready"] {
        let count = log.matches(line).count();
        assert!((1..=2).contains(&count), "{count} times {line:?}: {log}");
    }
    // It names the cause, and what to do.
    assert!(log.contains("may not grow"), "{log}");
    assert!(log.contains("LimitFSIZE"), "{log}");
}

/// What a server says whose file system is full.
const FULL: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; \
    END $$; \
    CREATE TRIGGER full_disk BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";
const FREE: &str = "DROP TRIGGER full_disk ON events; DROP FUNCTION full_disk()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_a_server_is_a_passing_error_and_loses_nothing_acknowledged() {
    let place = Place::postgres();
    let host = Served::on(place.url());
    let fill = async || place.tamper(FULL).await;
    let free = async || place.tamper(FREE).await;
    let acknowledged = check(&host, "full", fill, free).await;
    drop(host);
    assert_eq!(Served::on(place.url()).numbers().await, acknowledged);
}

/// What it says whose disk fails.
const FAILS: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    RAISE EXCEPTION 'could not extend file: Input/output error' USING ERRCODE = '58030'; \
    END $$; \
    CREATE TRIGGER full_disk BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";
/// What it says whose files may not grow.
const LIMITED: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    RAISE EXCEPTION 'could not extend file: File too large' USING ERRCODE = 'XX000'; \
    END $$; \
    CREATE TRIGGER full_disk BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_of_a_server_is_named_and_a_passing_error() {
    for (fails, says) in [
        (FAILS, "disk of the store fails"),
        (LIMITED, "may not grow"),
    ] {
        let place = Place::postgres();
        let host = Served::on(place.url());
        let fill = async || place.tamper(fails).await;
        let free = async || place.tamper(FREE).await;
        let acknowledged = check(&host, says, fill, free).await;
        drop(host);
        assert_eq!(Served::on(place.url()).numbers().await, acknowledged);
    }
}
