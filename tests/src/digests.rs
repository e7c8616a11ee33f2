//! Stores and exports as they were before commits had digests.

use crate::Place;

/// Makes the store one of that time: its commits have no digest, and need none.
pub async fn forget(place: &Place) {
    const SQLITE: &str = "UPDATE events SET commit_digest = NULL; \
        DELETE FROM meta WHERE name = 'unproved'; \
        INSERT INTO meta (name, value) \
        SELECT 'unproved', unhex(printf('%016X', max(position))) FROM events";
    const POSTGRES: &str = "UPDATE events SET commit_digest = NULL; \
        UPDATE streams SET digest = NULL; \
        DELETE FROM meta WHERE name = 'unproved'; \
        INSERT INTO meta (name, value) \
        SELECT 'unproved', int8send(max(position)) FROM events";
    let is_sqlite = place.url().starts_with("sqlite");
    place
        .tamper(if is_sqlite { SQLITE } else { POSTGRES })
        .await;
}

/// An export without the digests of its commits.
pub fn without(export: &str) -> String {
    let (mut rest, mut out) = (export, String::new());
    while let Some((before, after)) = rest.split_once(",\"digest\":\"") {
        out += before;
        // The digits, and the quotation mark.
        rest = &after[65..];
    }
    out + rest
}
