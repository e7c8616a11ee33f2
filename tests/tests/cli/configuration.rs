use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use quipu_tests::{Place, golden};
use serde_json::{Value, json};

use crate::program::{Said, Served, quipu, run, said, text};
use crate::secrets::CANARY;

/// A file with this content.
pub fn written(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    text(&path)
}

/// Runs a command with variables of the environment.
pub fn run_in(variables: &[(&str, &str)], args: &[&str]) -> Said {
    let mut command = quipu(args);
    command.envs(variables.iter().copied());
    said(&command.output().unwrap())
}

#[test]
fn the_reference_equals_the_published_file() {
    let reference = run(&["config", "--reference"]).ok();
    golden::check("../../docs/src/reference/quipu.toml", &reference);
}

#[test]
fn the_schema_equals_the_published_file() {
    let schema = run(&["config", "--schema"]).ok();
    golden::check("config-schema.json", &schema);
}

#[test]
fn what_is_in_force_is_shown_with_the_places_that_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = "listen = \"127.0.0.1:1\"\n\n[http]\nidle_max_ms = 5\n";
    let file = written(dir.path(), "quipu.toml", file);
    let variables = [
        ("QUIPU_CONFIG", &*file),
        ("QUIPU_HTTP__HEAD_TIME_MAX_MS", "7"),
        ("QUIPU_LISTEN", "127.0.0.1:2"),
    ];
    let shown = run_in(&variables, &["config"]).ok();
    for line in [
        "store = \"sqlite:quipu.db\"",
        "listen = \"127.0.0.1:2\"",
        "[http]",
        "idle_max_ms = 5",
        "head_time_max_ms = 7",
        "body_bytes_max = 25165824",
        "snapshots = { others = \"off\" }",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}\n{shown}");
    }
    // What is shown can be used as a file.
    let copy = written(dir.path(), "copy.toml", &shown);
    assert_eq!(run(&["config", "--config", &copy]).ok(), shown);
    let sources = run_in(&variables, &["config", "--sources"]).ok();
    for line in [
        "store = \"sqlite:quipu.db\" # default".to_owned(),
        "listen = \"127.0.0.1:2\" # QUIPU_LISTEN".to_owned(),
        format!("idle_max_ms = 5 # {file}:4"),
    ] {
        assert!(sources.lines().any(|it| it == line), "{line}\n{sources}");
    }
    let all = run_in(&variables, &["config", "--json"]).ok();
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["http"]["idle_max_ms"], 5);
    assert_eq!(all["modules"], Value::Null);
    let lines = run_in(&variables, &["config", "--sources", "--json"]).ok();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let expected = json!({
        "key": "http.idle_max_ms", "value": 5, "source": "file", "place": format!("{file}:4")
    });
    assert!(lines.contains(&expected), "{lines:?}");
}

#[test]
fn a_check_names_every_mistake_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let right = written(dir.path(), "right.toml", "[engine]\nworkers = 2\n");
    assert_eq!(
        run(&["config", "--check", "--config", &right]).ok(),
        "the configuration is valid\n"
    );
    let valid = run(&["config", "--check", "--json", "--config", &right]).ok();
    assert_eq!(valid, "{\"valid\":true}\n");
    let wrong = "[engine]\nworker = 2\n[http]\nidle_max_ms = 0\n";
    let wrong = written(dir.path(), "wrong.toml", wrong);
    let variables = [("QUIPU_HTTP__IDEL_MAX_MS", "1")];
    for command in [&["config", "--check"][..], &["config"], &["serve"]] {
        let args = [command, &["--config", &wrong]].concat();
        let said = run_in(&variables, &args);
        for line in [
            format!("{wrong}:2: there is no key engine.worker; the nearest is engine.workers"),
            format!("{wrong}:4: http.idle_max_ms is 0; it must be 1 to 86400000"),
            "QUIPU_HTTP__IDEL_MAX_MS: there is no key http.idel_max_ms; \
             the nearest is QUIPU_HTTP__IDLE_MAX_MS"
                .to_owned(),
        ] {
            assert!(said.err.contains(&line), "{line}\n{}", said.err);
        }
        said.fails(2, "");
    }
    let missing = text(&dir.path().join("missing.toml"));
    run(&["config", "--config", &missing])
        .fails(2, "missing.toml: the configuration can't be read");
    let key = written(
        dir.path(),
        "tls.toml",
        "[tls]\ncertificate = \"/no/c\"\nkey = \"/no/k\"\n",
    );
    run(&["config", "--check", "--config", &key]).fails(2, "tls.certificate: /no/c: ");
}

#[test]
fn a_check_finds_a_store_that_can_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), "file", "");
    let folder = text(dir.path());
    let check = |path: &str| {
        let store = format!("sqlite:{path}");
        run_in(&[("QUIPU_STORE", &store)], &["config", "--check"])
    };
    check(&format!("{folder}/q.db")).ok();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    for (path, why) in [
        ("no-such/q.db", "no-such; make it, or name another path"),
        ("file/q.db", "QUIPU_STORE: store: there is no folder"),
    ] {
        check(&format!("{folder}/{path}")).fails(2, why);
    }
    // Nobody can make a file there.
    check("/proc/q.db").fails(2, "the folder /proc can't be written");
}

#[test]
fn variables_configure_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = quipu(&["serve"]);
    command.env("QUIPU_STORE", "memory:");
    command.env("QUIPU_LISTEN", "127.0.0.1:0");
    command.env("QUIPU_HTTP__BODY_BYTES_MAX", "2000");
    command.env("QUIPU_METADATA", "{ region = \"eu-1\" }");
    let host = Served::ready(dir, command);
    host.run(&["append", "n-1", "noted", "1"]).ok();
    let events = host.run(&["events", "--json"]).ok();
    assert!(events.contains("\"region\":\"eu-1\""), "{events}");
    let long = format!("\"{}\"", "x".repeat(2_000));
    host.run(&["append", "n-1", "noted", &long])
        .fails(1, "too-large");
}

#[test]
fn the_address_of_a_store_in_a_file_opens_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    for place in [Place::memory(), Place::sqlite(), Place::postgres()] {
        let dir = tempfile::tempdir().unwrap();
        let address = written(dir.path(), "address", &format!("{}\n", place.url()));
        let mut command = quipu(&["serve", "--store-file", &address]);
        command.env("QUIPU_LISTEN", "127.0.0.1:0");
        let host = Served::ready(dir, command);
        host.run(&["append", "note-1", "noted", "1"]).ok();
        host.signal("TERM");
        let (ended, _dir) = host.ended();
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert!(!ended.err.contains("list of processes"), "{}", ended.err);
        if place.url() != "memory:" {
            let dir = tempfile::tempdir().unwrap();
            let address = written(dir.path(), "address", place.url());
            let log = run(&["export", "--store-file", &address]).ok();
            assert!(log.contains("note-1"), "{log}");
            run(&["migrate", "--store-file", &address]).ok();
        }
    }
}

#[test]
fn a_password_in_an_argument_is_warned_about() {
    let address = format!("postgres://ann:{CANARY}@127.0.0.1:1/bank");
    for command in [
        &["export"][..],
        &["migrate"],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let args = [command, &["--store", &address]].concat();
        let said = run(&args);
        assert!(said.err.contains("list of processes"), "{}", said.err);
        assert!(!said.err.contains(CANARY), "{}", said.err);
        let said = run_in(&[("QUIPU_STORE", &address)], &["config"]);
        assert!(!said.err.contains("list of processes"), "{}", said.err);
    }
}

#[test]
fn a_password_in_the_address_of_a_host_is_warned_about() {
    // Nothing listens on this port.
    let url = format!("http://ann:{CANARY}@127.0.0.1:1/");
    let joined = format!("--url={url}");
    for given in [&["--url", &*url][..], &[&*joined]] {
        let said = run(&[&["status"], given].concat());
        let warnings = said.err.matches("list of processes").count();
        assert_eq!(warnings, 1, "{}", said.err);
        assert!(said.err.contains("QUIPU_URL"), "{}", said.err);
        assert!(!said.err.contains(CANARY), "{}", said.err);
    }
    let said = run_in(&[("QUIPU_URL", &url)], &["status"]);
    assert!(!said.err.contains("list of processes"), "{}", said.err);
    assert!(!said.err.contains(CANARY), "{}", said.err);
}

#[test]
fn a_token_in_an_argument_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "token", CANARY);
    let joined = format!("--token={CANARY}");
    // Nothing listens on this port.
    let url = ("QUIPU_URL", "http://127.0.0.1:1");
    for command in [
        &["status"][..],
        &["can", "ann", "read", "note"],
        &["whoami"],
        &["token", "list"],
        &["mcp"],
    ] {
        for given in [&["--token", CANARY][..], &[&*joined]] {
            let said = run_in(&[url], &[command, given].concat());
            let warnings = said.err.matches("list of processes").count();
            assert_eq!(warnings, 1, "{command:?}: {}", said.err);
            for remedy in ["QUIPU_TOKEN,", "--token-file"] {
                assert!(said.err.contains(remedy), "{command:?}: {}", said.err);
            }
            assert!(!said.err.contains(CANARY), "{command:?}: {}", said.err);
        }
        let by_file = [command, &["--token-file", &file]].concat();
        for said in [
            run_in(&[url, ("QUIPU_TOKEN", CANARY)], command),
            run_in(&[url], &by_file),
        ] {
            assert!(!said.err.contains("list of processes"), "{}", said.err);
        }
    }
}

#[test]
fn a_token_comes_from_an_option_a_variable_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "token", "of-a-file\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = quipu(&[&["status"], args].concat());
        command
            .envs(variables.iter().copied())
            .env("QUIPU_URL", &url);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = [0; 1_000];
        let read = socket.read(&mut head).unwrap();
        _ = socket.write_all(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n");
        drop(socket);
        child.wait().unwrap();
        let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("authorization: bearer "));
        line.map(str::to_owned)
    };
    let (variable, by_file) = (
        ("QUIPU_TOKEN", "of-a-variable"),
        ("QUIPU_TOKEN_FILE", &*file),
    );
    assert_eq!(sent(&[], &[]), None);
    assert_eq!(sent(&[], &["--token", "given"]).unwrap(), "given");
    assert_eq!(sent(&[variable], &[]).unwrap(), "of-a-variable");
    assert_eq!(sent(&[], &["--token-file", &file]).unwrap(), "of-a-file");
    assert_eq!(sent(&[by_file], &[]).unwrap(), "of-a-file");
    assert_eq!(
        sent(&[variable], &["--token-file", &file]).unwrap(),
        "of-a-file"
    );
    assert_eq!(sent(&[by_file], &["--token", "given"]).unwrap(), "given");
    run_in(&[variable, by_file], &["status"]).fails(2, "QUIPU_TOKEN and QUIPU_TOKEN_FILE");
    run(&["status", "--token", "x", "--token-file", &file]).fails(2, "exclude each other");
    std::fs::write(&file, "\u{feff}of-a-file\r\n").unwrap();
    assert_eq!(sent(&[], &["--token-file", &file]).unwrap(), "of-a-file");
    let missing = text(&dir.path().join("missing"));
    run(&["status", "--token-file", &missing]).fails(2, "missing: the secret can't be read");
}

#[test]
fn the_log_of_a_file_is_a_setting_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(
        dir.path(),
        "quipu.toml",
        "log = \"error\"\nstore = \"memory:\"\n",
    );
    let shut_down = |variables: &[(&str, &str)]| {
        let mut command = quipu(&["serve", "--listen", "127.0.0.1:0", "--config", &config]);
        command.envs(variables.iter().copied());
        let host = Served::ready(tempfile::tempdir().unwrap(), command);
        host.signal("TERM");
        host.ended().0.err
    };
    assert_eq!(shut_down(&[]), "");
    let output = shut_down(&[("QUIPU_LOG", "info")]);
    assert!(output.contains("shutting down"), "{output}");
    run_in(&[("QUIPU_LOG", "quipu=x=y")], &["config"]).fails(2, "QUIPU_LOG: log is \"quipu=x=y\"");
}
