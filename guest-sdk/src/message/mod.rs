//! Commands and events between enums and pairs of type and JSON body.

mod attributes;
mod decode;
mod encode;
mod names;
mod objects;

#[cfg(feature = "schema")]
pub(crate) use attributes::Described;
pub use attributes::{Attributes, Describe, DescribeDocument, Message, Plain, Probe};
pub(crate) use attributes::{command_version, event_version};
pub(crate) use decode::{Unreadable, decode};
pub(crate) use encode::encode;
pub(crate) use names::names;
