//! An import has the store for itself: other hosts hold it off, or are held off.

use std::future::pending;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream;
use quipu::Host;
use quipu::commit;
use quipu::model::ExpectedVersion::Any;
use quipu::model::Position;
use quipu::store::{self, Error, Import, Store};
use quipu::transfer::{Failed, Imported};
use quipu_tests::postgres::{Server, fresh_schema};
use quipu_tests::{PATIENCE, Place, build, log};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

const POLL: Duration = Duration::from_millis(20);

/// The export of a log with a module, a plan and three events.
async fn file() -> Vec<u8> {
    let host = Place::memory().bank().await;
    let append = build::append(build::events(3));
    let appended = host.append(&build::stream("note-1"), append).await;
    appended.unwrap();
    let mut export = host.export(Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    file
}

async fn import(host: &Host, file: &[u8]) -> Result<Imported, Failed> {
    let chunk = Ok::<_, String>(Bytes::copy_from_slice(file));
    host.import(stream::iter([chunk]), &mut |_| {}).await
}

/// Sends a file to a host over HTTP. Returns the status and the body of the answer.
async fn sent(host: Host, file: Vec<u8>) -> (u16, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/import", listener.local_addr().unwrap());
    let options = quipu_server::Options::default();
    tokio::spawn(quipu_server::serve(listener, host, options, pending()));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let request = client.build().unwrap().post(url).body(file);
    let request = request.header("content-type", "application/x-ndjson");
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Waits until an import excludes the other hosts of a store.
async fn excludes(place: &Place) {
    const EXCLUSIONS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
        AND mode = 'ExclusiveLock' AND objsubid = 2 AND objid::bigint = 2 \
        AND classid::bigint = (SELECT oid::bigint % 524288 FROM pg_namespace \
        WHERE nspname = current_schema())";
    // Each query opens a connection, and the server has a bound.
    let polling = async {
        while place.number(EXCLUSIONS).await == 0 {
            sleep(POLL).await;
        }
    };
    let found = timeout(PATIENCE, polling).await;
    found.expect("an import excludes other hosts");
}

/// A host that starts while an import excludes others. It reads, and refuses writes.
async fn late(place: &Place) -> Host {
    let url = format!("{}&writer_wait_max_ms=500", place.url());
    let late = place.builder().store(url).build().await.unwrap();
    let append = build::append(build::events(1));
    let refused = late.append(&build::stream("late-1"), append).await;
    let error = refused.unwrap_err();
    assert_eq!(error.code(), "store-unavailable", "{error}");
    assert!(error.to_string().contains("an import"), "{error}");
    assert!(!late.readiness(PATIENCE).await.is_ready());
    assert!(log::whole(&late).await.is_empty());
    late
}

/// Repeats an append until it is stored. Returns its position.
async fn written(late: &Host) -> Position {
    let repeating = async {
        loop {
            let append = build::append(build::events(1));
            match late.append(&build::stream("late-1"), append).await {
                Ok(appended) => return appended.position.unwrap(),
                Err(error) => assert_eq!(error.code(), "store-unavailable", "{error}"),
            }
        }
    };
    let written = timeout(PATIENCE, repeating).await;
    written.expect("the host writes after the import")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_refused_while_another_host_is_connected() {
    let file = file().await;
    let place = Place::postgres();
    let other = place.host().await;
    assert!(other.readiness(PATIENCE).await.is_ready());
    let options = commit::Options {
        hosts_wait_max: Duration::from_millis(300),
        ..commit::Options::default()
    };
    let importer = place.builder().commit(options).build().await.unwrap();

    let refused = import(&importer, &file).await.unwrap_err();
    assert_eq!(refused.error.code(), "import-refused", "{refused}");
    let text = refused.to_string();
    assert!(text.contains("stop every other host"), "{text}");
    let (status, problem) = sent(importer.clone(), file.clone()).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(problem["code"], "import-refused");
    assert_eq!(problem["detail"], text);

    // Nothing was changed, and both write.
    assert!(log::whole(&importer).await.is_empty());
    assert!(importer.modules().await.unwrap().is_empty());
    assert!(other.readiness(PATIENCE).await.is_ready());
    assert!(importer.readiness(PATIENCE).await.is_ready());

    other.shutdown().await.unwrap();
    // The server notices a little later that the host is gone.
    let repeating = async {
        loop {
            match import(&importer, &file).await {
                Ok(imported) => return imported,
                Err(failed) => assert_eq!(failed.error.code(), "import-refused", "{failed}"),
            }
        }
    };
    let imported = timeout(PATIENCE, repeating).await;
    assert_eq!(imported.expect("the file is imported").events, 3);
    importer.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_starts_during_an_import_writes_only_after_it() {
    let file = file().await;
    let place = Place::postgres();
    let importer = place.host().await;
    let (lines, chunks) = mpsc::unbounded::<Result<Bytes, String>>();
    let host = importer.clone();
    let importing = tokio::spawn(async move { host.import(chunks, &mut |_| {}).await });
    excludes(&place).await;
    let late = late(&place).await;

    lines.unbounded_send(Ok(Bytes::from(file))).unwrap();
    drop(lines);
    let imported = importing.await.unwrap().unwrap();
    assert_eq!(imported.events, 3);
    assert!(written(&late).await > imported.head);
    let log = log::whole(&importer).await;
    assert_eq!(log.len(), 4);
    log::check(&log);
    late.shutdown().await.unwrap();
    importer.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_lets_other_hosts_write() {
    let place = Place::postgres();
    let mut child = Command::new(env!("CARGO_BIN_EXE_quipu-program"))
        .args(["import", "--store", place.url()])
        .env_remove("QUIPU_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    excludes(&place).await;
    let late = late(&place).await;
    child.kill().unwrap();
    child.wait().unwrap();
    written(&late).await;
    late.shutdown().await.unwrap();
}

async fn open(url: &str) -> Store {
    store::open(&url.parse().unwrap()).await.unwrap()
}

/// Three events, as a part of an import.
async fn part() -> Import {
    let place = Place::sqlite();
    let mut source = place.open().await;
    let noted = [build::noted("note-1", Any, 3)];
    source.writer.commit(&noted, None).await.unwrap();
    let page = source.reader.read_stored(Position(0), 10).await;
    Import::Events(page.unwrap().events)
}

/// Repeats a check until the store can be written.
async fn connects(store: &mut Store) {
    let checking = async { while store.writer.check().await.is_err() {} };
    let connected = timeout(PATIENCE, checking).await;
    connected.expect("the host connects");
}

/// Imports a part, whatever the errors that an import passes over.
async fn imported(store: &mut Store, part: &Import, passes: fn(&Error) -> bool) -> Option<Error> {
    let importing = async {
        loop {
            match store.writer.import(part).await {
                Ok(()) => return None,
                Err(error) if passes(&error) => {}
                Err(error) => return Some(error),
            }
        }
    };
    let imported = timeout(PATIENCE, importing).await;
    imported.expect("an import is answered in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_came_between_two_parts_ends_an_import() {
    let part = part().await;
    let server = Server::start();
    let url = server.url(&fresh_schema());
    let (mut importer, mut other) = (open(&url).await, open(&url).await);
    importer.writer.import(&Import::Begin).await.unwrap();
    let excluded = other.writer.check().await.unwrap_err();
    assert!(matches!(excluded, Error::Unavailable(_)), "{excluded}");

    // The importer loses its connection, and the other host comes first.
    server.kill_backends().await;
    connects(&mut other).await;
    let is_lost = |error: &Error| matches!(error, Error::Unavailable(_));
    let refused = imported(&mut importer, &part, is_lost).await;
    assert!(
        matches!(refused, Some(Error::OthersConnected)),
        "{refused:?}"
    );
    assert_eq!(importer.reader.log_head().await.unwrap(), Position(0));

    // After it has gone, the import goes on, and excludes the next.
    other.writer.close().await.unwrap();
    let are_there = |error: &Error| matches!(error, Error::OthersConnected);
    let refused = imported(&mut importer, &part, are_there).await;
    assert!(refused.is_none(), "{refused:?}");
    assert_eq!(importer.reader.log_head().await.unwrap(), Position(3));
    let mut next = open(&url).await;
    assert!(next.writer.check().await.is_err());
    importer.writer.import(&Import::End).await.unwrap();
    connects(&mut next).await;
}
