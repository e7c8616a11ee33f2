//! Hosts in processes of their own, which can be killed and suspended.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use quipu_tests::Place;
use quipu_tests::probe::Probe;

/// A process that runs the projections of a store.
pub struct Projector {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Projector {
    /// Starts a process with these actions.
    pub fn start(place: &Place, lease: Duration, orders: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_projector"))
            .args([place.url(), &lease.as_millis().to_string()])
            .args(orders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits until the process reports an action.
    pub fn until(&mut self, order: &str) {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "it ended before {order}");
            if line.trim_end() == order {
                return;
            }
        }
    }

    pub fn kill(mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Suspends the process until it is resumed.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Writes a component to a file for a process.
pub fn written(place: &Place, probe: &Probe) -> PathBuf {
    let path = place.path("notes.wasm");
    std::fs::write(&path, probe.component()).unwrap();
    path
}
