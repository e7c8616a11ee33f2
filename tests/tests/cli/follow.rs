use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::program::{Served, quipu};

/// A running command that follows.
pub struct Following {
    pub child: Child,
    out: BufReader<ChildStdout>,
}

impl Following {
    pub fn start(host: &Served, args: &[&str]) -> Self {
        let mut command = quipu(args);
        command.env("QUIPU_URL", &host.url).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    pub fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn deposit(host: &Served) {
    host.run(&["execute", "account-1", "deposit", "{\n\"amount\": 5}"])
        .ok();
}

#[test]
fn following_continues_when_the_host_is_back() {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    let mut log = Following::start(&host, &["events", "--follow", "--json"]);
    let to_stream = ["stream", "account-1", "--follow", "--from", "2", "--json"];
    let mut stream = Following::start(&host, &to_stream);
    let filtered = ["events", "--follow", "--not-type", "opened", "--limit", "3"];
    let mut limited = Following::start(&host, &filtered);
    assert_eq!(log.json()["version"], 1);
    deposit(&host);
    assert_eq!(log.json()["version"], 2);
    assert_eq!(stream.json()["version"], 2);
    assert!(limited.line().contains("deposited"));

    let address = host.url.trim_start_matches("http://").to_owned();
    host.signal("TERM");
    let (said, dir) = host.ended();
    assert_eq!(said.code, 0, "{}", said.err);
    let modules = dir.path().join("modules").display().to_string();
    let host = Served::start_in(dir, &["--listen", &address, "--modules", &modules]);
    for version in 3..=4 {
        deposit(&host);
        assert_eq!(log.json()["version"], version);
        assert_eq!(stream.json()["version"], version);
        assert!(limited.line().contains("deposited"));
    }
    assert_eq!(limited.line(), "");
    assert!(limited.child.wait().unwrap().success());
}
