//! Programs of one schema version on a store that a later one has migrated.

use std::collections::BTreeSet;

use quipu::store::{self, Error};
use quipu_tests::{PATIENCE, Place, build, log, on_every_store};

on_every_store! {
    a_store_with_additions_of_a_later_version_is_read_and_written,
    a_store_that_only_later_versions_may_write_is_refused,
}

/// What a migration does that older programs need not know.
const SQLITE: &str = "ALTER TABLE events ADD COLUMN extra BLOB; \
    CREATE TABLE extras (extra_id INTEGER PRIMARY KEY); \
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
    VALUES (9998, 'additions', TRUE, x'00', 0)";
const POSTGRES: &str = "ALTER TABLE events ADD COLUMN extra bytea; \
    CREATE TABLE extras (extra_id bigint PRIMARY KEY); \
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
    VALUES (9998, 'additions', TRUE, '\\x00', 0)";
const SQLITE_FROM: &str = "UPDATE meta SET value = x'000000000000270E' WHERE name = 'writers_from'";
const POSTGRES_FROM: &str = "UPDATE meta SET value = int8send(9998) WHERE name = 'writers_from'";

async fn migrate(place: &Place, sqlite: &'static str, postgres: &'static str) {
    let is_sqlite = place.url().starts_with("sqlite");
    place
        .tamper(if is_sqlite { sqlite } else { postgres })
        .await;
}

async fn a_store_with_additions_of_a_later_version_is_read_and_written(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let is_sqlite = place.url().starts_with("sqlite");
    if is_sqlite {
        // One host has the file: it is stopped, as an earlier program that is started in place of
        // a later one.
        host.shutdown().await.unwrap();
        migrate(&place, SQLITE, POSTGRES).await;
    } else {
        // The host runs on.
        migrate(&place, SQLITE, POSTGRES).await;
        host.execute(&account, build::deposit(1)).await.unwrap();
        let ready = host.readiness(PATIENCE).await;
        assert!(ready.is_ready(), "{ready:?}");
        host.shutdown().await.unwrap();
    }
    let host = place.host().await;
    host.execute(&account, build::deposit(2)).await.unwrap();
    let note = build::stream("note-1");
    host.append(&note, build::append(build::events(3)))
        .await
        .unwrap();
    let events = if is_sqlite { 5 } else { 6 };
    assert_eq!(log::whole(&host).await.len(), events);
    let scope = quipu::proof::Scope::default();
    let found = host.verify(&scope, &mut |_| {}).await.unwrap();
    assert!(found.is_sound());
    host.shutdown().await.unwrap();
    // Reading only, too.
    let url = place.url().parse().unwrap();
    store::open_reading(&url).await.unwrap();
    // It does not take the version back.
    let migrated = store::migrate(&url).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (9998, 9998));
}

async fn a_store_that_only_later_versions_may_write_is_refused(place: Place) {
    let host = place.host().await;
    let note = build::stream("note-1");
    host.append(&note, build::append(build::events(1)))
        .await
        .unwrap();
    if place.url().starts_with("sqlite") {
        host.shutdown().await.unwrap();
        migrate(&place, SQLITE, POSTGRES).await;
        migrate(&place, SQLITE_FROM, POSTGRES_FROM).await;
    } else {
        migrate(&place, SQLITE, POSTGRES).await;
        migrate(&place, SQLITE_FROM, POSTGRES_FROM).await;
        // A host that was not stopped notices when its readiness is checked, and stops writing.
        let noticed = async {
            loop {
                let ready = host.readiness(PATIENCE).await;
                let mut checks = ready.checks.iter().filter_map(|it| it.fault.as_ref());
                if checks.any(|fault| fault.contains("use a newer program")) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, noticed).await.unwrap();
        let refused = host.append(&note, build::append(build::events(1))).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("use a newer program"), "{refused}");
        host.shutdown().await.unwrap();
    }
    let error = place.try_open().await.err().unwrap();
    assert!(
        matches!(error, Error::TooNew { found: 9998, .. }),
        "{error}"
    );
    let reading = store::open_reading(&place.url().parse().unwrap()).await;
    assert!(matches!(reading.err().unwrap(), Error::TooNew { .. }));
}

/// The statements of a migration, without comments, in one line each.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().filter(|line| !line.trim().starts_with("--"));
    let sql = lines.collect::<Vec<_>>().join(" ");
    let statements = sql.split(';').map(|statement| {
        let words: Vec<_> = statement.split_whitespace().collect();
        words.join(" ")
    });
    statements.filter(|it| !it.is_empty()).collect()
}

/// Whether a program that does not know of a statement works as before.
fn adds(statement: &str, tables: &mut BTreeSet<String>) -> bool {
    let words: Vec<_> = statement.split([' ', '(']).collect();
    match words[..] {
        ["CREATE", "TABLE", table, ..] => tables.insert(table.to_owned()),
        ["CREATE", "INDEX", _, "ON", table, ..]
        | ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] => tables.contains(table),
        ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] => {
            let is_optional = !statement.contains("NOT NULL") || statement.contains("DEFAULT");
            let restricts = ["REFERENCES", "CHECK", "UNIQUE", "GENERATED", ", "];
            is_optional && !restricts.iter().any(|word| statement.contains(word))
        }
        _ => false,
    }
}

#[test]
fn each_migration_is_additive_or_excludes_earlier_programs() {
    let mut checked = 0;
    for database in ["sqlite", "postgres"] {
        let folder = format!("{}/../migrations/{database}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let number: i64 = name.split_once('_').unwrap().0.parse().unwrap();
            let sql = std::fs::read_to_string(&path).unwrap();
            let statements = statements(&sql);
            if !store::is_additive(number) {
                let writers = statements.iter().any(|it| it.contains("'writers_from'"));
                assert!(
                    writers || number < 13,
                    "{database}/{name} sets writers_from"
                );
                continue;
            }
            checked += 1;
            let mut tables = BTreeSet::new();
            for statement in &statements {
                assert!(
                    adds(statement, &mut tables),
                    "{database}/{name}: {statement}"
                );
            }
        }
    }
    assert!(checked > 0);
    let mut tables = BTreeSet::new();
    for statement in [
        "ALTER TABLE events DROP COLUMN data",
        "ALTER TABLE events ADD COLUMN extra bigint NOT NULL",
        "CREATE INDEX event_extra ON events (extra)",
        "UPDATE meta SET value = '' WHERE name = 'secret'",
    ] {
        assert!(!adds(statement, &mut tables), "{statement}");
    }
}
