use crate::message::names;
use crate::{Aggregate, Guest};

/// What the component says of itself, derived from the guest's types.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The category.
    pub name: &'static str,
    /// Semantic version of the component.
    pub version: &'static str,
    /// Version of the snapshots' form.
    pub state_schema_version: u32,
    /// Commands that are read, in order of their variants.
    pub commands: Vec<MessageType>,
    /// Events that are written and folded, in order of their variants.
    pub events: Vec<MessageType>,
}

/// A type of command or event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MessageType {
    /// The variant's name as serde has it; an alias counts as a type of its own.
    pub name: &'static str,
    /// Current schema version of the body.
    pub schema_version: u32,
}

impl Manifest {
    /// Panics when the commands or events of `G` are no externally tagged enum.
    pub fn of<G: Guest>() -> Self {
        let category = <G::Aggregate as Aggregate>::CATEGORY;
        let commands = names::<<G::Aggregate as Aggregate>::Command>();
        let events = names::<<G::Aggregate as Aggregate>::Event>();
        Manifest {
            name: category,
            version: G::VERSION,
            state_schema_version: <G::Aggregate as Aggregate>::STATE_SCHEMA_VERSION,
            commands: types(
                category,
                "commands",
                commands,
                G::Aggregate::command_schema_version,
            ),
            events: types(
                category,
                "events",
                events,
                G::Aggregate::event_schema_version,
            ),
        }
    }
}

fn types(
    category: &str,
    what: &str,
    names: Option<&'static [&'static str]>,
    schema_version: impl Fn(&str) -> u32,
) -> Vec<MessageType> {
    let names = names.unwrap_or_else(|| {
        panic!("the {what} of {category} must be an enum in serde's usual form, without `tag` or `untagged`")
    });
    let message_type = |name: &&'static str| MessageType {
        name,
        schema_version: schema_version(name),
    };
    names.iter().map(message_type).collect()
}
