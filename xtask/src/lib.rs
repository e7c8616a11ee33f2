//! Code that chores share with the tests: it finds PostgreSQL's server.

pub mod postgres;
pub mod strace;
