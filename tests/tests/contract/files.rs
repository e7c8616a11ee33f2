//! SQLite files that cannot be used as a store cause a clear error, and never a panic.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Position, Version};
use quipu::store::Direction::Forward;
use quipu::store::{Error, Filter, Outcome};
use quipu_tests::{Place, build, on_sqlite};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

on_sqlite! {
    a_second_host_on_the_same_file_is_refused,
    a_second_host_on_the_same_file_by_another_path_is_refused,
    a_second_host_is_refused_although_the_lock_file_was_deleted,
    nothing_is_acknowledged_once_a_file_is_deleted_or_replaced,
    a_newer_schema_is_refused,
    a_file_that_is_not_a_database_is_reported_as_damaged,
    a_database_of_another_program_is_refused_and_not_changed,
    a_truncated_file_is_reported_as_damaged,
    damaged_pages_cause_an_error_and_never_a_panic,
    a_missing_event_is_reported_as_damage_with_its_position,
    an_unreadable_event_is_named_even_within_a_long_page,
    a_snapshot_with_impossible_values_is_returned_and_can_be_replaced,
    a_store_opened_for_reading_refuses_snapshots,
    a_missing_folder_is_an_error,
    a_read_only_file_is_an_error,
    a_read_only_folder_is_an_error,
    a_path_that_is_a_folder_is_an_error,
}

fn file(place: &Place) -> String {
    place.url().strip_prefix("sqlite:").unwrap().to_owned()
}

async fn why(place: &Place) -> Error {
    place.try_open().await.err().expect("opening should fail")
}

async fn connection(place: &Place) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file(place))
        .create_if_missing(true);
    options.connect().await.unwrap()
}

/// A closed store with this number of events of 1 KiB.
async fn filled(place: &Place, count: usize) {
    let mut store = place.open().await;
    let text = format!("\"{}\"", "x".repeat(1_000));
    let events = (0..count).map(|_| build::event("noted", &text)).collect();
    let write = build::write("note-1", Any, build::commit(None, events));
    store
        .writer
        .commit(&[build::item(None, vec![write])], None)
        .await
        .unwrap();
    store.writer.close().await.unwrap();
}

async fn a_second_host_on_the_same_file_is_refused(place: Place) {
    let host = place.host().await;
    let error = why(&place).await;
    assert!(matches!(error, Error::InUse(_)), "{error}");
    assert!(error.to_string().contains(&file(&place)), "{error}");
    host.append(&build::stream("note-1"), build::append(build::events(1)))
        .await
        .unwrap();
    host.shutdown().await.unwrap();
    assert_eq!(
        place.open().await.reader.log_head().await.unwrap(),
        Position(1)
    );
}

async fn a_second_host_on_the_same_file_by_another_path_is_refused(place: Place) {
    let host = place.host().await;
    for link in ["symbolic.db", "a/../store.db"] {
        std::fs::create_dir_all(place.path("a")).unwrap();
        let path = place.path(link);
        if link == "symbolic.db" {
            std::os::unix::fs::symlink(file(&place), &path).unwrap();
        }
        let url = format!("sqlite:{}", path.display()).parse().unwrap();
        let error = quipu::store::open(&url).await.err();
        assert!(matches!(error, Some(Error::InUse(_))), "{link}: {error:?}");
    }
    host.shutdown().await.unwrap();
}

async fn a_second_host_is_refused_although_the_lock_file_was_deleted(place: Place) {
    filled(&place, 1).await;
    // In a process of its own, because two hosts are two processes.
    let held = std::fs::File::open(file(&place)).unwrap();
    held.lock().unwrap();
    let lock = format!("{}.lock", file(&place));
    std::fs::remove_file(lock).unwrap();
    if cfg!(target_os = "linux") {
        assert!(matches!(why(&place).await, Error::InUse(_)));
    }
    drop(held);
    place.open().await.writer.close().await.unwrap();
}

async fn nothing_is_acknowledged_once_a_file_is_deleted_or_replaced(_: Place) {
    for (what, suffix) in [
        ("deleted", ""),
        ("replaced", ""),
        ("deleted", "-wal"),
        ("deleted", ".lock"),
    ] {
        let place = Place::sqlite();
        filled(&place, 1).await;
        let host = place.host().await;
        let append = async || {
            let append = build::append(build::events(1));
            host.append(&build::stream("note-2"), append).await
        };
        append().await.unwrap();
        let wait = std::time::Duration::from_secs(5);
        assert!(host.readiness(wait).await.is_ready());
        let path = format!("{}{suffix}", file(&place));
        match what {
            "deleted" => std::fs::remove_file(&path).unwrap(),
            _ => {
                let copy = format!("{path}.copy");
                std::fs::copy(&path, &copy).unwrap();
                std::fs::rename(&copy, &path).unwrap();
            }
        }
        let readiness = host.readiness(wait).await;
        let fault = readiness.checks[0].fault.clone().unwrap();
        assert!(fault.contains(&format!("{path} was {what}")), "{fault}");
        for _ in 0..2 {
            let error = append().await.unwrap_err();
            assert_eq!(error.code(), "store-unavailable", "{path} {what}");
            assert!(error.to_string().contains("stop the host"), "{error}");
        }
        // Closing may fail because the file is gone.
        _ = host.shutdown().await;
    }
}

async fn a_newer_schema_is_refused(place: Place) {
    filled(&place, 1).await;
    let mut connection = connection(&place).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (9999, 'newer', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    let from = "UPDATE meta SET value = x'000000000000270F' WHERE name = 'writers_from'";
    sqlx::query(from).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = why(&place).await;
    assert!(
        matches!(error, Error::TooNew { found: 9999, .. }),
        "{error}"
    );
}

async fn a_file_that_is_not_a_database_is_reported_as_damaged(place: Place) {
    let text = "not a database at all\n".repeat(1_000);
    std::fs::write(file(&place), &text).unwrap();
    let error = why(&place).await;
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    assert_eq!(std::fs::read_to_string(file(&place)).unwrap(), text);
}

async fn a_database_of_another_program_is_refused_and_not_changed(place: Place) {
    let mut other = connection(&place).await;
    sqlx::query("CREATE TABLE notes (text TEXT)")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let error = place.try_open().await.err();
    assert!(matches!(error, Some(Error::Damaged(_))), "{error:?}");
    let mut other = connection(&place).await;
    let tables = sqlx::query("SELECT name FROM sqlite_master")
        .fetch_all(&mut other)
        .await
        .unwrap();
    assert_eq!(tables.len(), 1);
}

async fn a_truncated_file_is_reported_as_damaged(place: Place) {
    filled(&place, 100).await;
    let whole = std::fs::read(file(&place)).unwrap();
    for length in [100, 4_000, 4_096, 10_000, whole.len() / 2] {
        std::fs::write(file(&place), &whole[..length]).unwrap();
        check_damage(&place, length).await;
    }
}

async fn damaged_pages_cause_an_error_and_never_a_panic(place: Place) {
    filled(&place, 100).await;
    let whole = std::fs::read(file(&place)).unwrap();
    for page in 1..whole.len() / 4_096 {
        let mut damaged = whole.clone();
        damaged[page * 4_096..(page + 1) * 4_096].fill(0xa5);
        std::fs::write(file(&place), &damaged).unwrap();
        check_damage(&place, page).await;
    }
}

/// Opening or reading reports the damage, or finds everything.
async fn check_damage(place: &Place, which: usize) {
    let is_damage = |error: &Error| matches!(error, Error::Damaged(_));
    let store = match place.try_open().await {
        Ok(store) => store,
        Err(error) => return assert!(is_damage(&error), "{which}: {error:?}"),
    };
    match store
        .reader
        .read_log(Position(0), Forward, 1_000, &Filter::default())
        .await
    {
        Ok(page) => assert_eq!(page.events.len(), 100, "{which}"),
        Err(error) => assert!(is_damage(&error), "{which}: {error:?}"),
    }
    let mut store = store;
    match store
        .writer
        .commit(&[build::noted("note-1", Any, 1)], None)
        .await
    {
        Ok(outcomes) => assert!(matches!(outcomes[0], Outcome::Appended(_)), "{which}"),
        Err(error) => assert!(is_damage(&error), "{which}: {error:?}"),
    }
    // Closing a damaged file may fail.
    _ = store.writer.close().await;
}

async fn a_missing_folder_is_an_error(place: Place) {
    let url = format!("sqlite:{}", place.path("no/such/store.db").display());
    let error = quipu::store::open(&url.parse().unwrap())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("no/such/store.db"), "{error}");
}

async fn a_path_that_is_a_folder_is_an_error(place: Place) {
    std::fs::create_dir(file(&place)).unwrap();
    let error = why(&place).await;
    assert!(
        matches!(error, Error::Unavailable(_) | Error::Damaged(_)),
        "{error:?}"
    );
}

async fn a_read_only_file_is_an_error(place: Place) {
    check_read_only(&place, &["store.db"]).await;
}

async fn a_read_only_folder_is_an_error(place: Place) {
    check_read_only(&place, &[""]).await;
    check_read_only(&place, &["", "store.db", "store.db.lock"]).await;
}

/// Checks that a store whose given files are read-only is refused and not changed.
async fn check_read_only(place: &Place, names: &[&str]) {
    filled(place, 1).await;
    let before = std::fs::read(file(place)).unwrap();
    let set = |may_write: bool| {
        for name in names {
            let path = place.path(name);
            let mut permissions = std::fs::metadata(&path).unwrap().permissions();
            let mode = permissions.mode() & !0o222;
            permissions.set_mode(if may_write { mode | 0o200 } else { mode });
            std::fs::set_permissions(&path, permissions).unwrap();
        }
    };
    set(false);
    let error = if may_write_all(&place.path("")) && names.contains(&"") {
        eprintln!("this user may write read-only files: nothing to be seen here");
        None
    } else {
        place.try_open().await.err()
    };
    set(true);
    if let Some(error) = error {
        assert!(matches!(error, Error::ReadOnly(_)), "{names:?}: {error:?}");
        assert_eq!(std::fs::read(file(place)).unwrap(), before);
    }
    assert!(place.open().await.reader.log_head().await.unwrap() >= Position(1));
}

/// Whether file permissions do not apply to this user.
fn may_write_all(folder: &Path) -> bool {
    std::fs::write(folder.join("probe"), "").is_ok()
}

async fn a_missing_event_is_reported_as_damage_with_its_position(place: Place) {
    filled(&place, 6).await;
    let mut connection = connection(&place).await;
    sqlx::query("DELETE FROM events WHERE version = 3")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let store = place.open().await;
    let stream = "note-1".parse().unwrap();
    let read = |error: Error| error.to_string();
    let version = "stream note-1: version 3 is missing";
    let page = store
        .reader
        .read_stream(&stream, Version(1), Forward, 9)
        .await;
    assert!(page.map_err(read).unwrap_err().contains(version));
    let load = store.reader.load(&stream, Version(0), 9).await;
    assert!(load.map_err(read).unwrap_err().contains(version));
    let log = store
        .reader
        .read_log(Position(0), Forward, 9, &Filter::default())
        .await;
    assert!(
        log.map_err(read)
            .unwrap_err()
            .contains("position 3 is missing")
    );
}

async fn an_unreadable_event_is_named_even_within_a_long_page(place: Place) {
    for damage in [
        "UPDATE events SET event_id = x'00' WHERE position = 70",
        "UPDATE events SET tags = 'no list' WHERE position = 70",
        "UPDATE events SET plan = NULL, command = x'ff' WHERE position = 70",
        "UPDATE events SET commit_offset = 0 WHERE position = 70",
        "UPDATE events SET version = -70 WHERE position = 70",
        "PRAGMA foreign_keys = OFF; UPDATE events SET type_id = 4711 WHERE position = 70",
    ] {
        let place = place.another();
        filled(&place, 100).await;
        place.tamper(damage).await;
        let store = place.open().await;
        let read = |after, limit| {
            let all = Filter::default();
            let reader = Arc::clone(&store.reader);
            async move { reader.read_log(Position(after), Forward, limit, &all).await }
        };
        match read(0, 1_000).await {
            Err(Error::Damaged(why)) => assert!(why.contains("position 70"), "{damage}: {why}"),
            other => {
                // Readable events are returned, in pages and one by one.
                let others = other.unwrap().events;
                assert_eq!(others[69], read(69, 1).await.unwrap().events[0], "{damage}");
            }
        }
    }
}

async fn a_snapshot_with_impossible_values_is_returned_and_can_be_replaced(place: Place) {
    let stream = build::stream("note-1");
    for damage in [
        "UPDATE snapshots SET content_type = CAST(x'ff00' AS TEXT)",
        "UPDATE snapshots SET version = 9000000000000000000",
        "UPDATE snapshots SET version = -9223372036854775808",
        "UPDATE snapshots SET state_schema_version = 4294967297",
        "UPDATE snapshots SET taken_at = -9223372036854775808",
    ] {
        let place = place.another();
        filled(&place, 6).await;
        let store = place.open().await;
        let taken = build::snapshot("note-1", 6);
        assert!(store.snapshots.keep(&stream, &taken).await.unwrap());
        let mut store = store;
        let items = [build::truncate("note-1", 3, 6)];
        store.writer.commit(&items, None).await.unwrap();
        store.writer.close().await.unwrap();
        place.tamper(damage).await;

        let store = place.open().await;
        let found = store.snapshots.find(&stream).await.unwrap();
        assert_eq!(found.len(), 2, "{damage}");
        assert!(found.iter().all(|it| !it.is_intact(&stream)), "{damage}");
        assert_eq!(store.snapshots.newest("note", 9).await.unwrap().len(), 2);
        let anchors = store.snapshots.anchors(None, None, 9).await.unwrap();
        assert_eq!(anchors.len(), 1, "{damage}");
        // A snapshot with a version beyond its stream does not prevent a new one either.
        assert!(
            store.snapshots.keep(&stream, &taken).await.unwrap(),
            "{damage}"
        );
        let found = store.snapshots.find(&stream).await.unwrap();
        assert!(found.contains(&taken), "{damage}");
        store.writer.close().await.unwrap();
    }
}

async fn a_store_opened_for_reading_refuses_snapshots(place: Place) {
    filled(&place, 6).await;
    let url = place.url().parse().unwrap();
    let source = quipu::store::open_reading(&url).await.unwrap();
    let (stream, taken) = (build::stream("note-1"), build::snapshot("note-1", 6));
    let error = source.snapshots.keep(&stream, &taken).await;
    assert!(matches!(error, Err(Error::ReadOnly(_))), "{error:?}");
    assert!(source.snapshots.find(&stream).await.unwrap().is_empty());
}
