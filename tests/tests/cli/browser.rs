//! The console and the guard against other pages, in a real browser: see `tests/browser`.

use std::path::Path;
use std::process::Command;

use xtask::interpreters::PYTHON;
use xtask::{axe, chromium};

/// Runs a program of that folder.
fn check(program: &str, other: &[&str]) {
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
        .args(other);
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
