use std::marker::PhantomData;

use crate::{Aggregate, Guest};

/// Schema versions and older names of an enum's variants, from attributes.
///
/// Derive it in addition to serde's traits, on commands or events:
///
/// ```
/// use quipu_guest::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[serde(rename_all = "kebab-case")]
/// enum Event {
///     /// Stored as `opened` before it had this name.
///     #[quipu(alias = "opened")]
///     AccountOpened { owner: String },
///     #[quipu(version = 2)]
///     Deposited { cents: u64 },
///     Closed,
/// }
///
/// let [opened, deposited] = Event::ATTRIBUTES else { panic!() };
/// assert_eq!((opened.name, opened.aliases), ("account-opened", &["opened"][..]));
/// assert_eq!((deposited.name, deposited.schema_version), ("deposited", Some(2)));
/// ```
///
/// A name is the one that serde gives the variant. An alias of serde's is an alias here too. A
/// version in an attribute takes precedence over `event_schema_version` and
/// `command_schema_version`; without either it is 1.
///
/// Two variants can't share a name:
///
/// ```compile_fail
/// #[derive(quipu_guest::Message, serde::Deserialize)]
/// enum Event {
///     Opened,
///     #[quipu(alias = "Opened")]
///     Created,
/// }
/// ```
pub trait Message {
    /// Variants that have attributes, in their order.
    const ATTRIBUTES: &'static [Attributes];
}

/// The attributes of a variant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attributes {
    /// The variant's name as serde has it.
    pub name: &'static str,
    /// The schema version; none when no attribute names it.
    pub schema_version: Option<u32>,
    /// Older names.
    pub aliases: &'static [&'static str],
    /// The oldest schema version whose bodies have the current form; none when no attribute names
    /// it.
    pub unchanged_since: Option<u32>,
}

/// Finds out whether `T` is a [`Message`], and whether it has a JSON Schema: the constants that only
/// such types have take precedence over those of [`Plain`].
#[doc(hidden)]
pub struct Probe<T>(PhantomData<T>);

#[doc(hidden)]
impl<T: Message> Probe<T> {
    pub const ATTRIBUTES: &'static [Attributes] = T::ATTRIBUTES;
}

/// A type that derives `JsonSchema` describes its variants.
#[cfg(feature = "schema")]
#[doc(hidden)]
impl<T: schemars::JsonSchema> Probe<T> {
    pub const COMMAND_SCHEMAS: Option<Describe> = Some(crate::schema::commands::<T>);
    pub const EVENT_SCHEMAS: Option<Describe> = Some(crate::schema::events::<T>);
    pub const DOCUMENT_SCHEMA: Option<DescribeDocument> = Some(crate::schema::document::<T>);
}

/// What every other type has.
#[doc(hidden)]
pub trait Plain {
    const ATTRIBUTES: &'static [Attributes] = &[];
    const COMMAND_SCHEMAS: Option<Describe> = None;
    const EVENT_SCHEMAS: Option<Describe> = None;
    const DOCUMENT_SCHEMA: Option<DescribeDocument> = None;
}

/// The name of a variant and the JSON Schema of its content, or why there is no schema.
pub type Described = (String, Result<String, String>);

/// Returns the schemas of an enum's variants. It is a function, because they are only made when the
/// manifest is asked for.
pub type Describe = fn() -> Vec<Described>;

/// Returns the schema of a projection's documents, or why there is none.
pub type DescribeDocument = fn() -> Result<String, String>;

impl<T> Plain for Probe<T> {}

/// Returns the current schema version of a type of command.
pub(crate) fn command_version<G: Guest>(command_type: &str) -> u32 {
    named(G::COMMANDS, command_type)
        .unwrap_or_else(|| G::Aggregate::command_schema_version(command_type))
}

/// Returns the current schema version of a type of event.
pub(crate) fn event_version<G: Guest>(event_type: &str) -> u32 {
    named(G::EVENTS, event_type).unwrap_or_else(|| G::Aggregate::event_schema_version(event_type))
}

fn named(attributes: &[Attributes], name: &str) -> Option<u32> {
    let variant = attributes.iter().find(|variant| variant.name == name)?;
    variant.schema_version
}
