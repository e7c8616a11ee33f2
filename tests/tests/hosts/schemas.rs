//! A store is a schema, created once and checked at every start.

use std::time::Duration;

use quipu::model::{Body, Digest, Timestamp, Version};
use quipu::store::{self, Direction, Error, Filter, Outcome, StoreUrl, StoredSnapshot};
use quipu_tests::postgres::server;
use quipu_tests::{PATIENCE, Place, build, log};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Between two looks at what the server does.
const PAUSE: Duration = Duration::from_millis(20);

/// The migrations up to a version, with their numbers and names.
fn migrations(until: i64) -> Vec<(i64, String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/postgres");
    let files = std::fs::read_dir(folder).unwrap();
    let migrations = files.map(|file| {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (number, name) = stem.split_once('_').unwrap();
        let sql = std::fs::read_to_string(&path).unwrap();
        (number.parse().unwrap(), name.to_owned(), sql)
    });
    let mut migrations: Vec<_> = migrations.filter(|(number, ..)| *number <= until).collect();
    migrations.sort();
    migrations
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_created_as_a_whole_or_not_at_all() {
    const WAITING: &str = "SELECT pid FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))";
    let place = Place::postgres();
    let url: StoreUrl = place.url().parse().unwrap();
    let schema = place.schema().unwrap();
    // Somebody else has the name of a late table, until the first host has created the others.
    let mut someone = server().connect().await;
    for sql in [
        format!("CREATE SCHEMA {schema}"),
        format!("BEGIN; CREATE TABLE {schema}.proposals (id integer)"),
    ] {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        sql.execute(&mut someone).await.unwrap();
    }
    let mut server = server().connect().await;
    let mut waiting_for = async |pid: i32, host: &JoinHandle<_>| {
        let waiting = async {
            loop {
                let query = sqlx::query_scalar::<_, i32>(WAITING).bind(pid);
                match query.fetch_optional(&mut server).await.unwrap() {
                    Some(pid) => return Some(pid),
                    None if host.is_finished() => return None,
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        let waiting = tokio::time::timeout(PATIENCE, waiting).await;
        waiting.unwrap()
    };
    let pid = sqlx::query_scalar("SELECT pg_backend_pid()");
    let pid = pid.fetch_one(&mut someone).await.unwrap();
    let open = |url: StoreUrl| tokio::spawn(async move { store::open(&url).await.map(|_| ()) });

    let first = open(url.clone());
    let first_pid = waiting_for(pid, &first).await.unwrap();
    let second = open(url);
    assert!(
        waiting_for(first_pid, &second).await.is_some(),
        "it did not wait: {:?}",
        second.await
    );
    // As when the first host is killed.
    let sql = sqlx::query("SELECT pg_terminate_backend($1)").bind(first_pid);
    sql.execute(&mut someone).await.unwrap();
    first.await.unwrap().unwrap_err();
    someone.execute("ROLLBACK").await.unwrap();
    second.await.unwrap().unwrap();
}

/// Creates a schema as programs of an earlier version did.
async fn at_version(version: i64, place: &Place) -> PgConnection {
    let schema = place.url().rsplit_once("schema=").unwrap().1;
    let mut connection = server().connect().await;
    let sql = AssertSqlSafe(format!(
        "CREATE SCHEMA {schema}; SET search_path TO {schema}"
    ));
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let migrations = migrations(version).into_iter().map(|(number, name, sql)| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(number, name.into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    connection
}

/// Creates a schema as programs before version 3 did, and fills it.
async fn at_version_2(place: &Place) {
    let mut connection = at_version(2, place).await;
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
                known: 16
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("quipu migrate"), "{error}");

    let url: StoreUrl = place.url().parse().unwrap();
    let migrated = store::migrate(&url).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (2, 16));
    place.open().await;
    let again = store::migrate(&url).await.unwrap();
    assert_eq!((again.from, again.to), (16, 16));
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
        .tamper(
            "UPDATE _sqlx_migrations SET version = 99 WHERE version = 3; \
             UPDATE meta SET value = int8send(99) WHERE name = 'writers_from'",
        )
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
async fn only_an_additive_migration_is_possible_while_hosts_are_connected() {
    const HOST: &str = "SELECT pg_advisory_lock_shared((SELECT oid::bigint % 524288 \
        FROM pg_namespace WHERE nspname = current_schema())::int, 2)";
    for (version, is_online) in [(12, false), (13, true)] {
        let place = Place::postgres();
        // As a connected host of that version.
        let mut host = at_version(version, &place).await;
        host.execute(HOST).await.unwrap();
        let url: StoreUrl = place.url().parse().unwrap();
        let migrated = store::migrate(&url).await;
        if is_online {
            assert_eq!(migrated.unwrap().from, version);
            continue;
        }
        let error = migrated.unwrap_err();
        assert!(
            matches!(error, Error::HostsConnected { found: 12, .. }),
            "{error}"
        );
        host.close().await.unwrap();
        let migrating = async {
            // The server notices a little later that the host is gone.
            while store::migrate(&url).await.is_err() {}
        };
        tokio::time::timeout(PATIENCE, migrating).await.unwrap();
        place.open().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_holds_off_a_migration_that_is_not_additive() {
    let place = Place::postgres();
    let host = place.host().await;
    let stream = build::stream("note-1");
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    let count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 \
        AND objid::bigint = 2 AND classid::bigint = (SELECT oid::bigint % 524288 \
        FROM pg_namespace WHERE nspname = current_schema())";
    assert_eq!(place.number(count).await, 1);
    host.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_starts_during_a_migration_reads_and_writes_after_it() {
    const MIGRATING: &str = "SELECT pg_advisory_lock((SELECT oid::bigint % 524288 \
        FROM pg_namespace WHERE nspname = current_schema())::int, 2)";
    let place = Place::postgres();
    // As a migration that is not only additive.
    let mut migration = at_version(i64::MAX, &place).await;
    migration.execute(MIGRATING).await.unwrap();
    let host = place.host().await;
    assert!(!host.readiness(PATIENCE).await.is_ready());
    assert!(log::whole(&host).await.is_empty());
    // A command waits for the migration.
    let stream = build::stream("note-1");
    let append = build::append(build::events(1));
    let (appended, closed) = tokio::join!(host.append(&stream, append), migration.close());
    closed.unwrap();
    appended.unwrap();
    host.shutdown().await.unwrap();
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

#[tokio::test]
async fn an_address_that_asks_for_encryption_sends_nothing_without_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut asked) = mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            socket.read_exact(&mut request).await.unwrap();
            // This server has no encryption.
            socket.write_all(b"N").await.unwrap();
            let mut rest = Vec::new();
            _ = socket.read_to_end(&mut rest).await;
            _ = sender.send((request, rest));
        }
    });
    let url = format!("postgres://ann:secret@{address}/bank?sslmode=require");
    let error = store::open(&url.parse().unwrap()).await.err().unwrap();
    assert!(!error.to_string().contains("secret"), "{error}");
    // The client asked for encryption, and sent nothing after the answer.
    let (request, rest) = asked.recv().await.unwrap();
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
    assert!(rest.is_empty(), "{rest:?}");
    serving.abort();
}
