use quipu_tests::coin::coin;
use quipu_tests::probe::probe;
use serde_json::{Value, json};

use crate::program::{Served, run, text};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn rejections_conflicts_and_failures_have_different_exit_codes() {
    let host = Served::start();
    let open = [
        "execute",
        "account-1",
        "open",
        "{\"owner\":\"ann\"}",
        "--id",
        "o1",
    ];
    assert!(
        host.run(&open)
            .ok()
            .starts_with("account-1 is at version 1\n")
    );
    assert!(
        host.run(&open)
            .ok()
            .starts_with("account-1 is at version 1, replayed\n")
    );
    let withdraw = ["execute", "account-1", "withdraw", "{\"amount\":5}"];
    host.run(&withdraw).fails(3, "insufficient-funds");
    let stale = [
        "execute",
        "account-1",
        "deposit",
        "{\"amount\":5}",
        "--expected-version",
        "7",
    ];
    host.run(&stale)
        .fails(4, "expected version 7, found version 1");
    host.run(&["execute", "nobody-1", "go"])
        .fails(1, "unknown-category");
    host.run(&[
        "execute",
        "account-1",
        "open",
        "{\"owner\":\"bob\"}",
        "--id",
        "o1",
    ])
    .fails(1, "idempotency-key-reused");
    host.run(&["stream", "account-2"])
        .fails(1, "stream-not-found");
    host.run(&["execute", "quipu\n", "go"])
        .fails(2, "control character");
}

#[test]
fn an_unreachable_host_is_reported_with_a_hint() {
    let args = ["events", "--url", "http://127.0.0.1:9"];
    run(&args).fails(1, "quipu serve");
}

#[test]
fn a_limit_of_zero_and_a_token_of_two_lines_are_usage_errors() {
    run(&["events", "--limit", "0"]).fails(2, "--limit");
    run(&["events", "--token", "a\nb"]).fails(2, "token");
}

#[test]
fn a_closed_or_full_output_never_causes_a_panic() {
    use std::fs::OpenOptions;
    use std::process::Stdio;
    let host = Served::start();
    let file = text(&host.path("modules/account.wasm"));
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = crate::program::quipu(&["inspect", &file])
        .stdout(Stdio::from(full()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let mute = crate::program::quipu(&["inspect", "no-such.wasm"])
        .stderr(Stdio::from(full()))
        .output()
        .unwrap();
    assert_eq!(mute.status.code(), Some(1));
}

#[test]
fn json_output_has_one_value_per_line() {
    let host = Served::start();
    let data = "{\n  \"owner\": \"ann\"\n}\n";
    let executed = host
        .run_with(&["execute", "account-1", "open", "-", "--json"], data)
        .ok();
    assert_eq!(json_lines(&executed)[0]["version"], 1);
    host.run(&["execute", "account-1", "deposit", "{\"amount\":5}"])
        .ok();
    for args in [
        &["events", "--json"][..],
        &["stream", "account-1", "--json"],
    ] {
        let events = json_lines(&host.run(args).ok());
        assert_eq!(events.len(), 2);
        assert_eq!(events[1]["data"], json!({"amount": 5}));
    }
    let state = json_lines(&host.run(&["stream", "account-1", "--state", "--json"]).ok());
    assert_eq!(state[0]["state"]["balance"], 5);
    let deployments = json_lines(&host.run(&["deployments", "--json"]).ok());
    assert_eq!(deployments.len(), 2);
    assert_eq!(
        json_lines(&host.run(&["deployments", "loan", "--json"]).ok())[0]["name"],
        "loan"
    );
}

#[test]
fn output_without_json_is_a_table() {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    host.run(&["execute", "account-1", "deposit", "{\"amount\":5}"])
        .ok();
    let events = host.run(&["events", "--type", "deposited"]).ok();
    assert_eq!(events.lines().count(), 1);
    assert!(events.contains("deposited  {\"amount\":5}"), "{events}");
    let backward = host.run(&["stream", "account-1", "--backward"]).ok();
    assert!(backward.starts_with("2  "), "{backward}");
    let limited = host
        .run(&["events", "--limit", "1", "--prefix", "acc"])
        .ok();
    assert!(
        limited.contains("opened") && limited.lines().count() == 1,
        "{limited}"
    );
    assert!(
        host.run(&["stream", "account-1", "--state"])
            .ok()
            .contains("\"balance\": 5")
    );
    assert!(host.run(&["deployments"]).ok().contains("active"));
}

#[test]
fn deploying_and_inspecting_name_the_component() {
    let host = Served::start();
    let file = text(&host.path("modules/account.wasm"));
    let deployed = host.run(&["deploy", &file, "--no-preflight", "--json"]);
    assert_eq!(deployed.err, "");
    let deployed = json_lines(&deployed.ok());
    assert_eq!(
        (&deployed[0]["plan"], &deployed[0]["name"]),
        (&json!(3), &json!("account"))
    );
    let noted = host.run(&["deploy", &file]);
    // It does not replace another module.
    assert_eq!(noted.err, "");
    let noted = noted.ok();
    assert!(noted.starts_with("plan 4: account 0.1.0 is active, "));
    let said = "\naccount 0.1.0 was active already; each deploy raises the number of the plan\n";
    assert!(noted.ends_with(said), "{noted}");
    let inspected = json_lines(&run(&["inspect", &file, "--json"]).ok());
    assert_eq!(inspected[0]["digest"], deployed[0]["digest"]);
    assert!(run(&["inspect", &file]).ok().contains("exports  decider"));
    let junk = text(&host.path("junk.wasm"));
    std::fs::write(&junk, "junk").unwrap();
    run(&["inspect", &junk]).fails(1, "not a component");
    host.run(&["deploy", &junk]).fails(1, "module-refused");
    host.run(&["deploy", "no-such.wasm"])
        .fails(1, "no-such.wasm");
}

#[test]
fn inspecting_shows_steps_and_migrations() {
    let dir = tempfile::tempdir().unwrap();
    let file = text(&dir.path().join("note.wasm"));
    let component = probe("note")
        .event("noted", 3)
        .step("note", ("noted", 1), &[("noted", 2)])
        .step("note", ("noted", 2), &[("noted", 3)])
        .step("note", ("gone", 1), &[])
        .state(3, &[(1, 2), (2, 3)]);
    std::fs::write(&file, component.component()).unwrap();
    let shown = run(&["inspect", &file]).ok();
    let rows: Vec<String> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for row in [
        "state schema version 3",
        "migrations of the state 1 to 2, 2 to 3",
    ] {
        assert!(rows.iter().any(|it| it == row), "{row}\n{shown}");
    }
    assert!(shown.contains("step from"), "{shown}");
    assert!(shown.contains("nothing: it is dropped"), "{shown}");
}

#[test]
fn a_state_is_shown_with_every_digit() {
    const WEI: &str = "12000000000000000000000000000012";
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let file = text(&host.path("coin.wasm"));
    std::fs::write(&file, coin()).unwrap();
    host.run(&["deploy", &file]).ok();
    let deposit = format!("{{\"wei\":{WEI}}}");
    host.run(&["execute", "coin-1", "deposit", &deposit]).ok();
    for args in [
        &["stream", "coin-1", "--state"][..],
        &["stream", "coin-1", "--state", "--json"],
    ] {
        let shown = host.run(args).ok();
        assert!(shown.contains(WEI), "{shown}");
    }
}
