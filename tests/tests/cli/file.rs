use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::program::{Served, text};

/// Accounts that are opened, paid into, and overdrawn once.
fn lines(accounts: usize, deposits: usize) -> String {
    let mut text = String::new();
    let mut line = |account: usize, name: &str, data: Value| {
        let line = json!({"id": account.to_string(), "type": name, "data": data,
            "at": "2011-10-01T00:38:44+02:00", "actor": "112"});
        text += &format!("{line}\n");
    };
    for account in 0..accounts {
        line(account, "open", json!({"owner": "ann"}));
    }
    for amount in 1..=deposits {
        for account in 0..accounts {
            line(account, "deposit", json!({"amount": amount}));
        }
    }
    line(0, "withdraw", json!({"amount": 1_000_000}));
    text
}

fn summary(said: &str) -> Value {
    let mut summary: Value = serde_json::from_str(said).unwrap();
    let members: Vec<&str> = summary
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members.len(), 7, "{members:?}");
    assert!(summary["seconds"].take().as_f64().unwrap() >= 0.0);
    summary
}

#[test]
fn a_file_that_is_executed_twice_is_recorded_once() {
    let host = Served::start();
    let file = text(&host.path("commands.ndjson"));
    std::fs::write(&file, lines(40, 9)).unwrap();
    let args = [
        "execute",
        "--file",
        &file,
        "--category",
        "account",
        "--json",
    ];
    let first = summary(&host.run(&args).ok());
    let expected = json!({"commands": 401, "accepted": 400, "rejected": 1, "replayed": 0,
        "failed": 0, "seconds": null, "rejections": {"insufficient-funds": 1}});
    assert_eq!(first, expected);
    let packed = text(&host.path("commands.ndjson.gz"));
    let mut gz = GzEncoder::new(std::fs::File::create(&packed).unwrap(), Compression::fast());
    gz.write_all(lines(40, 9).as_bytes()).unwrap();
    gz.finish().unwrap();
    let args = [
        "execute",
        "--file",
        &packed,
        "--category",
        "account",
        "--json",
    ];
    let again = summary(&host.run(&args).ok());
    assert_eq!(
        (&again["accepted"], &again["replayed"]),
        (&json!(0), &json!(400))
    );
    let args = [
        "execute",
        "--file",
        "-",
        "--category",
        "account",
        "--json",
        "--in-flight",
        "1",
        "--batch",
        "commands.ndjson",
    ];
    let piped = summary(&host.run_with(&args, &lines(40, 9)).ok());
    assert_eq!(
        (&piped["replayed"], &piped["rejected"]),
        (&json!(400), &json!(1))
    );

    let event = host.run(&["stream", "account-7", "--json"]).ok();
    let event: Value = serde_json::from_str(event.lines().next().unwrap()).unwrap();
    assert_eq!(
        event["metadata"],
        json!({"at": "2011-10-01T00:38:44+02:00", "actor": "112"})
    );
}

#[test]
fn the_summary_has_counts_and_an_example_of_each_rejection() {
    let host = Served::start();
    let args = ["execute", "--file", "-", "--category", "account"];
    let said = host.run_with(&args, &lines(2, 1)).ok();
    for part in [
        "accepted",
        "insufficient-funds",
        "line 5, withdraw account-0",
        "commands/s",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn lines_that_fail_are_reported_and_the_rest_is_executed() {
    let host = Served::start();
    let input = "nonsense\n\n{\"stream\":\"nobody-1\",\"type\":\"go\",\"data\":{}}\n\
        {\"stream\":\"account-1\",\"type\":\"open\",\"data\":{\"owner\":\"a\"}}";
    let said = host.run_with(&["execute", "--file", "-", "--json"], input);
    assert_eq!(said.code, 1);
    for part in [
        "bad-request: 1, line 1",
        "unknown-category: 1, line 3",
        "2 of 3 commands failed",
    ] {
        assert!(said.err.contains(part), "{}", said.err);
    }
    let summary = summary(&said.out);
    assert_eq!(
        (&summary["accepted"], &summary["failed"]),
        (&json!(1), &json!(2))
    );
    host.run(&["execute", "--file", "no-such"])
        .fails(1, "no-such");
}

#[test]
fn a_resumed_run_continues_after_the_last_answered_line() {
    let host = Served::start();
    let file = text(&host.path("commands.ndjson"));
    std::fs::write(&file, lines(3, 2)).unwrap();
    let state_file = text(&host.path("resume.json"));
    let args = [
        "execute",
        "--file",
        &file,
        "--category",
        "account",
        "--resume",
        &state_file,
        "--json",
    ];
    assert_eq!(summary(&host.run(&args).ok())["commands"], 10);
    assert_eq!(summary(&host.run(&args).ok())["commands"], 0);

    let mut state: Value = serde_json::from_slice(&std::fs::read(&state_file).unwrap()).unwrap();
    assert_eq!(
        state["lines"],
        json!({"account-0": 10, "account-1": 8, "account-2": 9})
    );
    state["lines"]["account-1"] = json!(2);
    std::fs::write(&state_file, state.to_string()).unwrap();
    let resumed = summary(&host.run(&args).ok());
    assert_eq!(
        (&resumed["commands"], &resumed["replayed"]),
        (&json!(2), &json!(2))
    );

    std::fs::write(&file, lines(3, 3)).unwrap();
    host.run(&args).fails(1, "another file");
}

#[test]
fn a_run_waits_for_a_host_that_restarts() {
    let host = Served::start();
    let listen = host.url.trim_start_matches("http://").to_owned();
    let file = text(&host.path("commands.ndjson"));
    std::fs::write(&file, lines(200, 60)).unwrap();
    let running = crate::program::quipu(&[
        "execute",
        "--file",
        &file,
        "--category",
        "account",
        "--json",
        "--url",
        &host.url,
    ])
    .stdout(std::process::Stdio::piped())
    .spawn()
    .unwrap();
    while !host.run(&["stream", "account-199"]).out.contains("opened") {}
    host.signal("KILL");
    let (_, dir) = host.ended();
    let again = Served::start_in(dir, &["--listen", &listen]);
    let said = crate::program::said(&running.wait_with_output().unwrap());
    let found = summary(&said.ok());
    assert_eq!(
        (&found["commands"], &found["failed"]),
        (&json!(12_201), &json!(0))
    );
    let events = again.run(&["events", "--json"]).ok();
    assert_eq!(events.lines().count(), 12_200);
}
