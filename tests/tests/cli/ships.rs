//! Folders of segments, and the programs that write and read them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use quipu::Host;
use quipu::model::{Digest, Position};
use quipu_tests::{Place, examples, postgres};
use serde_json::{Value, json};

use crate::program::{Said, Served, quipu, run, text};

/// A host on a store, with the guest `account`.
pub fn start(place: &Place) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("account.wasm"), examples::account()).unwrap();
    let modules = text(&modules);
    let mut command = quipu(&["serve", "--store", place.url(), "--modules", &modules]);
    command.args(["--listen", "127.0.0.1:0"]);
    Served::ready(dir, command)
}

/// A host without guests on a store.
pub fn start_empty(place: &Place) -> Served {
    let mut command = quipu(&["serve", "--store", place.url()]);
    command.args(["--listen", "127.0.0.1:0"]);
    Served::ready(tempfile::tempdir().unwrap(), command)
}

/// Opens four accounts, and pays into each.
pub fn bank(host: &Served) {
    for account in ["account-0", "account-1", "account-2", "account-3"] {
        host.run(&["execute", account, "open", "{\"owner\":\"ann\"}"])
            .ok();
        pay(host, account);
    }
}

/// Pays into an account.
pub fn pay(host: &Served, account: &str) {
    host.run(&["execute", account, "deposit", "{\"amount\":5}"])
        .ok();
}

/// Starts a program that opens accounts and pays into them.
pub fn commands(host: &Served, accounts: usize, deposits: usize) -> Child {
    let mut lines = String::new();
    let keys = || (0..accounts).map(|account| format!("loaded{account}"));
    for id in keys() {
        let line = json!({"id": id, "type": "open", "data": {"owner": "bob"}});
        lines += &format!("{line}\n");
    }
    for amount in 1..=deposits {
        for id in keys() {
            let line = json!({"id": id, "type": "deposit", "data": {"amount": amount}});
            lines += &format!("{line}\n");
        }
    }
    let file = host.path("commands.ndjson");
    std::fs::write(&file, lines).unwrap();
    let mut command = quipu(&["execute", "--file", &text(&file), "--category", "account"]);
    command.env("QUIPU_URL", &host.url);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Ships everything that a host has now.
pub fn ship(host: &Served, dir: &Path, args: &[&str]) -> Said {
    let dir = text(dir);
    let mut all = vec!["ship", &dir, "--once"];
    all.extend(args);
    host.run(&all)
}

/// Recovers a folder into a store.
pub fn recover(dir: &Path, url: &str, args: &[&str]) -> Said {
    let dir = text(dir);
    let mut all = vec!["recover", &dir, "--to", url];
    all.extend(args);
    run(&all)
}

/// A program that ships as the log grows.
pub struct Shipping {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Shipping {
    pub fn start(host: &Served, dir: &Path) -> Self {
        Self::start_with(host, dir, &[])
    }

    pub fn start_with(host: &Served, dir: &Path, more: &[&str]) -> Self {
        let dir = text(dir);
        let mut args = vec![
            "ship",
            &dir,
            "--every",
            "20ms",
            "--segment-bytes",
            "20000",
            "--json",
        ];
        args.extend(more);
        let mut command = quipu(&args);
        command.env("QUIPU_URL", &host.url).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Waits until a position was shipped. Returns what was shipped.
    pub fn until(&mut self, position: u64) -> u64 {
        loop {
            let mut line = String::new();
            self.out.read_line(&mut line).unwrap();
            let report: Value = serde_json::from_str(&line).expect("it goes on");
            let shipped = report["position"].as_u64().unwrap();
            if shipped >= position {
                return shipped;
            }
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The segments that a manifest lists.
pub fn segments(dir: &Path) -> Vec<Value> {
    let text = std::fs::read(dir.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    manifest["segments"].as_array().unwrap().clone()
}

/// Changes the last place of the last segment, and the manifest so that it fits: as a program would
/// ship what its host had changed.
pub fn change_last(dir: &Path, from: &str, to: &str) {
    let listed = segments(dir);
    let last = listed.last().unwrap();
    let file = dir.join(last["file"].as_str().unwrap());
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, after) = text.rsplit_once(from).unwrap();
    let changed = format!("{before}{to}{after}");
    assert_eq!(changed.len(), text.len());
    std::fs::write(&file, &changed).unwrap();

    let path = dir.join("manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap();
    let digest = |of: &Value, name: &str| -> Digest { of[name].as_str().unwrap().parse().unwrap() };
    let sha256 = Digest::of(changed.as_bytes());
    let earlier = digest(&listed[listed.len() - 2], "chain");
    let chain = Digest::of(&[earlier.0, sha256.0].concat());
    let manifest = manifest
        .replace(&digest(last, "sha256").to_string(), &sha256.to_string())
        .replace(&digest(last, "chain").to_string(), &chain.to_string());
    let lines = manifest.lines().map(str::trim);
    let compact = lines.collect::<String>().replace("\": ", "\":");
    let (_, segments) = compact.split_once("\"segments\":").unwrap();
    let (segments, own) = segments.rsplit_once(",\"digest\":\"").unwrap();
    let own = own.split('"').next().unwrap();
    let digest = Digest::of(format!("[1,{segments}]").as_bytes());
    std::fs::write(&path, manifest.replace(own, &digest.to_string())).unwrap();
}

/// Removes a store that no host has open.
pub async fn lose(place: &Place) {
    match place.schema() {
        Some(schema) => postgres::server().drop_schema(schema).await,
        None => remove(Path::new(place.url().strip_prefix("sqlite:").unwrap())),
    }
}

/// Removes a SQLite store.
fn remove(file: &Path) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        // Not all of them exist.
        _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
}

pub async fn exported(host: &Host) -> String {
    let mut export = host.export(Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    String::from_utf8(file).unwrap()
}

/// The lines of the commits of an export whose last event is not after a position.
pub fn events_until(file: &str, until: u64) -> Vec<&str> {
    let (mut lines, mut commit) = (Vec::new(), Vec::new());
    let mut left = 0;
    for text in file.lines() {
        let line: Value = serde_json::from_str(text).unwrap();
        if line["type"] == "quipu.commit" {
            left = line["data"]["events"].as_u64().unwrap();
            commit.push(text);
        } else if let Some(position) = line["position"].as_u64() {
            commit.push(text);
            left -= 1;
            if left == 0 && position > until {
                return lines;
            }
            if left == 0 {
                lines.append(&mut commit);
            }
        }
    }
    lines
}

/// The last position of those commits; 0 without any.
pub fn ended_commits(file: &str, until: u64) -> u64 {
    let lines = events_until(file, until);
    let last = lines
        .last()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    last.map_or(0, |last| last["position"].as_u64().unwrap())
}
