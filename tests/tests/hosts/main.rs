//! Several hosts on one PostgreSQL, and a PostgreSQL that goes away and comes back.
#![allow(clippy::unwrap_used)]

mod accounts;
mod clients;
mod horizon;
mod outages;
mod plans;
mod schemas;
