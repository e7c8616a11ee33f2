//! Appending, archiving, and reading the log.

use serde_json::{Value, json};

use crate::program::{Served, run, text};

const ID: &str = "0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f";

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The positions of a table of events, or of NDJSON.
fn positions(text: &str) -> Vec<u64> {
    let position = |line: &str| match line.starts_with('{') {
        true => serde_json::from_str::<Value>(line).unwrap()["position"]
            .as_u64()
            .unwrap(),
        false => line.split_whitespace().next().unwrap().parse().unwrap(),
    };
    text.lines().map(position).collect()
}

#[test]
fn an_event_is_appended_once_under_its_id() {
    let host = Served::start();
    let args = [
        "append",
        "note-1",
        "noted",
        "{\"n\": 1.50}",
        "--event-id",
        ID,
        "--tag",
        "room:7",
        "--tag",
        "of:ann",
        "--metadata",
        "{\"from\":\"desk\"}",
    ];
    let said = host.run(&args).ok();
    assert!(said.starts_with("note-1 is at version 1\n"), "{said}");
    assert!(said.contains(&format!("position 1  {ID}")), "{said}");
    let again = host.run(&args).ok();
    assert!(
        again.starts_with("note-1 is at version 1, replayed\n"),
        "{again}"
    );
    let events = host.run(&["stream", "note-1", "--json"]).ok();
    let event = &json_lines(&events)[0];
    assert!(events.contains("\"data\":{\"n\": 1.50}"), "{events}");
    assert_eq!(event["tags"], json!(["room:7", "of:ann"]));
    assert_eq!(event["metadata"], json!({"from": "desk"}));
    let other = ["append", "note-1", "noted", "2", "--event-id", ID];
    host.run(&other).fails(1, "idempotency-key-reused");
    let keyed = ["append", "note-2", "noted", "-", "--id", "k1", "--json"];
    let first = host.run_with(&keyed, "{\n}").ok();
    assert_eq!(json_lines(&first)[0]["replayed"], false);
    let again = host.run_with(&keyed, "{\n}").ok();
    assert_eq!(json_lines(&again)[0]["replayed"], true);
}

#[test]
fn an_append_and_a_command_expect_a_version() {
    let host = Served::start();
    let append = |expected: &str| {
        let args = ["append", "note-1", "noted", "--expected-version", expected];
        host.run(&args)
    };
    append("stream-exists").fails(4, "expected an existing stream");
    append("no-stream").ok();
    append("no-stream").fails(4, "expected no stream, found version 1");
    append("1").ok();
    append("1").fails(4, "expected version 1, found version 2");
    append("any").ok();
    append("stream-exists").ok();
    for wrong in ["-1", "exact", "1.5", ""] {
        let args = format!("--expected-version={wrong}");
        run(&["append", "note-1", "noted", &args]).fails(2, "no-stream");
    }
    let open = ["execute", "account-1", "open", "{\"owner\":\"ann\"}"];
    let expecting = |expected| [&open[..], &["--expected-version", expected]].concat();
    host.run(&expecting("stream-exists")).fails(4, "existing");
    host.run(&expecting("no-stream")).ok();
    host.run(&expecting("0")).fails(4, "expected version 0");
}

#[test]
fn a_category_with_a_decider_takes_raw_events_only_on_request() {
    let host = Served::start();
    let append = ["append", "account-1", "opened", "{\"owner\":\"ann\"}"];
    host.run(&append).fails(1, "category-owned");
    host.run(&[&append[..], &["--raw"]].concat()).ok();
    let state = host.run(&["stream", "account-1", "--state"]).ok();
    assert!(state.contains("\"owner\": \"ann\""), "{state}");
}

#[test]
fn a_file_is_appended_to_all_of_its_streams_or_to_none() {
    let host = Served::start();
    let noted = json!({"type": "noted", "data": 1});
    let document = json!({"streams": [
        {"stream": "note-1", "expected_version": "no-stream", "events": [noted, noted]},
        {"stream": "note-2", "expected_version": "any", "events": [noted]},
        {"stream": "note-3", "expected_version": 0},
    ]});
    let file = text(&host.path("append.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&document).unwrap()).unwrap();
    let append = ["append", "--file", &file, "--id", "k1"];
    let said = host.run(&append).ok();
    for part in [
        "note-1 is at version 2\n",
        "note-2 is at version 1\n",
        "note-3 is at version 0\n",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(host.run(&append).ok().contains("version 2, replayed\n"));
    let piped = ["append", "--file", "-", "--json"];
    host.run_with(&piped, &document.to_string())
        .fails(4, "stream note-1: expected no stream, found version 2");
    let more = document.to_string().replace("no-stream", "stream-exists");
    let answer = host.run_with(&piped, &more).ok();
    assert_eq!(json_lines(&answer)[0]["streams"][0]["version"], 4);
    host.run_with(&piped, "{\"streams\":").fails(2, "stdin");
    host.run_with(&piped, "{\"stream\":[]}")
        .fails(2, "unknown field `stream`");
    host.run(&["append", "--file", "no-such"])
        .fails(1, "no-such");
}

#[test]
fn invalid_appends_are_usage_errors() {
    run(&["append"]).fails(2, "<STREAM>");
    run(&["append", "note-1"]).fails(2, "<TYPE>");
    run(&["append", "note-1", "noted", "{"]).fails(2, "data: ");
    run(&["append", "note\n", "noted"]).fails(2, "control character");
    run(&["append", "--file", "f", "note-1", "noted"]).fails(2, "cannot be used");
    run(&["append", "--file", "f", "--tag", "a:b"]).fails(2, "cannot be used");
    let host = Served::start();
    for (wrong, said) in [
        (["--metadata", "[1]"], "metadata must be a JSON object"),
        (["--metadata", "{"], "metadata: "),
        (["--tag", "plain"], "name:value"),
        (["--event-id", "7"], "no UUID"),
    ] {
        let args = [&["append", "note-1", "noted"][..], &wrong].concat();
        host.run(&args).fails(2, said);
    }
}

#[test]
fn an_archived_stream_is_left_out_until_it_is_restored() {
    let host = Served::start();
    for stream in ["note-1", "note-2", "memo-1"] {
        host.run(&["append", stream, "noted"]).ok();
    }
    let archive = ["archive", "note-2"];
    assert_eq!(
        host.run(&archive).ok(),
        "note-2 is archived at position 4\n"
    );
    assert_eq!(host.run(&archive).ok(), "note-2 was archived before\n");
    host.run(&["append", "note-2", "noted"])
        .fails(1, "stream-archived");
    let listed = |args: &[&str]| {
        let args = [&["streams", "--json"][..], args].concat();
        let lines = json_lines(&host.run(&args).ok());
        let name = |line: &Value| line["stream"].as_str().unwrap().to_owned();
        lines.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--category", "note"]), ["note-1"]);
    assert_eq!(listed(&["--archived", "only"]), ["note-2"]);
    assert_eq!(
        listed(&["--category", "note", "--archived", "with"]),
        ["note-1", "note-2"]
    );
    assert_eq!(listed(&["--after", "memo-1"]), ["note-1"]);
    assert_eq!(listed(&["--limit", "1", "--category", "memo"]), ["memo-1"]);
    let table = host.run(&["streams", "--archived", "only"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("stream"), "{table}");
    assert!(
        lines[1].starts_with("note-2") && lines.len() == 2,
        "{table}"
    );
    assert_eq!(lines[1].split_whitespace().count(), 4, "{table}");

    let restore = ["restore", "note-2", "--json"];
    let restored = json_lines(&host.run(&restore).ok());
    assert_eq!(
        restored[0],
        json!({"stream": "note-2", "archived": false, "position": 5})
    );
    assert_eq!(
        host.run(&["restore", "note-2"]).ok(),
        "note-2 was not archived\n"
    );
    host.run(&["append", "note-2", "noted"]).ok();
    host.run(&["archive", "note-9"])
        .fails(1, "stream-not-found");
    host.run(&["archive", "$streams"])
        .fails(2, "belong to the host");
}

#[test]
fn the_log_is_filtered_and_read_both_ways() {
    let host = Served::start();
    for (stream, name, tag) in [
        ("note-1", "noted", "a:1"),
        ("memo-1", "noted", "a:2"),
        ("note-2", "erased", "b:1"),
        ("other-1", "noted", "b:1"),
    ] {
        host.run(&["append", stream, name, "--tag", tag]).ok();
    }
    host.run(&["archive", "note-2"]).ok();
    let read = |args: &[&str]| {
        let table = positions(&host.run(&[&["events"][..], args].concat()).ok());
        let json = positions(&host.run(&[&["events", "--json"][..], args].concat()).ok());
        assert_eq!(table, json, "{args:?}");
        table
    };
    assert_eq!(read(&[]), [1, 2, 3, 4, 5]);
    assert_eq!(read(&["--category", "note", "--category", "memo"]), [1, 2]);
    assert_eq!(read(&["--category", "note", "--archived", "with"]), [1, 3]);
    assert_eq!(read(&["--archived", "without", "--tag", "b:1"]), [4]);
    assert_eq!(read(&["--type", "noted", "--type", "erased"]), [1, 2, 3, 4]);
    assert_eq!(read(&["--tag", "a:2", "--tag", "b:1"]), [2, 3, 4]);
    assert_eq!(read(&["--prefix", "note-"]), [1, 3]);
    assert_eq!(read(&["--backward", "--limit", "2"]), [5, 4]);
    assert_eq!(read(&["--backward", "--after", "3"]), [2, 1]);
    assert_eq!(read(&["--after", "3"]), [4, 5]);
    assert_eq!(read(&["--to", "2"]), [1, 2]);
    assert_eq!(read(&["--after", "1", "--to", "3"]), [2, 3]);
    assert_eq!(read(&["--to", "3", "--backward"]), [3, 2, 1]);
    assert_eq!(
        read(&["--not-category", "note", "--not-category", "$streams"]),
        [2, 4]
    );
    assert_eq!(read(&["--not-type", "noted", "--to", "4"]), [3]);
    assert_eq!(
        read(&["--not-prefix", "note-2", "--not-prefix", "$"]),
        [1, 2, 4]
    );
    assert_eq!(read(&["--not-tag", "b:1", "--type", "noted"]), [1, 2]);
    let stream = |args: &[&str]| {
        let args = [&["stream", "many-1", "--json"][..], args].concat();
        let lines = json_lines(&host.run(&args).ok());
        let version = |line: &Value| line["version"].as_u64().unwrap();
        lines.iter().map(version).collect::<Vec<_>>()
    };
    for _ in 0..4 {
        host.run(&["append", "many-1", "noted"]).ok();
    }
    assert_eq!(stream(&["--to", "2"]), [1, 2]);
    assert_eq!(stream(&["--from", "2", "--to", "3"]), [2, 3]);
    assert_eq!(stream(&["--to", "3", "--backward"]), [3, 2, 1]);
    run(&["stream", "many-1", "--to", "2", "--follow"]).fails(2, "cannot be used");
    run(&["stream", "many-1", "--to", "2", "--state"]).fails(2, "cannot be used");
    run(&["events", "--to", "2", "--follow"]).fails(2, "cannot be used");
    for filter in [
        ["--not-type", "noted"],
        ["--category", "note"],
        ["--to", "3"],
    ] {
        run(&[&["events", "--module", "abcd"][..], &filter].concat()).fails(2, "cannot be used");
    }
    host.run(&["events", "--not-type="]).fails(2, "not_type");
    run(&["events", "--archived", "only"]).fails(2, "--archived");
    run(&["events", "--backward", "--follow"]).fails(2, "cannot be used");
    host.run(&["events", "--tag", "plain"])
        .fails(2, "name:value");
}

#[test]
fn many_streams_and_events_are_read_page_by_page() {
    let host = Served::start();
    let part = |n: usize| {
        let noted = json!({"type": "noted", "data": n});
        json!({"stream": format!("note-{n:04}"), "expected_version": 0, "events": [noted]})
    };
    for first in [0, 1_000] {
        let parts: Vec<Value> = (first..first + 600).map(part).collect();
        let document = json!({ "streams": parts }).to_string();
        host.run_with(&["append", "--file", "-"], &document).ok();
    }
    let streams = host.run(&["streams"]).ok();
    assert_eq!(streams.lines().count(), 1_201);
    let limited = host.run(&["streams", "--limit", "1100", "--json"]).ok();
    let limited = json_lines(&limited);
    assert_eq!(
        (limited.len(), &limited[1_099]["stream"]),
        (1_100, &json!("note-1499"))
    );
    let backward = positions(&host.run(&["events", "--backward"]).ok());
    assert_eq!(backward, (1..=1_200).rev().collect::<Vec<_>>());
}

#[test]
fn one_event_is_shown_with_its_command() {
    let host = Served::start();
    let open = ["execute", "account-1", "open", "{\"owner\":\"ann\"}"];
    host.run(&[&open[..], &["--id", "k1"]].concat()).ok();
    host.run(&["append", "note-1", "noted", "{\"n\": 1.50}", "--tag", "a:b"])
        .ok();
    let decided = host.run(&["event", "1"]).ok();
    let value = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name}  ")));
        let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
        line[name.len()..].trim().to_owned()
    };
    for (name, expected) in [
        ("stream", "account-1"),
        ("version", "1"),
        ("type", "opened"),
        ("decided by", "account 0.1.0"),
        ("command id", "k1"),
        ("correlation id", "k1"),
        ("causation id", "-"),
        ("principal", "-"),
        ("traceparent", "-"),
        ("metadata", "{}"),
    ] {
        assert_eq!(value(&decided, name), expected, "{name}");
    }
    assert_eq!(value(&decided, "module").len(), 64);
    assert!(value(&decided, "fuel").parse::<u64>().unwrap() > 0);
    let (event, command) = decided.split_once("\ncommand  ").unwrap();
    assert!(event.ends_with("\n{\"owner\":\"ann\"}\n"), "{decided}");
    let command = format!("command  {command}");
    for (name, expected) in [
        ("command", "open"),
        ("id", "k1"),
        ("content type", "application/json"),
        ("correlation id", "k1"),
        ("metadata", "{}"),
    ] {
        assert_eq!(value(&command, name), expected, "{name}");
    }
    assert_eq!(value(&command, "seed").len(), 64);
    assert!(value(&command, "accepted at") <= value(&decided, "recorded at"));
    assert!(command.ends_with("\n{\"owner\":\"ann\"}\n"), "{command}");
    let raw = host.run(&["event", "2"]).ok();
    assert_eq!(
        value(&raw, "decided by"),
        "nobody: it was appended as it is"
    );
    assert_eq!(value(&raw, "tags"), "a:b");
    assert!(raw.ends_with("\n{\"n\": 1.50}\n"), "{raw}");
    let json = json_lines(&host.run(&["event", "2", "--json"]).ok());
    assert_eq!(
        (&json[0]["position"], json[0].get("command")),
        (&json!(2), None)
    );
    let json = json_lines(&host.run(&["event", "1", "--json"]).ok());
    assert_eq!(json[0]["command"]["data"], json!({"owner": "ann"}));
    host.run(&["event", "3"]).fails(1, "event-not-found");
    run(&["event", "x"]).fails(2, "<POSITION>");
}

#[test]
fn a_config_file_adds_to_the_metadata_of_every_request() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, "[metadata]\nregion = \"eu-1\"\n").unwrap();
    let path = text(&config);
    let host = Served::start_in(dir, &["--config", &path]);
    let append = ["append", "note-1", "noted"];
    host.run(&append).ok();
    host.run(&[&append[..], &["--metadata", "{\"region\":\"us\"}"]].concat())
        .ok();
    let events = json_lines(&host.run(&["events", "--json"]).ok());
    assert_eq!(events[0]["metadata"], json!({"region": "eu-1"}));
    assert_eq!(events[1]["metadata"], json!({"region": "us"}));
    std::fs::write(&config, "[metadata]\n\"quipu.principal\" = \"root\"\n").unwrap();
    run(&["serve", "--config", &path]).fails(2, "belong to the host");
}
