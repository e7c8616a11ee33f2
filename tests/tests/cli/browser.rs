//! The console, the client for TypeScript and the guard against other pages, in a real browser: see
//! `tests/browser`.

use std::path::Path;
use std::process::Command;

use quipu_tests::examples;
use xtask::interpreters::PYTHON;
use xtask::{axe, chromium};

use crate::program::text;

/// Runs a program of that folder.
fn check(program: &str, args: &[&str]) {
    let (chromium, _) = chromium::find().unwrap_or_else(|error| panic!("{error:#}"));
    if let Err(error) = PYTHON.find() {
        panic!("{error:#}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut python = Command::new(PYTHON.program);
    python
        .arg(folder.join(program))
        .args(["--quipu", env!("CARGO_BIN_EXE_quipu-program")])
        .args(["--chromium", chromium])
        .args(args);
    let output = python.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// No page reports an error, violates the content policy or scrolls sideways, what comes from
/// strangers is inert, the keyboard reaches everything, and axe-core finds nothing.
#[test]
fn every_page_of_the_console_works_in_a_browser() {
    let program = Path::new(env!("CARGO_BIN_EXE_quipu-program"));
    let target = program.ancestors().nth(2).unwrap();
    let axe = axe::find(target).unwrap_or_else(|error| panic!("{error:#}"));
    check("console.py", &["--axe", &axe.display().to_string()]);
}

#[test]
fn a_page_of_another_origin_changes_and_reads_nothing() {
    check("run.py", &[]);
}

/// It executes commands, reads a document and subscribes from another origin, and resumes after the
/// host was killed.
#[test]
fn the_client_for_typescript_works_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("loan.wasm"), examples::loan()).unwrap();
    std::fs::write(dir.path().join("loan-views.wasm"), examples::loan_views()).unwrap();
    check("client.py", &["--modules", &text(dir.path())]);
}
