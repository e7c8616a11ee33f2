//! Which migrations hosts of earlier programs need not know.
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

use super::{Error, Result};

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
