//! The command line, run as a person or a script runs it.

#![allow(clippy::unwrap_used)]

mod clients;
mod file;
mod help;
mod program;
mod serve;
