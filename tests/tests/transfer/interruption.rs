//! Imports by a process that is killed.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use quipu::model::Position;
use quipu::store::{self, Source, StoreUrl};
use quipu_tests::{Place, build, on_every_store};

use crate::{assert_same, exported};

on_every_store! {a_killed_import_continues_where_it_ended,
}

/// The program, importing from its standard input.
fn import(place: &Place) -> Child {
    Command::new(env!("CARGO_BIN_EXE_quipu-program"))
        .args(["import", "--json", "--store", place.url()])
        .env_remove("QUIPU_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The end of the log in a store that may not exist yet.
async fn head(place: &Place, source: &mut Option<Source>) -> Position {
    if source.is_none() {
        let url: StoreUrl = place.url().parse().unwrap();
        *source = store::open_reading(&url).await.ok();
    }
    match source {
        Some(source) => source.reader.log_head().await.unwrap_or_default(),
        None => Position(0),
    }
}

async fn a_killed_import_continues_where_it_ended(place: Place) {
    // Given an export of many parts
    let host = Place::memory().bank().await;
    for number in 0..10 {
        let stream = build::stream(&format!("note-{number}"));
        let append = build::append(build::events(900));
        host.append(&stream, append).await.unwrap();
    }
    host.archive(&build::stream("note-0"), Default::default())
        .await
        .unwrap();
    let file = exported(&host).await;

    // When the process is killed repeatedly, each time after more was stored
    let mut before = Position(0);
    let mut source = None;
    for kill in 1..=3 {
        let mut child = import(&place);
        let input = child.stdin.as_mut().unwrap();
        input.write_all(&file[..file.len() * kill / 4]).unwrap();
        let mut now = before;
        while now == before {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            now = head(&place, &mut source).await;
            tokio::task::yield_now().await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        eprintln!("kill {kill} at position {now}");
        before = now;
    }
    drop(source);

    // Then importing the whole file completes it
    let mut child = import(&place);
    child.stdin.take().unwrap().write_all(&file).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let imported: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(imported["skipped"].as_u64().unwrap() >= before.0);
    assert_eq!(imported["head"], host.log_head().await.unwrap().0);
    assert_same(&exported(&place.host().await).await, &file);
}
