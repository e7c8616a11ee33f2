//! The migrations, and which of them hosts of earlier programs need not know.
//!
//! A store with a later schema than a program knows can be used by it if `writers_from` in the table
//! `meta` is not higher than the newest version that the program knows. So hosts are replaced one by
//! one: the store is migrated while the earlier program runs, and then each host is started with the
//! later one.
//!
//! From version 13 on each migration is of one of two kinds, which a test checks:
//!
//! - It only adds tables, with their indexes, and columns that are NULL or have a default. Earlier
//!   programs read and write as before. What they leave out is absent in their rows, which later
//!   programs must take for "not recorded", and never for damage.
//! - It sets `writers_from` to its own version. Then every host has to be stopped.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::{Error, Result};

/// The migrations of a database: the names of their files, and their SQL.
pub struct Migrations(&'static [(&'static str, &'static str)]);

/// The files of a folder. Numbered from 1, forward-only; a file that has been released never changes.
macro_rules! embedded {
    ($folder:literal) => {
        embedded!(
            $folder:
            "0001_store"
            "0002_checkpoints"
            "0003_snapshots"
            "0004_projections"
            "0005_proof"
            "0006_dropped"
            "0007_acknowledged"
            "0008_releases"
            "0009_rejection_details"
            "0010_access"
            "0011_tenants"
            "0012_digests"
            "0013_document_digests"
            "0014_proposals"
            "0015_audit_begun"
            "0016_proposed_by"
        )
    };
    ($folder:literal: $($name:literal)*) => {
        &[$((
            $name,
            include_str!(concat!("../../../migrations/", $folder, "/", $name, ".sql")),
        )),*]
    };
}

pub const SQLITE: Migrations = Migrations(embedded!("sqlite"));
pub const POSTGRES: Migrations = Migrations(embedded!("postgres"));

impl Migrations {
    /// The newest schema version that this program knows.
    pub fn newest(&self) -> i64 {
        self.numbered()
            .map(|(number, _)| number)
            .last()
            .unwrap_or(0)
    }

    pub fn migrator(&self) -> Migrator {
        let all = self.numbered().map(|(number, (file, sql))| {
            let name = file.split_once('_').map_or(*file, |(_, name)| name);
            let sql = sql.into_sql_str();
            Migration::new(number, name.into(), MigrationType::Simple, sql, false)
        });
        Migrator::with_migrations(all.collect())
    }

    fn numbered(&self) -> impl Iterator<Item = (i64, &'static (&'static str, &'static str))> {
        (1..).zip(self.0)
    }
}

/// Why migrations failed. `of` reads an error of the database.
pub fn failed(error: MigrateError, of: impl Fn(sqlx::Error) -> Error) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => of(error),
        other => Error::Damaged(format!("migrations: {other}")),
    }
}

/// In the table `meta`: the lowest schema version whose programs may use the store, in 8 bytes.
pub const WRITERS_FROM: &str = "writers_from";

/// The schema versions of migrations that only add.
const ADDITIVE: &[i64] = &[14, 15, 16];

/// Returns whether the migration to a schema version only adds what earlier programs need not know.
pub fn is_additive(schema_version: i64) -> bool {
    ADDITIVE.contains(&schema_version)
}

/// Returns whether hosts may run while a store is migrated.
pub fn may_run_meanwhile(from: i64, to: i64) -> bool {
    (from + 1..=to).all(is_additive)
}

/// Refuses a store with the later schema `found`, unless a program that knows schemas up to `known`
/// need not know what was added. `writers_from` is 0 where it is absent.
pub fn check_usable(writers_from: u64, found: i64, known: i64) -> Result<()> {
    let newest = u64::try_from(known).unwrap_or_default();
    match (1..=newest).contains(&writers_from) {
        true => Ok(()),
        false => Err(Error::TooNew { found, known }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_a_folder_is_a_migration_with_its_number() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        for (folder, migrations) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let files = std::fs::read_dir(format!("{root}/{folder}")).unwrap();
            assert_eq!(files.count(), migrations.0.len());
            for (number, (name, _)) in migrations.numbered() {
                assert!(name.starts_with(&format!("{number:04}_")), "{name}");
            }
        }
    }
}
