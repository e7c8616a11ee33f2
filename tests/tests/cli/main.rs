//! The command line, as a person or a script uses it.

#![allow(clippy::unwrap_used)]

mod access;
mod administration;
mod asking;
mod author;
mod bases;
mod changing_events;
mod clients;
mod configuration;
mod contexts;
mod demo;
mod deprecated;
mod evolution;
mod file;
mod follow;
mod forgiving;
mod help;
mod local_audit;
mod log;
mod log_lines;
mod logs;
mod losses;
mod ops;
mod overload;
mod policy;
mod program;
mod projections;
mod proving;
mod secrets;
mod serve;
mod shipping;
mod ships;
mod steady;
mod subscriptions;
mod support_tasks;
mod swapping;
mod tables;
mod tenant_rules;
mod tenants;
mod tls;
mod traces;
mod transfer;
mod validating;
mod verify;
mod without_host;
