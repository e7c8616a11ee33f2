//! Signed components, unused components, rejections, shadows, and the history.

use std::os::unix::fs::PermissionsExt;

use quipu_tests::probe::{Probe, probe};
use serde_json::Value;

use crate::program::{Served, run, text};

pub fn decider() -> Probe {
    probe("note").event("noted", 1)
}

pub fn file(dir: &std::path::Path, name: &str, component: &Probe) -> String {
    let file = dir.join(name).with_extension("wasm");
    std::fs::write(&file, component.component()).unwrap();
    text(&file)
}

fn note(host: &Served, word: &str) {
    let events = format!("[[\"noted\", {{\"word\": \"{word}\"}}]]");
    host.run(&["execute", "note-1", "note", &events]);
}

#[test]
fn a_host_with_keys_accepts_only_signed_components() {
    let dir = tempfile::tempdir().unwrap();
    let (pem, other) = (
        text(&dir.path().join("key.pem")),
        text(&dir.path().join("other.pem")),
    );
    let key = run(&["key", &pem]).ok();
    run(&["key", &other]).ok();
    run(&["key", &pem]).fails(1, "File exists");
    let mode = std::fs::metadata(&pem).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, format!("keys = [\"{}\"]\n", key.trim())).unwrap();
    let component = file(dir.path(), "note", &decider());
    let host = Served::start_in(dir, &["--config", &text(&config)]);
    host.run(&["deploy", &component]).fails(1, "is not signed");
    run(&["sign", &component, "--key", &other]).ok();
    host.run(&["deploy", &component]).fails(1, "signed by");
    let said = run(&["sign", &component, "--key", &pem]).ok();
    assert!(
        said.ends_with(&format!("note.wasm.sig: signed by {key}")),
        "{said}"
    );
    let deployed = host.run(&["deploy", &component]).ok();
    assert!(deployed.starts_with("plan 1: note"), "{deployed}");
    // A different file with the same signature.
    std::fs::write(&component, decider().version("2.0.0").component()).unwrap();
    host.run(&["deploy", &component])
        .fails(1, "not one of these bytes");
    std::fs::write(format!("{component}.sig"), "ed25519 x").unwrap();
    host.run(&["deploy", &component])
        .fails(1, "a signature is ed25519");
    run(&["sign", &component, "--key", &component]).fails(1, "");
}

#[test]
fn invalid_keys_are_reported_at_startup() {
    let dir = tempfile::tempdir().unwrap();
    let config = text(&dir.path().join("quipu.toml"));
    std::fs::write(&config, "keys = [\"abc\"]\n").unwrap();
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let said = run(&[
        "serve",
        "--store",
        &store,
        "--config",
        &config,
        "--listen",
        "127.0.0.1:0",
    ]);
    said.fails(
        2,
        "keys: key \"abc\": the 32 bytes of an ed25519 public key in base64",
    );
}

#[test]
fn rejections_are_listed_and_redecided_by_a_preflight() {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let active = decider().decides("reject");
    host.run(&["deploy", &file(&host.path(""), "first", &active)])
        .ok();
    for word in ["plain", "odd", "odd"] {
        note(&host, word);
    }
    let table = host.run(&["rejections"]).ok();
    let row = table.lines().nth(1).unwrap();
    for said in [
        "note-1",
        "note",
        "[[\"noted\", {\"word\": \"odd\"}]]",
        "too-odd",
        "it is too odd",
    ] {
        assert!(row.contains(said), "{said}\n{table}");
    }
    let json = host
        .run(&["rejections", "note", "--limit", "1", "--json"])
        .ok();
    let rejected: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rejected["version"], 1);
    assert_eq!(host.run(&["rejections", "other", "--json"]).ok(), "");
    let accepting = file(&host.path(""), "second", &decider());
    let output = host.run(&["preflight", &accepting]);
    for line in [
        "note      note                      0           0         2       0",
        "blocks: accepted: note note: 2 of 2 that were rejected are accepted",
        "  it is accepted now",
        "  - rejected as too-odd: it is too odd",
        "  + noted 1 {\"word\": \"odd\"}",
    ] {
        assert!(
            output.out.lines().any(|it| it == line),
            "{line}\n{}",
            output.out
        );
    }
    let verified = host.run(&["verify"]).ok();
    assert!(
        verified.contains("2 rejections re-decided, 2 the same"),
        "{verified}"
    );
    host.run(&["deploy", &accepting, "--allow", "accepted"])
        .ok();
    let history = host.run(&["deployments"]).ok();
    let said = "1 of 1 the same; allowed: accepted";
    assert!(history.contains(said), "{history}");
    let second: Value = host
        .run(&["deployments", "--json"])
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .next_back()
        .unwrap();
    assert_eq!(second["preflight"]["objections"][0]["count"], 2);
    note(&host, "more");
    let digest = second["digest"].as_str().unwrap();
    let events = host.run(&["events", "--module", digest]).ok();
    assert!(
        events.contains("more") && !events.contains("plain"),
        "{events}"
    );
}

#[test]
fn components_that_were_never_activated_are_removed() {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    host.run(&["deploy", &file(&host.path(""), "first", &decider())])
        .ok();
    let candidate = file(&host.path(""), "second", &decider().version("2.0.0"));
    host.run(&["preflight", &candidate]).ok();
    assert_eq!(
        host.run(&["prune"]).ok(),
        "0 components of 0 bytes removed\n"
    );
    let dry = host.run(&["prune", "--hours", "0", "--dry-run"]).ok();
    assert!(
        dry.contains("1 component of") && dry.ends_with("to be removed\n"),
        "{dry}"
    );
    let json = host.run(&["prune", "--hours", "0", "--json"]).ok();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["removed"], json["modules"].as_array().unwrap().len()),
        (&true.into(), 1)
    );
    assert_eq!(
        host.run(&["prune", "--hours", "0"]).ok(),
        "0 components of 0 bytes removed\n"
    );
}

#[test]
fn a_shadow_reports_decisions_that_differ() {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    host.run(&["deploy", &file(&host.path(""), "first", &decider())])
        .ok();
    let other = file(&host.path(""), "other", &decider().decides("other"));
    std::thread::scope(|scope| {
        let shadow =
            scope.spawn(|| host.run(&["shadow", &other, "--seconds", "4", "--cpu", "100"]));
        while !shadow.is_finished() {
            note(&host, "odd");
        }
        let output = shadow.join().unwrap();
        assert!(output.out.contains("0 went by unseen"), "{}", output.out);
        assert!(
            output.out.contains("come to other events"),
            "{}",
            output.out
        );
        assert_eq!(output.code, 1);
        assert!(
            output.err.contains("it decides otherwise"),
            "{}",
            output.err
        );
    });
    let same = file(&host.path(""), "same", &decider().version("1.0.1"));
    let json = host
        .run(&["shadow", &same, "--seconds", "2", "--share", "50", "--json"])
        .ok();
    let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["ended"], &last["found"]["passes"]),
        (&"time".into(), &true.into())
    );
    host.run(&["shadow", &same, "--share", "0"])
        .fails(2, "0 is not in 1..=100");
}
