use std::collections::HashSet;

use super::bindings::manifest as wit;
use super::fault::quoted;
use super::{Export, Refused};
use quipu_model::{Annotations, Category, ContentType, MessageType, Name, check_json};

/// The description of a component by itself, checked against the rules and its exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the unit of deployment. For a decider, it is the category.
    pub name: String,
    /// Semantic version of the component.
    pub version: String,
    /// Version of the decider's snapshots, from 1; 0 without a decider.
    pub state_schema_version: u32,
    /// Older snapshot versions that can be migrated, each with its next version. Ascending, without
    /// gaps, up to `state_schema_version`.
    pub migrations: Vec<(u32, u32)>,
    /// Commands that it decides.
    pub commands: Vec<MessageType>,
    /// Events that it writes.
    pub events: Vec<MessageType>,
    /// Further information for people.
    pub annotations: Annotations,
}

/// Prefix of annotations that declare older versions of an event type to have the same format as
/// the current one. The value is the oldest such version.
const UNCHANGED: &str = "unchanged.";

/// Prefix of annotations that declare the JSON Schema of a projection's documents. The rest of the
/// name is that of the projection.
const DOCUMENT_SCHEMA: &str = "document-schema.";

/// Highest number of message types of one kind, and of migrations.
const ENTRIES_MAX: usize = 1_000;
/// Highest number of aliases of one type, of schemas of documents, and of other annotations.
const NAMES_MAX: usize = 64;
/// Longest name of a component or type, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Longest value of an annotation, in bytes.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// Longest schema of documents, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 << 10;

impl Manifest {
    /// Returns the command with this name, which may be an alias.
    pub fn command(&self, name: &str) -> Option<&MessageType> {
        find(&self.commands, name)
    }

    /// Returns the event with this name, which may be an alias.
    pub fn event(&self, name: &str) -> Option<&MessageType> {
        find(&self.events, name)
    }

    /// Returns the oldest version of an event type that has the same format as the current one.
    /// `None` unless the author declares it with the annotation `unchanged.TYPE`.
    pub fn unchanged_since(&self, name: &str) -> Option<u32> {
        let event = self.event(name)?;
        let wanted = |written: &str| written.strip_prefix(UNCHANGED) == Some(event.name.as_str());
        let mut annotations = self.annotations.iter();
        let (_, version) = annotations.find(|(written, _)| wanted(written))?;
        version.parse().ok()
    }

    /// Returns the JSON Schema that a projection declares for its documents, with the annotation
    /// `document-schema.NAME`.
    pub fn document_schema(&self, projection: &str) -> Option<&str> {
        let mut declared = self.document_schemas();
        declared.find_map(|(name, schema)| (name == projection).then_some(schema))
    }

    /// Returns the names of the projections that declare a JSON Schema for their documents, with the
    /// schema.
    pub fn document_schemas(&self) -> impl Iterator<Item = (&str, &str)> {
        let annotations = self.annotations.iter();
        annotations.filter_map(|(name, schema)| {
            let projection = name.strip_prefix(DOCUMENT_SCHEMA)?;
            Some((projection, schema.as_str()))
        })
    }

    /// Checks the answer of a guest.
    pub(super) fn read(info: wit::Info, exports: &[Export]) -> Result<Self, Refused> {
        check(info, exports).map_err(Refused::Manifest)
    }
}

/// Finds a type by canonical name, then by alias.
fn find<'a>(types: &'a [MessageType], name: &str) -> Option<&'a MessageType> {
    types
        .iter()
        .find(|known| known.name.as_str() == name)
        .or_else(|| {
            types
                .iter()
                .find(|known| known.aliases.iter().any(|alias| alias.as_str() == name))
        })
}

fn check(info: wit::Info, exports: &[Export]) -> Result<Manifest, String> {
    let has_decider = exports.contains(&Export::Decider);
    check_name(&info.name, has_decider)?;
    check_version(&info.version)?;
    if has_decider {
        check_migrations(info.state_schema_version, &info.migrations)?;
    } else {
        refuse_deciders_parts(&info)?;
    }
    let annotations = check_annotations(info.annotations)?;
    Ok(Manifest {
        name: info.name,
        version: info.version,
        state_schema_version: info.state_schema_version,
        migrations: ascending(info.migrations),
        commands: check_types("command", info.commands)?,
        events: check_types("event", info.events)?,
        annotations,
    })
}

fn check_name(name: &str, has_decider: bool) -> Result<(), String> {
    if has_decider {
        return Category::new(name)
            .map(|_| ())
            .map_err(|_| {
                format!(
                    "the name {} is no category, as a decider's has to be: 1 to 64 of a-z, 0-9 and _, beginning with a letter",
                    quoted(name, NAME_BYTES_MAX)
                )
            });
    }
    let well_formed = (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b));
    if well_formed {
        return Ok(());
    }
    Err(format!(
        "the name {} is not 1 to 64 of a-z, 0-9, _, - and ., beginning with a letter",
        quoted(name, NAME_BYTES_MAX)
    ))
}

/// Checks a semantic version, such as `1.2.3` or `1.2.3-rc.1+build.7`.
fn check_version(version: &str) -> Result<(), String> {
    let (release, build) = split_optional(version, '+');
    let (core, pre) = split_optional(release, '-');
    let numbers: Vec<&str> = core.split('.').collect();
    let dotted = |text: Option<&str>, part: fn(&str) -> bool| {
        text.is_none_or(|text| text.split('.').all(part))
    };
    let well_formed = version.len() <= NAME_BYTES_MAX
        && numbers.len() == 3
        && numbers.iter().all(|number| is_number(number))
        && dotted(pre, |part| {
            is_identifier(part) && (!is_digits(part) || is_number(part))
        })
        && dotted(build, is_identifier);
    if well_formed {
        return Ok(());
    }
    let version = quoted(version, NAME_BYTES_MAX);
    Err(format!("the version {version} is no semantic version"))
}

fn split_optional(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Checks the chain of migrations. Otherwise a broken chain would fail only on an old snapshot,
/// long after the upload.
fn check_migrations(current: u32, migrations: &[(u32, u32)]) -> Result<(), String> {
    if current == 0 {
        return Err("state schema version 0 with a decider: it begins at 1".to_owned());
    }
    at_most("migrations", migrations.len(), ENTRIES_MAX)?;
    let chain = ascending(migrations.to_vec());
    for (index, (from, to)) in chain.iter().enumerate() {
        let next = chain.get(index + 1).map_or(current, |(from, _)| *from);
        if *from == 0 || from >= to {
            return Err(format!(
                "migration from {from} to {to}: it has to lead to a later version, from 1 on"
            ));
        }
        if *from == next {
            return Err(format!("two migrations from state schema version {from}"));
        }
        if *to != next {
            return Err(format!(
                "migration from {from} leads to {to}, where the chain goes on at {next}"
            ));
        }
    }
    Ok(())
}

fn ascending(mut migrations: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    migrations.sort_unstable();
    migrations
}

fn refuse_deciders_parts(info: &wit::Info) -> Result<(), String> {
    let parts = [
        ("a state schema version", info.state_schema_version != 0),
        ("migrations", !info.migrations.is_empty()),
        ("commands", !info.commands.is_empty()),
        ("events", !info.events.is_empty()),
    ];
    match parts.iter().find(|(_, is_declared)| *is_declared) {
        Some((what, _)) => Err(format!("it names {what}, but no decider is exported")),
        None => Ok(()),
    }
}

fn check_types(kind: &str, types: Vec<wit::MessageType>) -> Result<Vec<MessageType>, String> {
    at_most(&format!("{kind}s"), types.len(), ENTRIES_MAX)?;
    let mut seen = HashSet::new();
    let mut checked = Vec::with_capacity(types.len());
    for declaration in types {
        let message_type = check_type(kind, declaration)?;
        for name in std::iter::once(&message_type.name).chain(&message_type.aliases) {
            if !seen.insert(name.clone()) {
                return Err(format!("two {kind}s are called {name}"));
            }
        }
        checked.push(message_type);
    }
    Ok(checked)
}

fn check_type(kind: &str, declaration: wit::MessageType) -> Result<MessageType, String> {
    let name = check_type_name(kind, &declaration.type_)?;
    if declaration.schema_version == 0 {
        return Err(format!(
            "{kind} {name} has schema version 0: it begins at 1"
        ));
    }
    at_most(
        &format!("aliases of {kind} {name}"),
        declaration.aliases.len(),
        NAMES_MAX,
    )?;
    let aliases = declaration
        .aliases
        .iter()
        .map(|alias| check_type_name(kind, alias));
    if !declaration.json_schema.is_empty() {
        check_json(declaration.json_schema.as_bytes())
            .map_err(|error| format!("JSON Schema of {kind} {name}: {error}"))?;
    }
    Ok(MessageType {
        schema_version: declaration.schema_version,
        aliases: aliases.collect::<Result<_, _>>()?,
        content_type: ContentType::new(&declaration.content_type)
            .map_err(|error| format!("{kind} {name}: {error}"))?,
        json_schema: declaration.json_schema,
        name,
    })
}

pub(super) fn check_type_name(kind: &str, name: &str) -> Result<Name, String> {
    let shown = || quoted(name, NAME_BYTES_MAX);
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("{kind} {}: at most 255 bytes", shown()));
    }
    if name.starts_with('$') {
        return Err(format!("{kind} {}: names in $ belong to the host", shown()));
    }
    Name::new(name).map_err(|error| format!("{kind}: {error}"))
}

fn check_annotations(annotations: Annotations) -> Result<Annotations, String> {
    let of_documents = |(name, _): &&(String, String)| name.starts_with(DOCUMENT_SCHEMA);
    let schemas = annotations.iter().filter(of_documents).count();
    at_most("schemas of documents", schemas, NAMES_MAX)?;
    at_most("annotations", annotations.len() - schemas, NAMES_MAX)?;
    for (name, value) in &annotations {
        let projection = name.strip_prefix(DOCUMENT_SCHEMA);
        let value_bytes_max = match projection {
            Some(_) => SCHEMA_BYTES_MAX,
            None => VALUE_BYTES_MAX,
        };
        if name.is_empty() || name.len() > NAME_BYTES_MAX || value.len() > value_bytes_max {
            let name = quoted(name, NAME_BYTES_MAX);
            return Err(format!(
                "annotation {name}: a name has 1 to 255 bytes, a value at most {value_bytes_max}"
            ));
        }
        if let Some(projection) = projection {
            check_json(value.as_bytes()).map_err(|error| {
                let projection = quoted(projection, NAME_BYTES_MAX);
                format!("JSON Schema of the documents of {projection}: {error}")
            })?;
        }
    }
    Ok(annotations)
}

pub(super) fn at_most(what: &str, found: usize, max: usize) -> Result<(), String> {
    if found <= max {
        Ok(())
    } else {
        Err(format!("{found} {what}, at most {max} are accepted"))
    }
}
