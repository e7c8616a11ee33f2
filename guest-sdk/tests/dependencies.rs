//! Tests which packages every author of a guest has to build: a change of them is a decision.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;
use std::{env, fs};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dependencies.txt");

#[test]
fn the_dependency_tree_is_the_one_checked_in() {
    let found = tree();
    if env::var_os("QUIPU_RENEW").is_some() {
        fs::write(SNAPSHOT, &found).unwrap();
    }
    let checked_in = fs::read_to_string(SNAPSHOT).unwrap();
    assert_eq!(
        found, checked_in,
        "the packages that quipu-guest brings have changed; when that is meant, renew the list \
         with `QUIPU_RENEW=1 cargo test -p quipu-guest --test dependencies`"
    );
}

/// Names without versions, so that an update of the lock file isn't a change.
fn tree() -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "-p",
            "quipu-guest",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = lines
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    names
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| format!("{name}\n"))
        .collect()
}
