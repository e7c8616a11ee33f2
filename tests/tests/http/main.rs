//! The HTTP interface: every code and status, headers, bytes, hostile requests.

#![allow(clippy::unwrap_used)]

mod appends;
mod atomic;
mod commands;
mod hostile;
mod interface;
mod lines;
mod metadata;
mod modules;
mod problems;
mod reads;
mod server;
mod streams;
mod transfer;
