//! The disk of a SQLite store is full for a while.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use quipu_tests::seed;
use serde_json::{Value, json};

/// A host whose store is on a small file system of its own, which only it sees.
struct Served {
    child: Child,
    url: String,
    disk: PathBuf,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
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

impl Served {
    fn start(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=\"$1\"m tmpfs \"$2\" && \
                      exec \"$0\" serve --store \"sqlite:$2/q.db\" --listen 127.0.0.1:0";
        let mut child = unshare()
            .args(["sh", "-c", script, env!("CARGO_BIN_EXE_quipu-program")])
            .arg(mebibytes.to_string())
            .arg(folder.path())
            .env_remove("QUIPU_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ");
        let url = url.unwrap_or_else(|| panic!("not ready: {line:?}"));
        // As the host sees it.
        let seen = format!("/proc/{}/root{}", child.id(), folder.path().display());
        Self {
            url: url.to_owned(),
            disk: seen.into(),
            child,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            _folder: folder,
        }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_a_passing_error_and_loses_nothing_acknowledged() {
    if !can_mount() {
        assert!(!seed::is_long(), "this process may not mount a file system");
        eprintln!("NOT TRIED: this process may not mount a file system (`unshare --mount`)");
        return;
    }
    let host = Served::start(32);
    let (mut acknowledged, mut number) = (Vec::new(), 0);
    for round in 0..if seed::is_long() { 20 } else { 3 } {
        let ballast = host.disk.join("ballast");
        // Fills what is left: a write of the last part fails.
        let filling = std::fs::File::create(&ballast).and_then(|mut file| {
            std::io::copy(
                &mut std::io::Read::take(std::io::repeat(0), 64 << 20),
                &mut file,
            )
        });
        assert!(filling.is_err(), "the file system is not small");
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
                    assert!(detail.contains("full"), "{detail}");
                    refused += 1;
                }
            }
            number += 1;
            assert!(number < 1_000, "the disk is never full");
        }
        // Reads go on, and nothing that was refused is there.
        assert_eq!(host.numbers().await, acknowledged);
        std::fs::remove_file(&ballast).unwrap();
        // With room it goes on without help. One that was refused is sent again.
        let (status, answer) = host.append(number - 1, 10).await;
        assert_eq!(status, 200, "round {round}: {answer}");
        acknowledged.push(number as u64 - 1);
        assert_eq!(host.numbers().await, acknowledged);
    }
}
