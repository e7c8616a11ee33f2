//! A command that asks a host for something deprecated says so.

use quipu::Host;
use quipu_server::deprecation::{Deprecation, date};
use quipu_server::{Options, serve};
use quipu_tests::Place;
use tokio::net::TcpListener;

use crate::program::{Said, quipu, said, text};

const fn deprecated(method: &'static str, path: &'static str) -> Deprecation {
    Deprecation {
        method,
        path,
        parameter: None,
        since: date(2026, 1, 31),
        removal: date(2026, 8, 1),
        link: "https://example.com/new",
    }
}

const EXAMPLES: &[Deprecation] = &[
    deprecated("GET", "/v1/streams"),
    deprecated("GET", "/v1/streams/{stream}/events"),
    deprecated("POST", "/v1/commands"),
];

/// Serves a host with deprecated operations, and returns its address.
async fn start(host: &Host) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let options = Options {
        deprecated: EXAMPLES,
        ..Options::default()
    };
    tokio::spawn(serve(
        listener,
        host.clone(),
        options,
        std::future::pending(),
    ));
    url
}

async fn run(url: &str, args: &[&str]) -> Said {
    let mut command = quipu(args);
    command.env("QUIPU_URL", url);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    said(&output.await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_warns_once_of_what_the_host_has_deprecated() {
    let place = Place::memory();
    let url = start(&place.bank().await).await;
    let warning = |path: &str| {
        format!(
            "warning: a request to {path} is deprecated and may be removed on Sat, 01 Aug 2026 00:00:00 GMT: \
             use a later version of this program; see https://example.com/new\n"
        )
    };
    // A file is sent on several connections.
    let file = place.path("commands.ndjson");
    let lines = (0..8).map(|number| {
        let data = "{\"owner\":\"ann\"}";
        format!("{{\"id\":\"{number}\",\"type\":\"open\",\"data\":{data}}}\n")
    });
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let file = text(&file);
    let many = ["execute", "--file", &file, "--category", "account"];
    let executed = run(&url, &many).await;
    let found = executed.err.matches("warning: ").count();
    assert_eq!((executed.code, found), (0, 1), "{}", executed.err);
    assert!(
        executed.err.contains(&warning("/v1/commands")),
        "{}",
        executed.err
    );
    let listed = run(&url, &["streams", "--json"]).await;
    assert_eq!(listed.err, warning("/v1/streams"));
    assert_eq!(listed.ok().lines().count(), 8);
    // An error has the header too.
    let failed = run(&url, &["stream", "account-99"]).await;
    let expected = warning("/v1/streams/account-99/events");
    assert!(failed.err.starts_with(&expected), "{}", failed.err);
    failed.fails(1, "stream-not-found");
    let other = run(&url, &["types", "--json"]).await;
    assert_eq!(other.err, "");
}
