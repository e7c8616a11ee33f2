//! Write Quipu guests in plain Rust: domain logic that a Quipu host runs as a
//! WebAssembly component.
//!
//! A decider says which events a command leads to, and how an event changes the state. It has no
//! clock, no randomness and no I/O. The host stores the events, retries, takes snapshots, and
//! replaces the code while it runs. Two styles, one result: [`Decider`] is functional,
//! [`Aggregate`] mutable.
//!
//! ```
//! use quipu_guest::{Context, Decider, Rejection, decider};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Command {
//!     Deposit { amount: u64 },
//!     Withdraw { amount: u64 },
//! }
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     Deposited { amount: u64 },
//!     Withdrawn { amount: u64 },
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! pub struct Account {
//!     balance: u64,
//! }
//!
//! impl Decider for Account {
//!     const CATEGORY: &'static str = "account";
//!     type Command = Command;
//!     type Event = Event;
//!
//!     fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection> {
//!         match command {
//!             Command::Deposit { amount } => Ok(vec![Event::Deposited { amount }]),
//!             Command::Withdraw { amount } if amount > self.balance => Err(Rejection::new(
//!                 "insufficient-funds",
//!                 format!("balance is {}", self.balance),
//!             )),
//!             Command::Withdraw { amount } => Ok(vec![Event::Withdrawn { amount }]),
//!         }
//!     }
//!
//!     fn evolve(self, event: Event) -> Self {
//!         match event {
//!             Event::Deposited { amount } => Account { balance: self.balance + amount },
//!             Event::Withdrawn { amount } => Account { balance: self.balance - amount },
//!         }
//!     }
//! }
//!
//! decider!(Account);
//!
//! // Tests run natively, without a host and without WebAssembly.
//! use quipu_guest::testing::given;
//! given::<Account>([Event::Deposited { amount: 5 }])
//!     .when(Command::Withdraw { amount: 3 })
//!     .then([Event::Withdrawn { amount: 3 }]);
//! given::<Account>([])
//!     .when(Command::Withdraw { amount: 3 })
//!     .rejected("insufficient-funds");
//! ```
//!
//! # Time, ids, labels and metadata
//!
//! The [`Context`] gives the time, new ids and random numbers, and the caller. All of it is recorded,
//! so a decision can be replayed. Events carry tags, by which the log is filtered, and annotations,
//! which are added to the metadata of the command. Rejections carry details; their codes can be
//! declared:
//!
//! ```
//! use std::time::Duration;
//!
//! use quipu_guest::{Context, Decider, Rejection, Time, Uuid, decider};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Command {
//!     Reserve { seats: u32 },
//! }
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     Reserved { id: Uuid, seats: u32, until: Time },
//! }
//!
//! /// The details of `sold-out`.
//! #[derive(Serialize)]
//! struct Free {
//!     free: u32,
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! pub struct Show {
//!     taken: u32,
//! }
//!
//! impl Decider for Show {
//!     const CATEGORY: &'static str = "show";
//!     const REJECTIONS: &'static [&'static str] = &["sold-out"];
//!     type Command = Command;
//!     type Event = Event;
//!
//!     fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection> {
//!         let Command::Reserve { seats } = command;
//!         let free = 100_u32.saturating_sub(self.taken);
//!         if seats > free {
//!             let rejection = Rejection::new("sold-out", format!("{free} seats are free"));
//!             return Err(rejection.details(Free { free }));
//!         }
//!         let (id, now) = (context.uuid(), context.accepted_at());
//!         let until = now + Duration::from_secs(15 * 60);
//!         Ok(vec![Event::Reserved { id, seats, until }])
//!     }
//!
//!     fn evolve(self, event: Event) -> Self {
//!         let Event::Reserved { seats, .. } = event;
//!         Show { taken: self.taken.saturating_add(seats) }
//!     }
//!
//!     fn tags(event: &Event) -> Vec<String> {
//!         let Event::Reserved { id, .. } = event;
//!         vec![format!("reservation:{id}")]
//!     }
//!
//!     fn annotations(&self, _: &Event, context: &Context) -> Vec<(String, String)> {
//!         let seller = context.principal().unwrap_or("web");
//!         vec![("seller".to_owned(), seller.to_owned())]
//!     }
//! }
//!
//! decider!(Show);
//!
//! use quipu_guest::testing::{check_cuts, check_decides_again, check_guest, given};
//!
//! let seed = [1, 2, 3, 4];
//! let reserved = given::<Show>([])
//!     .at("2026-01-01T12:00:00Z")
//!     .by("ann")
//!     .with_seed(seed)
//!     .when(Command::Reserve { seats: 99 })
//!     .then([Event::Reserved {
//!         id: Context::default().with_seed(seed).uuid(),
//!         seats: 99,
//!         until: "2026-01-01T12:15:00Z".parse()?,
//!     }])
//!     .then_state(Show { taken: 99 });
//! let event = &reserved.new_events()[0];
//! assert!(event.tags[0].starts_with("reservation:"));
//! assert_eq!(event.annotations, [("seller".to_owned(), "ann".to_owned())]);
//! reserved
//!     .when(Command::Reserve { seats: 2 })
//!     .rejected("sold-out")
//!     .with_message("1 seats are free")
//!     .with_details(Free { free: 1 });
//!
//! // What must be true of every guest.
//! check_guest::<Show>();
//! check_cuts::<Show>((1..9).map(|seats| {
//!     let (id, until) = (Uuid::default(), Time::UNIX_EPOCH);
//!     Event::Reserved { id, seats, until }
//! }));
//! check_decides_again::<Show>([], || Command::Reserve { seats: 2 });
//! # Ok::<(), quipu_guest::ParseError>(())
//! ```
//!
//! With the feature `schema`, the manifest describes the bodies of commands and events that derive
//! `schemars::JsonSchema`.
//!
//! # How messages are named and written
//!
//! Commands and events are enums in serde's usual (externally tagged) form. A message's type is its
//! variant's name as serde has it, its body the variant's content as JSON: `Event::Deposited {
//! amount: 5 }` above is of type `deposited` with the body `{"amount":5}`. A variant without
//! content has the body `{}`; `null` is read as well. A struct is read from an object only. An
//! array with its fields in order, which serde also accepts, does not fit, at any depth. (The
//! content of `#[serde(flatten)]`, `#[serde(untagged)]` and `#[serde(tag = "…")]` is an exception,
//! because serde reads it by itself.) Tuples are arrays. The manifest lists the variants of both
//! enums, so nothing has to be declared twice. Renaming a variant renames stored events: keep the
//! old name with `#[serde(rename = "…")]`, or add it as an alias.
//!
//! # When events change
//!
//! Stored events stay as they are. A newer version of a guest declares in three places
//! how it reads old ones:
//!
//! - [`Message`], derived on commands and events: `#[quipu(alias = "opened")]` for a type
//!   that was renamed, `#[quipu(version = 2)]` for a body of another form.
//! - [`Upcaster`]: steps that lift events of older versions; they may also rename a type,
//!   split an event and drop one. They are exported with the decider, or as a component of
//!   their own ([`upcaster!`]), which can be replaced without it.
//! - [`migrations`](Decider::migrations): how snapshots of an older
//!   `STATE_SCHEMA_VERSION` become newer ones. Without them streams are folded from their
//!   first event.
//!
//! Here `opened` was called `created`, the amount of `deposited` was in euros, and `corrected` is
//! now two events:
//!
//! ```
//! use quipu_guest::testing::{check_guest, check_steps, lifted, migrated};
//! use quipu_guest::{
//!     Context, Decider, Message, Migrations, Rejection, Steps, Upcaster, decider,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! # #[derive(Deserialize)]
//! # #[serde(rename_all = "kebab-case")]
//! # pub enum Command { Deposit { cents: u64 } }
//! #[derive(Message, Serialize, Deserialize, Debug, PartialEq)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     #[quipu(alias = "created")]
//!     Opened,
//!     #[quipu(version = 2)]
//!     Deposited { cents: u64 },
//!     Withdrawn { cents: u64 },
//! }
//!
//! struct AccountUpcasts;
//!
//! impl Upcaster for AccountUpcasts {
//!     const CATEGORY: &'static str = "account";
//!
//!     fn steps() -> Steps {
//!         #[derive(Deserialize)]
//!         struct Euros { amount: u64 }
//!         #[derive(Serialize)]
//!         struct Cents { cents: u64 }
//!         #[derive(Deserialize)]
//!         struct Corrected { from: u64, to: u64 }
//!
//!         Steps::new()
//!             .lift("deposited", 1)
//!             .map(|old: Euros| Cents { cents: old.amount.saturating_mul(100) })
//!             .to(2)
//!             .lift("corrected", 1)
//!             .split(&[("withdrawn", 1), ("deposited", 2)], |old: Corrected, parts| {
//!                 parts.push("withdrawn", 1, Cents { cents: old.from });
//!                 parts.push("deposited", 2, Cents { cents: old.to });
//!             })
//!     }
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! pub struct Account { cents: u64 }
//!
//! impl Decider for Account {
//!     const CATEGORY: &'static str = "account";
//!     const STATE_SCHEMA_VERSION: u32 = 2;
//!     type Command = Command;
//!     type Event = Event;
//!
//!     fn migrations() -> Migrations {
//!         Migrations::none().edit(1, 2, |state| {
//!             let euros: u64 = state.take("balance")?.unwrap_or_default();
//!             state.set("cents", euros.saturating_mul(100))
//!         })
//!     }
//! #
//! #     fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection> {
//! #         let Command::Deposit { cents } = command;
//! #         Ok(vec![Event::Deposited { cents }])
//! #     }
//! #
//! #     fn evolve(self, event: Event) -> Self {
//! #         match event {
//! #             Event::Opened => self,
//! #             Event::Deposited { cents } => Account { cents: self.cents.saturating_add(cents) },
//! #             Event::Withdrawn { cents } => Account { cents: self.cents.saturating_sub(cents) },
//! #         }
//! #     }
//!
//!     // decide and evolve know today's events only
//! }
//!
//! decider!(Account, upcasts = AccountUpcasts);
//!
//! // Mistakes that a host would refuse at upload are found here.
//! check_guest::<Account>();
//! check_steps::<AccountUpcasts>();
//!
//! let old = lifted::<AccountUpcasts>;
//! old("created", 1, "{}").read_by::<Account>([Event::Opened]);
//! old("deposited", 1, r#"{"amount":3}"#).read_by::<Account>([Event::Deposited { cents: 300 }]);
//! old("corrected", 1, r#"{"from":5,"to":7}"#)
//!     .to([("withdrawn", 1, r#"{"cents":5}"#), ("deposited", 2, r#"{"cents":7}"#)]);
//! assert_eq!(migrated::<Account>(1, r#"{"balance":3}"#).state(), r#"{"cents":300}"#);
//! ```
//!
//! # Documents
//!
//! A [`Projection`] folds events, of any number of streams, into documents that are read
//! by key and by index. Its tests begin with [`testing::projected`]. It is exported in a
//! component of its own, `projections!("account-views", Balances, Movements)`, which can be
//! replaced without the decider and read the events of several, or with a decider:
//! `decider!(Account, upcasts = AccountUpcasts, projections = (Balances, Movements))`.
//!
//! # Building
//!
//! `crate-type = ["cdylib", "rlib"]`, target `wasm32-unknown-unknown`, Rust 1.85 or newer
//! (the host needs a newer one). A package
//! holds one guest, since a component has one manifest: a decider, with or without
//! upcasters and projections, only upcasters, or only projections. Natively the export
//! macros only tie the type to its [`Guest`] implementation.
//!
//! # When it panics
//!
//! The message and place of a panic go to the host's log, and the host answers the
//! command with a `trap`; nothing is stored. State that the same instance held
//! for other streams is rebuilt from their events.

mod aggregate;
mod context;
mod decider;
pub mod driver;
mod export;
pub mod log;
mod manifest;
mod message;
mod migrations;
mod object;
mod projection;
mod rejection;
#[cfg(feature = "schema")]
mod schema;
pub mod testing;
mod upcast;

#[doc(hidden)]
pub mod bindings;

pub use aggregate::{Aggregate, Events};
pub use context::{Context, ParseError, Random, Time, Uuid};
pub use decider::{Decider, Functional};
pub use export::Guest;
pub use manifest::{Manifest, MessageType};
pub use message::{Attributes, Message};
pub use migrations::Migrations;
pub use object::{EditError, Object};
pub use projection::{Index, Indexes, Kind, Projection, Recorded, Sources, Untyped};
pub use quipu_guest_macros::Message;
pub use rejection::Rejection;
pub use upcast::{Lift, Parts, Steps, Upcasted, Upcaster};

/// For the export macros.
#[doc(hidden)]
pub mod __private {
    pub use crate::message::{Describe, DescribeDocument, Plain, Probe};
    pub use crate::projection::Projections;
    pub use crate::upcast::Catalogue;

    /// Returns whether two categories are the same.
    pub const fn equal(a: &str, b: &str) -> bool {
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let mut index = 0;
        while index < a.len() && index < b.len() && a[index] == b[index] {
            index += 1;
        }
        index == a.len() && index == b.len()
    }
}
