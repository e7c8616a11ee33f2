//! SQLite files of earlier versions, under other names, and with missing positions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quipu::model::ExpectedVersion::Any;
use quipu::model::Position;
use quipu::store::Direction::{Backward, Forward};
use quipu::store::{Error, Filter, Import, Item, Outcome, Store, StoredEvent, StreamFilter};
use quipu_tests::{Place, build, log, on_sqlite};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor, SqlSafeStr};

on_sqlite! {
    a_store_of_the_first_schema_can_be_used_after_migration,
    a_store_of_the_second_schema_can_be_used_after_migration,
    a_file_with_two_hard_links_is_refused,
    a_refused_host_does_not_release_the_locks_of_the_first,
    a_missing_position_after_an_import_is_damage,
    a_checkpoint_is_free_after_its_owner_crashed,
    a_closed_store_returns_errors,
}

fn file(place: &Place) -> PathBuf {
    place.url().strip_prefix("sqlite:").unwrap().into()
}

async fn connection(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    options.connect().await.unwrap()
}

async fn commit(store: &mut Store, items: &[Item]) -> Vec<Outcome> {
    store.writer.commit(items, None).await.unwrap()
}

async fn positions(store: &Store, direction: quipu::store::Direction) -> Vec<u64> {
    let events = log::read(&*store.reader, direction, 2, &Filter::default()).await;
    events.iter().map(|event| event.position.0).collect()
}

const FIRST_SCHEMA: &str = include_str!("../../../migrations/sqlite/0001_store.sql");

/// Three events as the first version of the program wrote them: one without a command, then two of
/// one command.
const FIRST_EVENTS: &str = "\
    INSERT INTO meta VALUES ('secret', zeroblob(32)); \
    INSERT INTO streams VALUES (1, 'note-1', NULL), (2, 'note-2', 77); \
    INSERT INTO event_types VALUES (1, 'note', 'noted', 1, 'application/json'); \
    INSERT INTO events (position, stream_id, version, type_id, event_id, recorded_at, \
        commit_offset, data, command_id, commit_size, plan, command) VALUES \
        (1, 1, 1, 1, randomblob(16), 5, 0, x'31', NULL, 1, 0, NULL), \
        (2, 1, 2, 1, randomblob(16), 6, 0, x'32', 'k', 2, 0, \
         x'01016B076465706F7369740100027B7D00000000000701020304'), \
        (3, 1, 3, 1, randomblob(16), 6, 1, x'33', NULL, NULL, NULL, NULL), \
        (4, 2, 1, 1, randomblob(16), 7, 0, x'34', NULL, 1, 0, NULL);";

/// A file of an older schema, with some rows.
async fn older(place: &Place, schemas: &[(&'static str, &'static str)], rows: &'static str) {
    let mut older = connection(&file(place)).await;
    older
        .execute("PRAGMA application_id = 0x51707531")
        .await
        .unwrap();
    let schemas = (1..).zip(schemas).map(|(number, (name, sql))| {
        let sql = sql.into_sql_str();
        Migration::new(number, (*name).into(), MigrationType::Simple, sql, false)
    });
    let migrator = Migrator::with_migrations(schemas.collect());
    migrator.run_direct(None, &mut older, false).await.unwrap();
    older.execute(rows).await.unwrap();
    older.close().await.unwrap();
}

async fn a_store_of_the_first_schema_can_be_used_after_migration(place: Place) {
    older(&place, &[("store", FIRST_SCHEMA)], FIRST_EVENTS).await;
    for round in 0..2 {
        let mut store = place.open().await;
        assert_eq!(store.secret, [0; 32]);
        let outcomes = commit(&mut store, &[build::check("note-1", None, Some("k"))]).await;
        let Outcome::Known(known) = &outcomes[0] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(known[0].as_ref().unwrap().events.len(), 2);
        let given = build::commit(None, vec![build::given(1, "1"), build::given(2, "2")]);
        let item = build::item(None, vec![build::write("note-1", Any, given)]);
        let outcomes = commit(&mut store, &[item]).await;
        match (round, &outcomes[0]) {
            (0, Outcome::Appended(appended)) => assert_eq!(appended[0].first_version.0, 4),
            (1, Outcome::Repeated(known)) => assert!(known[0].is_some()),
            (_, other) => panic!("{other:?}"),
        }
        assert_eq!(positions(&store, Forward).await, [1, 2, 3, 4, 5, 6]);
        let listed = store
            .reader
            .streams(None, 9, &StreamFilter::default())
            .await
            .unwrap();
        let listed: Vec<_> = listed.streams.iter().map(|it| it.stream.as_str()).collect();
        assert_eq!(listed, ["note-1"]);
        let refused = commit(&mut store, &[build::noted("note-2", Any, 1)]).await;
        assert!(matches!(refused[0], Outcome::Archived(_)), "{refused:?}");
        store.writer.close().await.unwrap();
    }
}

const SECOND_SCHEMA: &str = include_str!("../../../migrations/sqlite/0002_checkpoints.sql");

/// An activation as the second version of the program wrote it, with events.
const SECOND_ROWS: &str = "\
    INSERT INTO meta VALUES ('secret', zeroblob(32)); \
    INSERT INTO modules VALUES (1, zeroblob(32), x'00', 3); \
    INSERT INTO deployments VALUES (1, 'note', 1, 4, 'ann'); \
    INSERT INTO checkpoints VALUES ('reader', 2, 7, NULL); \
    INSERT INTO streams VALUES (1, 'note-1', NULL), (2, 'other-1', 77); \
    INSERT INTO event_types VALUES (1, 'note', 'noted', 1, 'application/json'), \
        (2, 'other', 'noted', 2, 'application/json'); \
    INSERT INTO events (position, stream_id, version, type_id, event_id, recorded_at, \
        commit_offset, data, commit_size, plan) VALUES \
        (1, 1, 1, 1, randomblob(16), 5, 0, x'31', 2, 1), \
        (2, 1, 2, 1, randomblob(16), 5, 1, x'32', NULL, NULL), \
        (3, 2, 1, 2, randomblob(16), 7, 0, x'33', 1, 1);";

async fn a_store_of_the_second_schema_can_be_used_after_migration(place: Place) {
    let schemas = [("store", FIRST_SCHEMA), ("checkpoints", SECOND_SCHEMA)];
    older(&place, &schemas, SECOND_ROWS).await;
    for marked in [0, 2] {
        let mut store = place.open().await;
        let plan = store.modules.deployments().await.unwrap().remove(0);
        assert_eq!((plan.plan, &*plan.name), (1, "note"));
        assert_eq!(
            (plan.categories, plan.trusted),
            (vec!["note".to_owned()], vec![])
        );
        let claim = store.checkpoints.claim("reader", Default::default());
        assert_eq!(claim.await.unwrap().unwrap().position, Position(2));
        for (of, archived, before) in [("note-1", false, marked), ("other-1", true, 0)] {
            let head = store.reader.head(&build::stream(of)).await.unwrap();
            let head = head.unwrap();
            assert_eq!((head.archived, head.truncated_before.0), (archived, before));
        }
        let counts = store.types.types().await.unwrap();
        let counts: Vec<_> = counts.iter().map(|it| (&*it.category, it.events)).collect();
        assert_eq!(counts[counts.len() - 2..], [("note", 2), ("other", 1)]);
        // Decisions made before the activation are outdated.
        let mut current = build::truncate("note-1", 2, 2);
        if let Item::Mark(mark) = &mut current {
            mark.write.commit.plan = 1;
        }
        let items = [
            build::noted("note-1", Any, 1),
            build::truncate("note-1", 2, 2),
            current,
        ];
        let outcomes = commit(&mut store, &items).await;
        for refused in &outcomes[..2] {
            assert!(matches!(refused, Outcome::PlanMoved), "{outcomes:?}");
        }
        let marked = matches!(outcomes[2], Outcome::Marked(Some(_)));
        assert!(marked, "{outcomes:?}");
        store.writer.close().await.unwrap();
    }
}

async fn a_file_with_two_hard_links_is_refused(place: Place) {
    let mut store = place.open().await;
    commit(&mut store, &[build::noted("note-1", Any, 1)]).await;
    let other = place.path("other.db");
    std::fs::hard_link(file(&place), &other).unwrap();
    let url = format!("sqlite:{}", other.display()).parse().unwrap();
    let error = quipu::store::open(&url).await.err().unwrap();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    for part in ["other.db", "2 names"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(!place.path("other.db-wal").exists());
    commit(&mut store, &[build::noted("note-1", build::exact(1), 1)]).await;
    store.writer.close().await.unwrap();

    assert!(place.try_open().await.is_err());
    std::fs::remove_file(&other).unwrap();
    assert_eq!(positions(&place.open().await, Forward).await, [1, 2]);
}

/// The locks on a file on this machine, as Linux lists them.
fn locks(path: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let file = format!(":{} ", std::fs::metadata(path).unwrap().ino());
    let all = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let held = all.lines().filter(|line| line.contains(&file));
    held.map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

async fn a_refused_host_does_not_release_the_locks_of_the_first(place: Place) {
    let store = place.open().await;
    let before = locks(&file(&place));
    let error = place.try_open().await.err().unwrap();
    assert!(matches!(error, Error::InUse(_)), "{error}");
    assert_eq!(locks(&file(&place)), before);
    if cfg!(target_os = "linux") {
        assert!(!before.is_empty());
    }
    store.writer.close().await.unwrap();
}

fn event_at(position: u64, version: u64) -> StoredEvent {
    StoredEvent {
        event: build::event("noted", "1"),
        stream: build::stream("note-1"),
        version: quipu::model::Version(version),
        position: Position(position),
        recorded_at: quipu::model::Timestamp(5),
        commit_offset: 0,
        commit: Some(quipu::store::StoredCommit {
            command: None,
            decided: None,
            plan: 0,
            events: 1,
            digest: None,
        }),
    }
}

async fn delete(place: &Place, position: i64) {
    let mut connection = connection(&file(place)).await;
    let done = sqlx::query("DELETE FROM events WHERE position = ?1")
        .bind(position)
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
    connection.close().await.unwrap();
}

async fn a_missing_position_after_an_import_is_damage(place: Place) {
    let mut store = place.open().await;
    let holes = vec![event_at(3, 1), event_at(4, 2), event_at(9, 3)];
    store.writer.import(&Import::Events(holes)).await.unwrap();
    // A part without a gap does not make the store forget earlier gaps.
    let dense = vec![event_at(10, 4), event_at(11, 5)];
    store.writer.import(&Import::Events(dense)).await.unwrap();
    commit(&mut store, &[build::noted("note-1", Any, 3)]).await;
    let all = [3, 4, 9, 10, 11, 12, 13, 14];
    assert_eq!(positions(&store, Forward).await, all);
    store.writer.close().await.unwrap();

    // Below position 9 positions may be missing; there the versions reveal damage.
    let store = place.open().await;
    let back: Vec<u64> = all.into_iter().rev().collect();
    assert_eq!(positions(&store, Backward).await, back);
    store.writer.close().await.unwrap();
    for missing in [13, 10] {
        delete(&place, missing).await;
        let store = place.open().await;
        for (direction, from) in [(Forward, 0), (Backward, u64::MAX)] {
            let page = store
                .reader
                .read_log(Position(from), direction, 100, &Filter::default())
                .await;
            let error = page.unwrap_err().to_string();
            assert!(error.contains("is missing"), "{error}");
        }
        let error = store
            .reader
            .read_stored(Position(0), 100)
            .await
            .unwrap_err();
        let message = format!("position {missing} is missing");
        assert!(error.to_string().contains(&message), "{error}");
        store.writer.close().await.unwrap();
    }
}

async fn a_checkpoint_is_free_after_its_owner_crashed(place: Place) {
    let lease = Duration::from_secs(3_600);
    let store = place.open().await;
    let first = store
        .checkpoints
        .claim("reader", lease)
        .await
        .unwrap()
        .unwrap();
    store.writer.close().await.unwrap();
    // The lock proves that no other host is left.
    let store = place.open().await;
    let second = store
        .checkpoints
        .claim("reader", lease)
        .await
        .unwrap()
        .unwrap();
    assert!(second.token > first.token);
    store.writer.close().await.unwrap();
}

async fn a_closed_store_returns_errors(place: Place) {
    let lease = Duration::from_secs(1);
    let store = place.open().await;
    let token = store
        .checkpoints
        .claim("reader", lease)
        .await
        .unwrap()
        .unwrap()
        .token;
    store.writer.close().await.unwrap();
    let closed = |error: Option<Error>| matches!(error, Some(Error::Unavailable(_)));
    let (checkpoints, reader) = (&store.checkpoints, &store.reader);
    assert!(closed(checkpoints.claim("reader", lease).await.err()));
    assert!(closed(
        checkpoints
            .advance("reader", token, Position(1), lease)
            .await
            .err()
    ));
    assert!(closed(checkpoints.release("reader", token).await.err()));
    assert!(closed(reader.log_head().await.err()));
    assert!(closed(reader.read_stored(Position(0), 1).await.err()));
}
