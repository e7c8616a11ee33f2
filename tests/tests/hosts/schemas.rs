//! A store is a schema, created once and checked at every start.

use std::time::Duration;

use quipu::model::{Body, Digest, Timestamp, Version};
use quipu::store::{self, Direction, Error, Filter, Outcome, StoreUrl, StoredSnapshot};
use quipu_tests::postgres::server;
use quipu_tests::{Place, build, log};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

const VERSION_2: [(i64, &str, &str); 2] = [
    (
        1,
        "store",
        include_str!("../../../migrations/postgres/0001_store.sql"),
    ),
    (
        2,
        "checkpoints",
        include_str!("../../../migrations/postgres/0002_checkpoints.sql"),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_start_at_the_same_time_create_one_store() {
    let place = Place::postgres();
    let opening = (0..6).map(|_| place.try_open());
    let stores: Vec<_> = futures::future::join_all(opening).await;
    let secrets: Vec<_> = stores
        .into_iter()
        .map(|store| store.unwrap().secret)
        .collect();
    assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Creates a schema as programs before version 3 did, and fills it.
async fn at_version_2(place: &Place) {
    let schema = place.url().rsplit_once("schema=").unwrap().1;
    let mut connection = server().connect().await;
    let sql = AssertSqlSafe(format!(
        "CREATE SCHEMA {schema}; SET search_path TO {schema}"
    ));
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let migrations = VERSION_2.iter().map(|(number, name, sql)| {
        let sql = sql.into_sql_str();
        Migration::new(*number, (*name).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    sqlx::raw_sql(
        "INSERT INTO streams (name, version, recorded_at, archived_at) \
             VALUES ('note-1', 2, 6, NULL), ('note-2', 1, 7, 8); \
         INSERT INTO event_types (category, name, schema_version, content_type) \
             VALUES ('note', 'noted', 1, 'application/json'); \
         INSERT INTO modules (digest, bytes, uploaded_at) \
             VALUES (decode(repeat('01', 32), 'hex'), 'x', 2); \
         INSERT INTO deployments (plan, name, module_id, activated_at) \
             SELECT 1, 'note', module_id, 3 FROM modules; \
         INSERT INTO events (position, stream_id, version, type_id, event_id, recorded_at, \
             commit_offset, data, commit_size, plan) \
             SELECT nextval('positions'), s.stream_id, v, t.type_id, gen_random_uuid(), v + 4, \
             0, '{}', 1, 1 FROM event_types AS t, streams AS s, generate_series(1, s.version) AS v; \
         INSERT INTO checkpoints (name, position, token) VALUES ('reader', 2, 4)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_is_refused_until_it_is_migrated() {
    let place = Place::postgres();
    at_version_2(&place).await;
    let error = place.try_open().await.err().unwrap();
    assert!(
        matches!(
            error,
            Error::TooOld {
                found: 2,
                known: 15
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("quipu migrate"), "{error}");

    let url: StoreUrl = place.url().parse().unwrap();
    let migrated = store::migrate(&url).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (2, 15));
    place.open().await;
    let again = store::migrate(&url).await.unwrap();
    assert_eq!((again.from, again.to), (15, 15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migrated_store_keeps_its_data_and_takes_appends() {
    let place = Place::postgres();
    at_version_2(&place).await;
    store::migrate(&place.url().parse().unwrap()).await.unwrap();
    let mut store = place.open().await;
    let (all, forward) = (Filter::default(), Direction::Forward);
    assert_eq!(log::read(&*store.reader, forward, 9, &all).await.len(), 3);
    for (id, version, archived) in [("note-1", 2, false), ("note-2", 1, true)] {
        let head = store
            .reader
            .head(&build::stream(id))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((head.version.0, head.archived), (version, archived));
        assert_eq!(head.truncated_before, Version::NONE);
    }
    let deployments = store.modules.deployments().await.unwrap();
    assert_eq!(deployments[0].categories, ["note"]);
    assert!(deployments[0].trusted.is_empty());
    let claim = store
        .checkpoints
        .claim("reader", Duration::from_secs(9))
        .await;
    assert_eq!(claim.unwrap().unwrap().position.0, 2);
    assert_eq!(store.types.types().await.unwrap()[0].events, 3);
    let stream = build::stream("note-1");
    let body = Body::json("{}".to_owned()).unwrap();
    let (fold, at) = (Digest([7; 32]), Timestamp(1));
    let snapshot = StoredSnapshot::new(&stream, Version(2), 1, &body, fold, at);
    assert!(store.snapshots.keep(&stream, &snapshot).await.unwrap());
    // An activation by an old program has changed the category with the activation's name.
    let noted = |plan| {
        let mut commit = build::commit(None, build::events(1));
        commit.plan = plan;
        build::item(None, vec![build::write("note-1", build::exact(2), commit)])
    };
    let outcomes = store
        .writer
        .commit(&[noted(0), noted(1)], None)
        .await
        .unwrap();
    assert!(
        matches!(outcomes[..], [Outcome::PlanMoved, Outcome::Appended(_)]),
        "{outcomes:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused() {
    let place = Place::postgres();
    place.host().await.shutdown().await.unwrap();
    place
        .tamper("UPDATE _sqlx_migrations SET version = 99 WHERE version = 3")
        .await;
    let error = place.try_open().await.err().unwrap();
    assert!(matches!(error, Error::TooNew { found: 99, .. }), "{error}");
    let url: StoreUrl = place.url().parse().unwrap();
    assert!(matches!(
        store::migrate(&url).await,
        Err(Error::TooNew { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schemas_of_one_database_are_two_stores() {
    let (one, other) = (Place::postgres(), Place::postgres());
    let stream = build::stream("note-1");
    let (here, there) = (one.host().await, other.host().await);
    here.append(&stream, build::append(build::events(3)))
        .await
        .unwrap();
    assert!(log::whole(&there).await.is_empty());
    there
        .append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    assert_eq!(log::whole(&here).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_about_an_unreachable_server_does_not_show_the_password() {
    let url: StoreUrl = "postgres://ann:secret@127.0.0.1:1/bank".parse().unwrap();
    let error = store::open(&url).await.err().unwrap();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
