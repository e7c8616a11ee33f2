use crate::message::{
    Attributes, Describe, DescribeDocument, command_version, event_version, names,
};
use crate::{Aggregate, Guest, log};

/// The manifest of a component, derived from the guest's types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The category; in a component without a decider, the name given to its macro.
    pub name: &'static str,
    /// Semantic version of the component.
    pub version: &'static str,
    /// The version of the snapshots' form; 0 without a decider.
    pub state_schema_version: u32,
    /// Older versions of it that can be migrated, in order, each with the version that it leads to.
    pub migrations: Vec<(u32, u32)>,
    /// Commands that are read, in order of their variants.
    pub commands: Vec<MessageType>,
    /// Events that are written and folded, in order of their variants.
    pub events: Vec<MessageType>,
    /// The declared codes of rejections.
    pub rejections: &'static [&'static str],
    /// The JSON Schema of the documents of each projection that has one. It needs the feature
    /// `schema`, and `JsonSchema` derived on the document.
    pub documents: Vec<(&'static str, String)>,
}

/// A type of command or event.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageType {
    /// The variant's name as serde has it. An alias of serde's counts as a type of its
    /// own, unless the enum derives [`Message`](crate::Message).
    pub name: &'static str,
    /// Current schema version of the body.
    pub schema_version: u32,
    /// Older names.
    pub aliases: Vec<&'static str>,
    /// The oldest schema version whose bodies have the current form. Without it, events of an
    /// older version need an upcaster, and a preflight objects where there is none.
    pub unchanged_since: Option<u32>,
    /// The JSON Schema of the body. It needs the feature `schema`, and `JsonSchema` derived on the
    /// enum.
    pub json_schema: Option<String>,
}

impl Manifest {
    /// Panics when the commands or events of `G` are not an externally tagged enum, or have
    /// a variant under another name than [`Message`](crate::Message) gives it.
    pub fn of<G: Guest>() -> Self {
        let category = <G::Aggregate as Aggregate>::CATEGORY;
        let commands = names::<<G::Aggregate as Aggregate>::Command>();
        let events = names::<<G::Aggregate as Aggregate>::Event>();
        let command_schemas = schemas("command", G::COMMAND_SCHEMAS);
        let event_schemas = schemas("event", G::EVENT_SCHEMAS);
        Manifest {
            name: category,
            version: G::VERSION,
            state_schema_version: <G::Aggregate as Aggregate>::STATE_SCHEMA_VERSION,
            migrations: G::Aggregate::migrations().steps(),
            commands: types(
                &format!("the commands of {category}"),
                commands,
                G::COMMANDS,
                command_version::<G>,
                &command_schemas,
            ),
            events: types(
                &format!("the events of {category}"),
                events,
                G::EVENTS,
                event_version::<G>,
                &event_schemas,
            ),
            rejections: G::Aggregate::REJECTIONS,
            documents: Vec::new(),
        }
    }

    /// The same with the schemas of the documents of projections. One that can't be used is left
    /// out, and the host's log says why.
    #[doc(hidden)]
    #[must_use]
    pub fn with_documents(
        mut self,
        documents: &[(&'static str, Option<DescribeDocument>)],
    ) -> Self {
        for (name, describe) in documents {
            match describe.map(|describe| describe()) {
                Some(Ok(schema)) => self.documents.push((*name, schema)),
                Some(Err(error)) => {
                    log::warn(&format!("JSON Schema of the documents of {name}: {error}"));
                }
                None => {}
            }
        }
        self
    }

    /// Returns the event of that name, which may be an older name.
    pub fn event(&self, name: &str) -> Option<&MessageType> {
        let named = |event: &&MessageType| event.name == name || event.aliases.contains(&name);
        self.events.iter().find(named)
    }

    /// Returns what the manifest says in the form of names and values: for each event with
    /// [`unchanged_since`](MessageType::unchanged_since) that version under `unchanged.TYPE`, and
    /// under `rejections` the declared codes, separated by spaces; and under `document-schema.NAME`
    /// the JSON Schema of a projection's documents.
    pub fn annotations(&self) -> Vec<(String, String)> {
        let unchanged = self.events.iter().filter_map(|event| {
            let since = event.unchanged_since?;
            Some((format!("unchanged.{}", event.name), since.to_string()))
        });
        let codes = Some(self.rejections).filter(|codes| !codes.is_empty());
        let rejections = codes.map(|codes| ("rejections".to_owned(), codes.join(" ")));
        let documents = self.documents.iter();
        let documents =
            documents.map(|(name, schema)| (format!("document-schema.{name}"), schema.clone()));
        unchanged.chain(rejections).chain(documents).collect()
    }

    /// The manifest of a component without a decider.
    pub fn without_decider(name: &'static str, version: &'static str) -> Self {
        Manifest {
            name,
            version,
            ..Manifest::default()
        }
    }
}

/// Returns the schemas with the names of their variants. One that can't be used is left out, and the
/// host's log says why.
fn schemas(kind: &str, describe: Option<Describe>) -> Vec<(String, String)> {
    let described = describe.map(|describe| describe()).unwrap_or_default();
    let usable = |(name, schema)| match schema {
        Ok(schema) => Some((name, schema)),
        Err(error) => {
            log::warn(&format!("JSON Schema of {kind} {name}: {error}"));
            None
        }
    };
    described.into_iter().filter_map(usable).collect()
}

fn types(
    what: &str,
    names: Option<&'static [&'static str]>,
    attributes: &[Attributes],
    schema_version: impl Fn(&str) -> u32,
    schemas: &[(String, String)],
) -> Vec<MessageType> {
    let names = names.unwrap_or_else(|| {
        panic!("{what} must be an enum in serde's usual form, without `tag` or `untagged`")
    });
    if let Some(variant) = attributes.iter().find(|it| !names.contains(&it.name)) {
        panic!(
            "{what}: serde has no variant {}; name it by `rename`",
            variant.name
        );
    }
    let is_alias = |name: &&&'static str| attributes.iter().any(|it| it.aliases.contains(*name));
    let message_type = |name: &&'static str| MessageType {
        name,
        schema_version: schema_version(name),
        aliases: attributes
            .iter()
            .find(|variant| variant.name == *name)
            .map_or_else(Vec::new, |variant| variant.aliases.to_vec()),
        unchanged_since: attributes
            .iter()
            .find(|variant| variant.name == *name)
            .and_then(|variant| variant.unchanged_since),
        json_schema: schemas
            .iter()
            .find(|(variant, _)| variant == name)
            .map(|(_, schema)| schema.clone()),
    };
    names
        .iter()
        .filter(|name| !is_alias(name))
        .map(message_type)
        .collect()
}
