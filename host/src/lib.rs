//! An event-sourcing host whose domain logic runs as WebAssembly components.
//!
//! A [`Host`] opens a store (SQLite, PostgreSQL, or a temporary one), loads the active modules,
//! executes commands, maintains projections and serves subscriptions, all in the process of
//! your program. The program `quipu` is the same host with an HTTP server around it.
//!
//! # Embed
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), quipu::Error> {
//! let host = quipu::Host::builder().store("memory:").build().await?;
//! assert_eq!(host.plan().number, 0);
//! host.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Execute
//!
//! A component decides commands. Its answer comes after the commit; the same command id, sent
//! a second time, gets the recorded outcome.
//!
//! ```no_run
#![doc = include_str!("../examples/library/execute.rs")]
//! ```
//!
//! # Subscribe
//!
//! A subscription reads what is stored, then what is committed, with no gap and no duplicate.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), quipu::Error> {
//! use futures::StreamExt;
//! use quipu::engine::Append;
//! use quipu::model::{Body, NewEvent, Position};
//! use quipu::store::Filter;
//! use quipu::subscribe::{Message, Subscribe};
//!
//! let host = quipu::Host::builder().store("memory:").build().await?;
//! let event = NewEvent::new("measured", Body::json(r#"{"celsius":21}"#)?)?;
//! let append = Append {
//!     events: vec![event],
//!     ..Append::default()
//! };
//! host.append(&"sensor-7".parse()?, append).await?;
//!
//! let subscribe = Subscribe::log(Position(0), Filter::default());
//! let mut subscription = host.subscribe(subscribe).await?;
//! while let Some(message) = subscription.next().await {
//!     if let Message::Event(event) = message? {
//!         assert_eq!(event.name.as_str(), "measured");
//!         break;
//!     }
//! }
//! # drop(subscription);
//! # host.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Project
//!
//! Projections are maintained from the moment at which their component is deployed, and from
//! the first event on. A read may wait for the position that an execution returned.
//!
//! ```no_run
#![doc = include_str!("../examples/library/project.rs")]
//! ```
//!
//! # Swap
//!
//! A module that takes the place of another one first re-decides the recorded history. It does
//! not become active where that leads to other decisions, unless that is allowed.
//!
//! ```no_run
#![doc = include_str!("../examples/library/swap.rs")]
//! ```

// The examples that need a component are run by `tests/tests/proof/examples_of_the_library.rs`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access;
pub mod app;
pub mod commit;
pub mod deploy;
pub mod engine;
pub mod fold;
pub mod log_context;
pub mod meters;
pub mod projection;
pub mod proof;
pub mod propose;
pub mod schema;
pub mod subscribe;
pub mod transfer;
pub mod upcast;

pub use app::{Builder, Demand, Deploy, DeployError, Error, Host, StartError, Upload};
pub use quipu_model::{self as model, supervise};
pub use quipu_runtime as runtime;
pub use quipu_store as store;

/// The code on the page about embedding compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/embedding.md")]
struct Embedding;
