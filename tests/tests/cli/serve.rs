use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use quipu_tests::{PATIENCE, examples, guest};

use crate::program::{Served, quipu, run, text};
use crate::steady::Held;

#[test]
fn the_ready_line_is_the_only_output_on_stdout() {
    for signal in ["TERM", "INT"] {
        let host = Served::start();
        assert!(host.url.starts_with("http://127.0.0.1:"));
        host.signal(signal);
        let (said, _dir) = host.ended();
        assert_eq!((said.code, said.out.as_str()), (0, ""));
    }
}

#[test]
fn requests_in_flight_are_answered_before_shutdown() {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    let address = host.url.trim_start_matches("http://").trim_end_matches('/');
    let mut client = TcpStream::connect(address).unwrap();
    let body = r#"{"type":"deposit","data":{"amount":5}}"#;
    let head = format!(
        "POST /v1/streams/account-1/commands HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).unwrap();
    // Half a request: the server replies that it waits for the rest.
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("100 Continue"), "{line}");
    host.signal("TERM");
    while TcpStream::connect(address).is_ok() {}
    client.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    let (said, _dir) = host.ended();
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn half_a_request_does_not_block_the_shutdown() {
    let host = Served::start();
    let address = host.url.trim_start_matches("http://").trim_end_matches('/');
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /healthz HT").unwrap();
    host.signal("TERM");
    let (said, _dir) = host.ended();
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn a_request_of_many_lines_is_answered_completely_at_shutdown() {
    let host = Served::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rest = runtime.block_on(async {
        let (send, chunks) = futures::channel::mpsc::unbounded::<Result<&str, std::io::Error>>();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client
            .post(format!("{}/v1/commands", host.url))
            .header("Content-Type", "application/x-ndjson")
            .body(reqwest::Body::wrap_stream(chunks));
        let line = "{\"stream\":\"account-1\",\"type\":\"open\",\"data\":{\"owner\":\"a\"}}\n";
        send.unbounded_send(Ok(line)).unwrap();
        let mut answer = request.send().await.unwrap();
        let first = answer.chunk().await.unwrap().unwrap();
        assert!(
            first.starts_with(b"{\"line\":1,\"status\":200"),
            "{first:?}"
        );
        host.signal("TERM");
        // The body is still open; the answer ends all the same.
        answer.chunk().await.unwrap()
    });
    assert_eq!(rest, None);
    let (said, _dir) = host.ended();
    assert_eq!(said.code, 0, "{}", said.err);
    // Before the time for what is in flight is over.
    assert!(!said.err.contains("were still open"), "{}", said.err);
}

#[test]
fn a_store_address_that_is_a_folder_is_refused_and_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("folder");
    std::fs::create_dir(&store).unwrap();
    let url = format!("sqlite:{}", text(&store));
    run(&["serve", "--store", &url, "--listen", "127.0.0.1:0"]).fails(1, "directory");
    let missing = format!("sqlite:{}", text(&dir.path().join("no/q.db")));
    run(&["serve", "--store", &missing, "--listen", "127.0.0.1:0"]).fails(1, "no/q.db");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
}

#[test]
fn a_different_active_module_is_kept_and_both_digests_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    let file = modules.join("account.wasm");
    std::fs::write(&file, examples::account()).unwrap();
    let path = text(&modules);
    let ended = |host: Served| {
        let deployments = host.run(&["deployments", "account", "--json"]).ok();
        host.signal("TERM");
        let (said, dir) = host.ended();
        (deployments.lines().count(), said.err, dir)
    };
    let (count, _, dir) = ended(Served::start_in(dir, &["--modules", &path]));
    assert_eq!(count, 1);
    // The same bytes: nothing to do. Different bytes, by a custom section: the active module is
    // kept.
    let (count, _, dir) = ended(Served::start_in(dir, &["--modules", &path]));
    assert_eq!(count, 1);
    let mut other = examples::account();
    other.extend([0, 3, 1, b'x', 0]);
    std::fs::write(&file, &other).unwrap();
    let (count, output, dir) = ended(Served::start_in(dir, &["--modules", &path]));
    assert_eq!(count, 1);
    for bytes in [examples::account(), other] {
        let digest = quipu::model::Digest::of(&bytes).to_string();
        assert!(output.contains(&digest), "{output}");
    }
    let args = ["--modules", &path, "--modules-force"];
    let (count, _, _dir) = ended(Served::start_in(dir, &args));
    assert_eq!(count, 2);
}

#[test]
fn a_file_of_the_modules_that_is_no_component_is_named_with_the_remedies() {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("account.wasm"), examples::account()).unwrap();
    let broken = modules.join("broken.wasm");
    std::fs::write(&broken, "broken").unwrap();
    let (path, modules) = (text(&broken), text(&modules));
    let args = ["serve", "--store", "memory:", "--listen", "127.0.0.1:0"];
    let said = run(&[&args[..], &["--modules", &modules]].concat());
    assert!(
        said.err.contains(&format!("or move it out of {modules}: ")),
        "{}",
        said.err
    );
    let why = format!("error: {path}: the host does not start with this file; replace it");
    said.fails(1, &why);
}

#[test]
fn a_config_file_applies_and_unknown_keys_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, "[engine.stream_events_max]\naccount = 1\n").unwrap();
    std::fs::write(dir.path().join("account.wasm"), examples::account()).unwrap();
    let (path, modules) = (text(&config), text(dir.path()));
    let host = Served::start_in(dir, &["--config", &path, "--modules", &modules]);
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    let pay = ["execute", "account-1", "deposit", "{\"amount\":1}"];
    host.run(&pay).ok();
    host.run(&pay).fails(1, "stream-too-long");
    std::fs::write(&config, "[engine]\nworker = 2\n").unwrap();
    run(&["serve", "--config", &path]).fails(2, "worker");
}

#[test]
fn an_address_or_a_store_in_use_is_reported() {
    let host = Served::start();
    let listen = host.url.trim_start_matches("http://");
    run(&["serve", "--store", "memory:", "--listen", listen]).fails(1, listen);
    let store = format!("sqlite:{}", text(&host.path("q.db")));
    run(&["serve", "--store", &store, "--listen", "127.0.0.1:0"]).fails(1, "another host has");
}

#[test]
fn a_signal_ends_the_host_before_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    // Reading this pipe never ends.
    let pipe = text(&modules.join("endless.wasm"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let lock = dir.path().join("q.db.lock");
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let modules = text(&modules);
    let mut command = quipu(&["serve", "--store", &store, "--listen", "127.0.0.1:0"]);
    let mut child = command
        .args(["--modules", &modules])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // By then it handles signals, and is about to read the pipe.
    while !lock.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", "TERM", &pid])
        .status();
    assert!(sent.unwrap().success());
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if child.try_wait().unwrap().is_some() {
            let status = child.wait().unwrap();
            assert!(status.success(), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the signal was not heard");
}

#[test]
fn the_error_about_a_wrong_store_address_shows_no_password() {
    let wrong = "postgre://ann:s3cret@db.example/bank";
    let said = run(&["serve", "--store", wrong, "--listen", "127.0.0.1:0"]);
    assert!(!said.err.contains("s3cret"), "{}", said.err);
    said.fails(2, "db.example/bank");
}

/// A few bytes that describe a billion instances.
fn bomb() -> Vec<u8> {
    let mut text = "(component (component)".to_owned();
    for level in 0..30 {
        let twice = "(instance (instantiate 0)) (instance (instantiate 0))";
        text += &format!("(component (alias outer 1 {level} (component)) {twice})");
    }
    text += "(instance (instantiate 30)))";
    wat::parse_str(text).unwrap()
}

#[test]
fn a_component_that_is_too_expensive_to_compile_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    let limits = "[guests]\ncompile_time_max_ms = 20000\ncompile_memory_bytes_max = 1073741824\n";
    std::fs::write(&config, limits).unwrap();
    let file = dir.path().join("bomb.wasm");
    std::fs::write(&file, bomb()).unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() < 4_000);
    let account = dir.path().join("account.wasm");
    std::fs::write(&account, examples::account()).unwrap();
    let (file, account) = (text(&file), text(&account));
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let mut command = quipu(&["serve", "--store", &store, "--listen", "127.0.0.1:0"]);
    command.args(["--config", &text(&config)]);
    command.env_remove("QUIPU_CACHE_DIR");
    let host = Served::ready(dir, command);
    for _ in 0..2 {
        host.run(&["deploy", &file])
            .fails(1, "takes more than 1024 MiB of memory or 20 s");
        host.run(&["append", "note-1", "noted", "{}"]).ok();
    }
    // Other components are still compiled, in the same way.
    host.run(&["deploy", &account]).ok();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    let files = std::fs::read_dir(host.path("q.db.compiled")).unwrap();
    let files = files.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|it| it == "compiled")
    });
    assert_eq!(files.count(), 1);
}

#[test]
fn silent_connections_lock_nobody_out_if_few_files_may_be_open() {
    let dir = tempfile::tempdir().unwrap();
    let host = Served::start_with_files(dir, 64);
    let address = host.url.trim_start_matches("http://").trim_end_matches('/');
    let mut silent = Vec::new();
    for _ in 0..120 {
        let client = TcpStream::connect(address).unwrap();
        silent.push(client);
    }
    for _ in 0..30 {
        let mut client = TcpStream::connect(address).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let get = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        client.write_all(get.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let append = ["append", "note-1", "noted", "{}"];
    host.run(&append).ok();
    host.signal("TERM");
    let (said, _dir) = host.ended();
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("fewer connections than configured"),
        "{}",
        said.err
    );
}

#[test]
fn a_guest_cannot_forge_lines_of_the_log() {
    let said = "first\\0a2026-11-30T00:00:00.000000Z ERROR quipu: forged\\0d\\1b[2Jlast";
    let forms = format!(
        "(data (i32.const 0x4000) \"{said}\")
        (func $decide (type $decide)
          (call $log (i32.const 2) (i32.const 0x4000) (i32.const 60))
          unreachable)"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("probe.wasm");
    std::fs::write(&file, guest::decider_with(&forms)).unwrap();
    let host = Served::start_in(dir, &[]);
    host.run(&["deploy", &text(&file)]).ok();
    host.run(&["execute", "probe-1", "go", "{}"]);
    host.signal("TERM");
    let (said, _dir) = host.ended();
    let line = said.err.lines().find(|line| line.contains("forged"));
    let line = line.unwrap_or_else(|| panic!("nothing logged: {}", said.err));
    assert!(line.contains("first\\n2026-11-30"), "{}", said.err);
    assert!(!said.err.contains(['\r', '\u{1b}']), "{}", said.err);
}

/// A subscription that nobody reads: its first bytes were read, so it has begun.
fn unread(host: &Served) -> TcpStream {
    let address = host.url.trim_start_matches("http://").trim_end_matches('/');
    let subscribe = format!("GET /v1/events/subscribe HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(subscribe.as_bytes()).unwrap();
    let mut first = [0; 12];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    client
}

/// Reads a whole answer, as bytes: to show so much in a table takes long.
fn read(host: &Served, path: &str) -> Vec<u8> {
    let address = host.url.trim_start_matches("http://").trim_end_matches('/');
    let mut client = TcpStream::connect(address).unwrap();
    let get = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    client.write_all(get.as_bytes()).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    answer
}

#[test]
fn subscriptions_that_nobody_reads_do_not_hold_up_the_end() {
    let host = Served::start();
    // More than the buffers of a connection take.
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(500_000));
    for _ in 0..40 {
        host.run_with(&["append", "note-1", "noted", "-"], &long)
            .ok();
    }
    let clients: Vec<TcpStream> = (0..8).map(|_| unread(&host)).collect();
    host.signal("TERM");
    let (said, _dir) = host.ended();
    assert_eq!(said.code, 0, "{}", said.err);
    // They would be cut off at the end of the time for what is in flight.
    assert!(!said.err.contains("were still open"), "{}", said.err);
    drop(clients);
}

#[test]
fn the_memory_of_subscriptions_that_nobody_reads_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, "[subscriptions]\ncatch_up_bytes_max = 16777216\n").unwrap();
    let host = Served::start_in(dir, &["--config", &text(&config)]);
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(900_000));
    for _ in 0..40 {
        host.run_with(&["append", "note-1", "noted", "-"], &long)
            .ok();
    }
    let before = Held::by(&host).resident;
    // Each of them has 36 MB to read, together more than 1 GB. The operating system takes some of it.
    let clients: Vec<TcpStream> = (0..32).map(|_| unread(&host)).collect();
    for number in 0..8 {
        // Meanwhile others are served, and read the same events.
        host.run(&["append", &format!("other-{number}"), "noted", "{}"])
            .ok();
        let page = read(&host, "/v1/events?limit=20");
        assert!(page.len() > 900_000, "{} bytes", page.len());
        let more = Held::by(&host).resident.saturating_sub(before);
        assert!(more <= 256, "{more} MiB more");
    }
    drop(clients);
}

#[test]
fn an_address_that_others_reach_must_be_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", dir.path().join("q.db").display());
    let said = run(&["serve", "--store", &store, "--listen", "0.0.0.0:0"]);
    assert_eq!(said.code, 2);
    for way_out in [
        "quipu token create",
        "listen on 127.0.0.1",
        "--allow-unauthenticated",
    ] {
        assert!(said.err.contains(way_out), "{}", said.err);
    }
    assert!(!dir.path().join("q.db").exists());
    let allowed = ["--listen", "0.0.0.0:0", "--allow-unauthenticated"];
    let host = Served::start_in(dir, &allowed);
    assert!(host.url.starts_with("http://0.0.0.0:"), "{}", host.url);
}
