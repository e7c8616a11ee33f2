//! Commands and events between enums and pairs of type and JSON body.

mod decode;
mod encode;
mod names;

pub(crate) use decode::{Unreadable, decode};
pub(crate) use encode::encode;
pub(crate) use names::names;
