//! Acknowledged events that a promoted standby lacks, as an operator sees them.

use quipu_tests::Place;
use serde_json::Value;

use crate::program::{Served, quipu, run};

const NOTES: [&str; 4] = ["append", "note-1", "noted", "{}"];

/// A host on a store in which another host has found that events are missing.
fn host(place: &Place) -> Served {
    run(&["migrate", "--store", place.url()]).ok();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mark = "INSERT INTO meta VALUES ('lost', int8send(4) || int8send(43))";
    runtime.block_on(place.tamper(mark));
    let command = quipu(&["serve", "--store", place.url(), "--listen", "127.0.0.1:0"]);
    Served::ready(tempfile::tempdir().unwrap(), command)
}

/// Repeats an append: a host notices a little later that a loss was accepted.
fn until_appended(host: &Served) -> String {
    loop {
        let said = host.run(&[&NOTES[..], &["--json"]].concat());
        if !said.err.contains("events-lost") {
            return said.ok();
        }
    }
}

fn ready(host: &Served) -> (u16, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let answer = reqwest::get(format!("{}/readyz", host.url)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

#[test]
fn a_loss_is_shown_everywhere_until_an_operator_accepts_it() {
    let place = Place::postgres();
    let host = host(&place);
    host.run(&NOTES).fails(1, "events-lost");
    let status = host.run(&["status"]).ok();
    assert!(
        status.contains("acknowledged events at positions 4 to 43 are missing"),
        "{status}"
    );
    let status: Value = serde_json::from_str(&host.run(&["status", "--json"]).ok()).unwrap();
    assert_eq!(status["lost"]["from"], 4);
    assert_eq!(status["lost"]["to"], 43);
    let (status, ready) = ready(&host);
    assert_eq!(status, 503);
    assert!(ready.contains("positions 4 to 43"), "{ready}");

    let accept = |more: &[&str]| run(&[&["accept-loss", "--store", place.url()], more].concat());
    accept(&[]).fails(2, "--reason");
    let missing = accept(&["--dry-run"]).ok();
    assert_eq!(missing, "missing   the events at positions 4 to 43\n");
    let accepted = accept(&["--reason", "the old primary is gone", "--json"]).ok();
    let accepted: Value = serde_json::from_str(&accepted).unwrap();
    assert_eq!(accepted["accepted"], true);
    accept(&["--reason", "twice"]).fails(1, "no host has found");

    // The host was started after the loss was found.
    let appended = until_appended(&host);
    let appended: Value = serde_json::from_str(&appended).unwrap();
    assert_eq!(appended["position"], 44);
    let status: Value = serde_json::from_str(&host.run(&["status", "--json"]).ok()).unwrap();
    assert_eq!(status.get("lost"), None);
    let audit = host.run(&["audit", "--json"]).ok();
    let record = audit.lines().find(|line| line.contains("accept_loss"));
    assert!(
        record.unwrap().contains("the old primary is gone"),
        "{audit}"
    );
    host.run(&["audit", "--verify"]).ok();
}

#[test]
fn a_sqlite_file_has_no_loss_to_accept() {
    let place = Place::sqlite();
    let args = ["accept-loss", "--store", place.url(), "--reason", "why"];
    run(&args).fails(1, "only a store in PostgreSQL");
}
