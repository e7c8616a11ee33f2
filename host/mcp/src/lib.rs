//! The tools of a host for agents, over the Model Context Protocol (MCP).
//!
//! A tool is one or a few operations of the HTTP interface. [`Session`] reads messages of JSON-RPC and
//! sends these operations through a [`Host`]: the server passes them to its own router with the
//! credentials of the caller, `quipu mcp` sends them to a host. So the rights, the limits and the
//! audit of a tool are those of HTTP, and there is no second way to the store.
//!
//! Only tools are offered, and only tools that read unless the mode is [`Mode::Propose`] or
//! [`Mode::Act`]. What strangers
//! wrote into events is in results only, as data. Instructions are fixed. Names and descriptions are
//! fixed, or come from deployed components: then they are bounded and marked as such.
//!
//! The protocol is written here and not taken from the crate `rmcp`, for two reasons. `rmcp` holds
//! results as `serde_json::Value`, which rounds numbers of more than 17 digits, and Quipu returns
//! data byte for byte. And it brings about 18 crates for sessions, streams and tasks, while these
//! tools need four methods.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod bounded;
mod catalog;
mod commands;
mod declared;
mod diff;
mod explain;
mod find;
mod members;
mod message;
mod naming;
mod outcome;
mod proofs;
mod read;
mod session;

pub use message::{MESSAGE_BYTES_MAX, too_large};
pub use session::{Mode, Session, VERSIONS};

use futures::future::BoxFuture;

/// Sends operations of the HTTP interface with the credentials of one caller.
pub trait Host: Send + Sync {
    /// Sends a request. An error is a sentence for the agent: the host did not answer.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, String>>;
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Writes.
    Post,
}

/// An operation of the HTTP interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The segments of the path, which are not percent-encoded yet.
    pub path: Vec<String>,
    /// The parameters, which are not percent-encoded yet.
    pub query: Vec<(&'static str, String)>,
    /// Headers in addition to those of the caller.
    pub headers: Vec<(&'static str, String)>,
    /// A body of JSON.
    pub body: Option<String>,
}

impl Request {
    /// A request that reads a path.
    fn get(path: &[&str]) -> Self {
        Self {
            method: Method::Get,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// The same with a parameter.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and texts are given directly"
    )]
    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// The same with a parameter, if there is a value.
    fn maybe(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body: JSON.
    pub body: Vec<u8>,
}

/// Most bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
