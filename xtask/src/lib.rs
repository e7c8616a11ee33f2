//! What chores share with the tests: where PostgreSQL's server is.

pub mod postgres;
