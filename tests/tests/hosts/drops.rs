//! Events dropped before drops belonged to projections belong to the projection after a migration.

use quipu::model::{Position, Timestamp};
use quipu::store::{self, DroppedEvent, Subject};
use quipu_tests::Place;
use quipu_tests::postgres::server;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr};

macro_rules! version_5 {
    ($database:literal) => {
        [
            include_str!(concat!(
                "../../../migrations/",
                $database,
                "/0001_store.sql"
            )),
            include_str!(concat!(
                "../../../migrations/",
                $database,
                "/0002_checkpoints.sql"
            )),
            include_str!(concat!(
                "../../../migrations/",
                $database,
                "/0003_snapshots.sql"
            )),
            include_str!(concat!(
                "../../../migrations/",
                $database,
                "/0004_projections.sql"
            )),
            include_str!(concat!(
                "../../../migrations/",
                $database,
                "/0005_proof.sql"
            )),
        ]
    };
}

const NAMES: [&str; 5] = ["store", "checkpoints", "snapshots", "projections", "proof"];

/// Two builds of a projection and a dropped build of another. True and false are 1 and 0 in one of
/// the databases.
macro_rules! filled {
    ($yes:literal, $no:literal, $module:literal) => {
        concat!(
            "INSERT INTO projections (name) VALUES ('notes'), ('gone'); \
             INSERT INTO builds (projection, role, version, module, started_at) VALUES \
                 ('notes', 'active', 1, ",
            $module,
            ", 1), \
                 ('notes', 'previous', 1, ",
            $module,
            ", 1), \
                 ('gone', 'dropped', 1, ",
            $module,
            ", 1); \
             INSERT INTO skipped_events \
                 (build, position, is_stream, subject, at, error, attempts, reason) VALUES \
                 (1, 4, ",
            $no,
            ", 'k', 9, 'why', 2, 'no use'), \
                 (1, 4, ",
            $yes,
            ", 's-1', 9, 'why', 2, 'no use'), \
                 (1, 5, ",
            $no,
            ", 'k', 9, 'why', 2, 'the policy skips what fails'), \
                 (2, 4, ",
            $no,
            ", 'k', 8, 'why', 2, 'earlier'), \
                 (2, 3, ",
            $no,
            ", 'l', 7, NULL, 0, 'old'), \
                 (3, 3, ",
            $no,
            ", 'l', 7, NULL, 0, 'old');"
        )
    };
}

fn migrator(sql: [&'static str; 5]) -> Migrator {
    let migrations = (1..).zip(NAMES).zip(sql);
    let migrations = migrations.map(|((number, name), sql)| {
        let sql = sql.into_sql_str();
        Migration::new(number, name.into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

async fn check(place: &Place) {
    let migrated = store::migrate(&place.url().parse().unwrap()).await.unwrap();
    assert_eq!(migrated.from, 5);
    let store = place.open().await;
    let event = |subject, position, at, reason: &str| DroppedEvent {
        subject,
        position: Position(position),
        at: Timestamp(at),
        reason: reason.into(),
    };
    let dropped = store.documents.dropped("notes", None, 10).await.unwrap();
    let expected = [
        event(Subject::Document("l".into()), 3, 7, "old"),
        event(Subject::Document("k".into()), 4, 8, "earlier"),
        event(Subject::Stream("s-1".into()), 4, 9, "no use"),
    ];
    assert_eq!(dropped, expected);
    let none = store.documents.dropped("gone", None, 10).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_events_of_older_schemas_are_migrated_on_postgres() {
    let place = Place::postgres();
    let schema = place.url().rsplit_once("schema=").unwrap().1;
    let mut connection = server().connect().await;
    let sql = AssertSqlSafe(format!(
        "CREATE SCHEMA {schema}; SET search_path TO {schema}"
    ));
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let migrating = migrator(version_5!("postgres"));
    let migrating = migrating.run_direct(None, &mut connection, false);
    migrating.await.unwrap();
    let fill = filled!("true", "false", "decode(repeat('01', 32), 'hex')");
    sqlx::raw_sql(fill).execute(&mut connection).await.unwrap();
    check(&place).await;
}

#[tokio::test]
async fn dropped_events_of_older_schemas_are_migrated_on_sqlite() {
    let place = Place::sqlite();
    let file = place.url().strip_prefix("sqlite:").unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .pragma("application_id", i32::from_be_bytes(*b"Qpu1").to_string())
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let migrating = migrator(version_5!("sqlite"));
    let migrating = migrating.run_direct(None, &mut connection, false);
    migrating.await.unwrap();
    let fill = filled!("1", "0", "zeroblob(32)");
    sqlx::raw_sql(fill).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    check(&place).await;
}
