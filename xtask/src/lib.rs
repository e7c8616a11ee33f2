//! Code that chores share with the tests: it finds PostgreSQL's server and other programs.

pub mod axe;
pub mod chromium;
pub mod interpreters;
mod packages;
pub mod postgres;
pub mod promtool;
pub mod strace;
