use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use quipu_tests::PATIENCE;
use quipu_tests::probe::{Probe, probe};
use tempfile::TempDir;

use crate::program::quipu;

/// The number of SIGINT, which Ctrl-C sends.
const INTERRUPT: i32 = 2;
const SCENARIOS: &str = "scenarios:\n  - name: one\n    when: {command: note, json: '[[\"noted\", \
                         {\"n\": 1}]]'}\n    then: {events: [{event: noted}]}\n";

fn note() -> Probe {
    probe("note").event("noted", 1).breaks("none")
}

/// `quipu test --watch` in a project whose build copies a component.
struct Watching {
    dir: TempDir,
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Watching {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write(
            "quipu.toml",
            "name = \"note\"\nlanguage = \"rust\"\nbuild = 'cp source \"$QUIPU_COMPONENT\"'\n\
             watch = [\"source\"]\nscenarios = [\"rules.yaml\"]\n",
        );
        write("rules.yaml", SCENARIOS);
        std::fs::write(dir.path().join("source"), note().component()).unwrap();
        let mut command = interruptible(&quipu(&["test", "--watch"]));
        command.current_dir(dir.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self {
            dir,
            child,
            out,
            err,
        }
    }

    /// Replaces a file as a whole, as editors do: a build must not see half of it.
    fn write(&self, file: &str, bytes: &[u8]) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(&new, self.dir.path().join(file)).unwrap();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The same command with the usual effect of SIGINT, which a shell that started the tests in the
/// background has turned off.
fn interruptible(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=INT").arg(command.get_program());
    env.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    env
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            _ = sender.send(line);
        }
    });
    lines
}

/// Waits for a line.
fn until(lines: &Receiver<String>, text: &str) {
    let (end, mut seen) = (Instant::now() + PATIENCE, Vec::new());
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line == text => return,
            Ok(line) => seen.push(line),
            Err(error) => panic!("{error}: never {text:?}: {seen:#?}"),
        }
    }
}

#[test]
fn every_change_is_tested_until_ctrl_c_ends_it() {
    let mut watching = Watching::start();
    until(&watching.out, "  ok   one");
    until(&watching.out, "1 scenario, 0 failed");
    until(&watching.err, "waiting for a change …");
    // The scenarios.
    let others = SCENARIOS.replace("event: noted", "event: changed");
    watching.write("rules.yaml", others.as_bytes());
    until(&watching.out, "  FAIL one");
    until(&watching.out, "1 scenario, 1 failed");
    until(&watching.err, "error: 1 of 1 scenarios failed");
    until(&watching.err, "waiting for a change …");
    // The source: it is built before it is tested.
    watching.write("source", &note().event("changed", 1).component());
    until(&watching.out, "  FAIL one");
    until(&watching.out, "events: 1 of 2 seen; never: note changed");
    until(&watching.err, "waiting for a change …");
    let pid = watching.child.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
    assert!(sent.unwrap().success());
    let after = watching.err.recv_timeout(PATIENCE);
    assert_eq!(after, Err(RecvTimeoutError::Disconnected));
    let ended = watching.child.wait().unwrap();
    assert_eq!(ended.signal(), Some(INTERRUPT), "{ended}");
}
