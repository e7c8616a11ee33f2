//! Commands for authors of guests.

mod conform;
mod dev;
mod diff;
mod projects;
mod recording;
mod scenarios;
mod sdks;
// SIGINT is set up by a tool of Linux.
#[cfg(target_os = "linux")]
mod watching;

use std::path::Path;

use quipu_tests::examples;

use crate::program::{Said, quipu, said};

/// Runs a command in a folder.
fn run_in(dir: &Path, args: &[&str]) -> Said {
    said(&quipu(args).current_dir(dir).output().unwrap())
}

/// A folder with the example guest `account`, and a file of scenarios.
fn with_scenarios(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("account.wasm"), examples::account()).unwrap();
    std::fs::write(dir.path().join("rules.yaml"), text).unwrap();
    dir
}
