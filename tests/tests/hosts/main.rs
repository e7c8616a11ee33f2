//! Several hosts on one PostgreSQL, and a PostgreSQL that fails and comes back.
#![allow(clippy::unwrap_used)]

mod accounts;
mod address;
mod clients;
mod drops;
mod failover;
mod horizon;
mod imports;
mod inline;
mod late;
mod lost;
mod lost_answers;
mod outages;
mod plans;
mod requirements;
mod schemas;
mod silent;
mod snapshots;
mod standbys;
mod types;
