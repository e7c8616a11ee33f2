//! Tests of a full disk, pages in one row, and a WAL under constant readers.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::log::Holes;
use super::packed::PACKED_MIN;
use super::reader::Reader;
use super::temporary::Folder;
use super::{Options, open, open_in};
use crate::{
    Commit, Direction, Error, EventWriter, Filter, Import, Item, LOG_PAGE_MAX, Outcome, Store,
    Write,
};
use quipu_model::{Body, ExpectedVersion, Name, NewEvent, Position, StreamId, Timestamp};

/// An append of an event of this many bytes.
fn append(stream: &str, bytes: usize) -> Item {
    let event = NewEvent {
        id: quipu_model::fresh_id(),
        id_is_callers: true,
        name: Name::new("noted").unwrap(),
        schema_version: 1,
        body: Body::json(format!("\"{}\"", "x".repeat(bytes))).unwrap(),
        metadata: None,
        tags: Vec::new(),
    };
    let commit = Commit {
        command: None,
        decided: None,
        plan: 0,
        recorded_at: Timestamp(1),
        events: vec![event],
        id_is_new: false,
    };
    let write = Write {
        stream: StreamId::new(stream).unwrap(),
        expected: ExpectedVersion::Any,
        commit,
    };
    Item::Append {
        run: None,
        writes: vec![write],
    }
}

#[tokio::test]
async fn a_temporary_store_is_removed_when_it_is_closed() {
    let (folder, path) = Folder::temporary().unwrap();
    let store = open_in(folder, &path, &Options::default()).await.unwrap();
    assert!(path.exists());
    let reader = Arc::clone(&store.reader);
    store.writer.close().await.unwrap();
    assert!(!path.parent().unwrap().exists());
    reader.log_head().await.unwrap_err();
}

#[tokio::test]
async fn a_temporary_store_is_removed_when_it_is_dropped() {
    let (folder, path) = Folder::temporary().unwrap();
    let store = open_in(folder, &path, &Options::default()).await.unwrap();
    let documents = Arc::clone(&store.documents);
    drop(store);
    assert!(documents.projections().await.unwrap().is_empty());
    assert!(path.exists());
    drop(documents);
    assert!(!path.parent().unwrap().exists());
}

async fn head(store: &Store) -> u64 {
    store.reader.log_head().await.unwrap().0
}

/// Appends until there is no room left. Returns the number of appends.
async fn fill(writer: &mut dyn EventWriter, bytes: usize) -> u64 {
    for passed in 0..1_000 {
        match writer.commit(&[append("note-1", bytes)], None).await {
            Ok(outcomes) => assert!(matches!(outcomes[0], Outcome::Appended(_))),
            Err(error) => {
                assert!(matches!(error, Error::Full(_)), "{error:?}");
                return passed;
            }
        }
    }
    panic!("the file never filled up");
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let small = Options {
        pages_max: Some(100),
        ..Options::default()
    };
    let mut store = open(&path, &small).await.unwrap();
    let passed = fill(&mut *store.writer, 20_000).await;
    assert!(passed > 0);
    assert_eq!(head(&store).await, passed);
    // A small append may still pass, because nothing of the failed ones is remembered.
    let more = fill(&mut *store.writer, 10).await;
    assert!(more > 0);
    assert_eq!(head(&store).await, passed + more);

    // Neither a new stream, nor a mark, nor an import leaves a part of itself.
    let [new, big] = [append("new-1", 5_000), append("note-1", 20_000)];
    let error = store.writer.commit(&[new], None).await.unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error:?}");
    let new = StreamId::new("new-1").unwrap();
    assert!(store.reader.head(&new).await.unwrap().is_none());
    let page = store.reader.read_stored(Position(0), 1_000).await.unwrap();
    let mut events = page.events;
    let last = events.last().unwrap().clone();
    events.clear();
    for (n, event) in std::iter::repeat_n(&last, 50).enumerate() {
        let mut event = event.clone();
        event.version = last.version.plus(n + 1);
        event.position = Position(last.position.0 + 2 * n as u64 + 2);
        event.event.id_is_callers = false;
        events.push(event);
    }
    let error = store
        .writer
        .import(&Import::Events(events))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error:?}");
    assert_eq!(head(&store).await, passed + more);
    store.writer.close().await.unwrap();

    let mut store = open(&path, &Options::default()).await.unwrap();
    let outcomes = store.writer.commit(&[big], None).await.unwrap();
    let Outcome::Appended(appended) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(appended[0].first_version.0, passed + more + 1);
    assert_eq!(appended[0].positions, [Position(passed + more + 1)]);
    let all = store
        .reader
        .read_log(Position(0), Default::default(), 1_000, &Arc::default())
        .await;
    assert_eq!(all.unwrap().events.len() as u64, passed + more + 1);
    store.writer.close().await.unwrap();
}

#[tokio::test]
async fn a_writer_whose_writes_fail_says_so_until_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let small = Options {
        pages_max: Some(100),
        ..Options::default()
    };
    let mut store = open(&folder.path().join("store.db"), &small).await.unwrap();
    store.writer.check().await.unwrap();
    fill(&mut *store.writer, 20_000).await;
    for _ in 0..2 {
        let error = store.writer.check().await.unwrap_err();
        assert!(matches!(error, Error::Full(_)), "{error:?}");
    }
    let small = append("note-1", 10);
    store.writer.commit(&[small], None).await.unwrap();
    store.writer.check().await.unwrap();
    store.writer.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_full_from_the_beginning_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let tiny = Options {
        pages_max: Some(4),
        ..Options::default()
    };
    let error = open(&path, &tiny).await.err().unwrap();
    assert!(matches!(error, Error::Full(_)), "{error:?}");
    assert!(open(&path, &Options::default()).await.is_ok());
}

#[tokio::test]
async fn a_page_of_many_events_is_read_in_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = open(&path, &Options::default()).await.unwrap();
    let items: Vec<_> = (0..PACKED_MIN).map(|_| append("note-1", 9)).collect();
    store.writer.commit(&items, None).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&path).read_only(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await;
    let reader = Reader::new(pool.unwrap(), Holes::default(), Folder::permanent());
    let (bounds, all) = ((1, PACKED_MIN), Filter::default());
    let packed = |bounds, direction| reader.packed(bounds, direction, LOG_PAGE_MAX, &all);
    let events = packed(bounds, Direction::Forward).await.unwrap();
    let page = store
        .reader
        .read_log(Position(0), Direction::Forward, LOG_PAGE_MAX, &all);
    assert_eq!(events, page.await.unwrap().events);
    assert!(packed(bounds, Direction::Backward).await.is_none());
    assert!(packed((2, PACKED_MIN), Direction::Forward).await.is_none());
}

/// Reads for as long as it lives: there is always a transaction that began before the last one
/// ended.
async fn read_on(path: std::path::PathBuf, begun: Arc<tokio::sync::Barrier>) {
    let options = SqliteConnectOptions::new().filename(&path).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(2);
    let pool = pool.connect_with(options).await.unwrap();
    let mut before = None;
    for number in 0u64.. {
        let mut reading = pool.begin().await.unwrap();
        let count = sqlx::query("SELECT count(*) FROM events");
        count.fetch_one(&mut *reading).await.unwrap();
        drop(before.replace(reading));
        if number == 0 {
            begun.wait().await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bytes of a WAL to which 100 MB were written under constant readers.
async fn wal_of(wal_pages_max: u32) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let options = Options {
        wal_pages_max,
        wal_look: Duration::from_millis(5),
        ..Options::default()
    };
    let mut store = open(&path, &options).await.unwrap();
    let begun = Arc::new(tokio::sync::Barrier::new(2));
    let reading = tokio::spawn(read_on(path.clone(), Arc::clone(&begun)));
    begun.wait().await;
    for number in 0..100 {
        let item = append("note-1", 1_000_000);
        store.writer.commit(&[item], None).await.unwrap();
        assert_eq!(head(&store).await, number + 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let bytes = std::fs::metadata(super::file::wal(&path)).unwrap().len();
    reading.abort();
    store.writer.close().await.unwrap();
    bytes
}

/// Others could read the events of a private store in its WAL.
#[cfg(unix)]
#[tokio::test]
async fn the_wal_has_the_permissions_of_the_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let wal = super::file::wal(&path);
    let mode = || std::fs::metadata(&wal).unwrap().permissions().mode() & 0o777;
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let opened = async || open(&path, &Options::default()).await.unwrap();
    opened().await.writer.close().await.unwrap();
    set(&path, 0o600);
    std::fs::remove_file(&wal).ok();
    let store = opened().await;
    assert_eq!(mode(), 0o600);
    store.writer.close().await.unwrap();
    // One that an earlier version has made.
    if !wal.exists() {
        std::fs::write(&wal, "").unwrap();
    }
    set(&wal, 0o644);
    let store = opened().await;
    assert_eq!(mode(), 0o600);
    store.writer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wal_stays_short_under_constant_readers() {
    const BYTES_MAX: u64 = 60_000_000;
    let bounded = wal_of(5_000).await;
    assert!(bounded < BYTES_MAX, "{bounded}");
    // Without the bound it is longer, unless the machine is so busy that readers leave gaps.
    let mut free = Vec::new();
    while free.last().is_none_or(|bytes| *bytes < BYTES_MAX) {
        assert!(free.len() < 10, "nobody was in the way: {free:?}");
        free.push(wal_of(u32::MAX).await);
    }
}
