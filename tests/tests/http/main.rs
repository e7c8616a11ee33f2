//! The HTTP interface: every code and status, headers, bytes, hostile requests.

#![allow(clippy::unwrap_used)]

mod access;
mod appends;
mod atomic;
mod certificates;
mod commands;
mod connections;
mod console;
mod domain;
mod draining;
mod fuzzing;
mod hostile;
mod identity;
mod interface;
mod lifted;
mod limits;
mod lines;
mod long_reads;
mod memory;
mod metadata;
mod metrics;
mod modules;
mod pages;
mod past;
mod permissions;
mod preflights;
mod problems;
mod projections;
mod proof;
mod reads;
mod refusals;
mod revoking;
mod server;
mod snapshots;
mod streams;
mod subscriptions;
mod tenants;
mod tls;
mod tls_renewal;
mod transfer;
mod truncation;
mod types;
mod verify;
mod views;
