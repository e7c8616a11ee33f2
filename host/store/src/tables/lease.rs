//! Leases of named subscriptions and of builds: each row has a `token`, which rises with each
//! owner, and `held_until`. The database's clock is used, so that hosts need not agree on the time.

use std::time::Duration;

use super::signed;

/// Longest time for which a row is held: about a hundred years.
const LEASE_MS_MAX: u64 = 3_000_000_000_000;

/// Nobody holds the row.
macro_rules! is_free {
    () => {
        concat!(
            "(held_until IS NULL OR held_until <= ",
            super::dialect::now!(),
            ")"
        )
    };
}

/// Releases a row, if the token $2 is still the last one.
macro_rules! release {
    ($table:literal, $key:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET held_until = NULL WHERE ",
            $key,
            " = $1 AND token = $2"
        )
    };
}
pub(super) use {is_free, release};

/// A lease in milliseconds.
pub fn millis(lease: Duration) -> i64 {
    let millis = u64::try_from(lease.as_millis()).unwrap_or(LEASE_MS_MAX);
    signed(millis.min(LEASE_MS_MAX))
}
