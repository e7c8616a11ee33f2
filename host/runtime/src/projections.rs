//! Projections as defined by a component.

use std::collections::HashSet;

use super::Refused;
use super::bindings::projection as wit;
use super::fault::quoted;
use super::manifest::at_most;
use quipu_model::{Category, Index, Kind, Name};

/// Highest number of projections of one component.
const PROJECTIONS_MAX: usize = 64;
/// Highest number of sources of one projection.
const SOURCES_MAX: usize = 64;
/// Highest number of types in one source.
const EVENTS_MAX: usize = 1_000;
/// Highest number of indexes of one projection.
const INDEXES_MAX: usize = 16;
/// Longest name of a projection or an index, in bytes.
const NAME_BYTES_MAX: usize = 48;
/// Longest name of a type, and longest pointer, in bytes.
const TEXT_BYTES_MAX: usize = 255;
/// The only category of the host that can be a source.
const STREAMS: &str = "$streams";

/// A projection as defined by a component, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Name of the projection's documents: 1 to 48 characters of `a-z 0-9 _ -`, beginning with a
    /// letter.
    pub name: Box<str>,
    /// Version, from 1. A higher version causes a rebuild.
    pub version: u32,
    /// Events that the projection receives. At least one source, and at most one per category.
    pub sources: Vec<Source>,
    /// Details of an event that the projection sees, in addition to the data.
    pub detail: Detail,
    /// Indexes of its documents.
    pub indexes: Vec<Index>,
}

/// Events that a projection receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Category of the events. `None`: every category.
    pub category: Option<Box<str>>,
    /// Types, each once, with the schema version to which events are lifted; 0: the version of the
    /// category's decider. Empty: every type.
    pub events: Vec<(Name, u32)>,
}

/// Details of an event that a projection sees, in addition to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// The event's tags.
    pub tags: bool,
    /// The event's metadata, and the values that the host vouches for.
    pub annotations: bool,
}

impl Definition {
    /// Whether both definitions have the same input and the same indexes. In that case their
    /// documents are the same, as far as a host can know.
    pub fn makes_the_same_as(&self, other: &Self) -> bool {
        self.sources == other.sources
            && self.indexes == other.indexes
            && self.detail == other.detail
    }

    /// Longest document, in bytes.
    pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
    /// Highest number of documents that one event can concern.
    pub const KEYS_MAX: usize = 256;
    /// Longest key, in bytes.
    pub const KEY_BYTES_MAX: usize = 255;

    /// Returns the source for events of a category: its own source if there is one, otherwise the
    /// source for every category.
    pub fn source(&self, category: &str) -> Option<&Source> {
        let own = |source: &&Source| source.category.as_deref() == Some(category);
        let mut sources = self.sources.iter();
        sources.find(own).or_else(|| self.source_of_every())
    }

    /// Returns the source for every category.
    pub fn source_of_every(&self) -> Option<&Source> {
        let mut sources = self.sources.iter();
        sources.find(|source| source.category.is_none())
    }
}

/// Checks the projections declared by a component.
pub(super) fn read(declarations: Vec<wit::Definition>) -> Result<Vec<Definition>, Refused> {
    check(declarations).map_err(Refused::Projection)
}

fn check(declarations: Vec<wit::Definition>) -> Result<Vec<Definition>, String> {
    at_most("projections", declarations.len(), PROJECTIONS_MAX)?;
    let mut seen = HashSet::new();
    let mut definitions = Vec::with_capacity(declarations.len());
    for declaration in declarations {
        check_name("the name of a projection", &declaration.name)?;
        let name = declaration.name.clone();
        let definition = check_one(declaration).map_err(|text| format!("{name}: {text}"))?;
        if !seen.insert(definition.name.clone()) {
            return Err(format!("two projections are called {name}"));
        }
        definitions.push(definition);
    }
    Ok(definitions)
}

fn check_one(declaration: wit::Definition) -> Result<Definition, String> {
    if declaration.version == 0 {
        return Err("version 0: versions begin at 1".to_owned());
    }
    if declaration.sources.is_empty() {
        return Err("no source: it would never be given an event".to_owned());
    }
    Ok(Definition {
        name: declaration.name.into(),
        version: declaration.version,
        sources: check_sources(declaration.sources)?,
        detail: Detail {
            tags: declaration
                .detail
                .contains(super::bindings::types::Detail::TAGS),
            annotations: declaration
                .detail
                .contains(super::bindings::types::Detail::ANNOTATIONS),
        },
        indexes: check_indexes(declaration.indexes)?,
    })
}

fn check_sources(declarations: Vec<wit::Source>) -> Result<Vec<Source>, String> {
    at_most("sources", declarations.len(), SOURCES_MAX)?;
    let mut seen = HashSet::new();
    let mut sources = Vec::with_capacity(declarations.len());
    for declaration in declarations {
        let source = check_source(declaration)?;
        if !seen.insert(source.category.clone()) {
            return Err(format!("two sources of {source}"));
        }
        sources.push(source);
    }
    Ok(sources)
}

fn check_source(declaration: wit::Source) -> Result<Source, String> {
    let is_category = Category::new(&declaration.category).is_ok();
    if !is_category && !matches!(&*declaration.category, "" | STREAMS) {
        let category = quoted(&declaration.category, TEXT_BYTES_MAX);
        return Err(format!("a source of {category}, which is not a category"));
    }
    let mut source = Source {
        category: Some(declaration.category)
            .filter(|category| !category.is_empty())
            .map(Into::into),
        events: Vec::with_capacity(declaration.events.len().min(EVENTS_MAX)),
    };
    at_most(
        &format!("types in the source of {source}"),
        declaration.events.len(),
        EVENTS_MAX,
    )?;
    let mut seen = HashSet::new();
    for (name, version) in declaration.events {
        let name = check_type(&name, is_category)?;
        if !seen.insert(name.clone()) {
            return Err(format!("the source of {source} names {name} twice"));
        }
        source.events.push((name, version));
    }
    Ok(source)
}

/// Checks the name of a type. Only events of the host have names that begin with `$`.
fn check_type(name: &str, is_category: bool) -> Result<Name, String> {
    let shown = || quoted(name, TEXT_BYTES_MAX);
    if name.len() > TEXT_BYTES_MAX {
        return Err(format!("event {}: at most 255 bytes", shown()));
    }
    if is_category && name.starts_with('$') {
        return Err(format!("event {}: names in $ belong to the host", shown()));
    }
    Name::new(name).map_err(|error| format!("event: {error}"))
}

fn check_indexes(declarations: Vec<wit::Index>) -> Result<Vec<Index>, String> {
    at_most("indexes", declarations.len(), INDEXES_MAX)?;
    let mut seen = HashSet::new();
    let mut indexes = Vec::with_capacity(declarations.len());
    for declaration in declarations {
        let index = check_index(declaration)?;
        if !seen.insert(index.name.clone()) {
            return Err(format!("two indexes are called {}", index.name));
        }
        indexes.push(index);
    }
    Ok(indexes)
}

fn check_index(declaration: wit::Index) -> Result<Index, String> {
    check_name("the name of an index", &declaration.name)?;
    let pointer = &declaration.pointer;
    let well_formed = pointer.is_empty() || pointer.starts_with('/');
    if !well_formed || pointer.len() > TEXT_BYTES_MAX {
        return Err(format!(
            "index {}: the pointer {} is not empty or / and more, of at most 255 bytes",
            declaration.name,
            quoted(pointer, TEXT_BYTES_MAX)
        ));
    }
    Ok(Index {
        name: declaration.name.into(),
        pointer: declaration.pointer.into(),
        kind: match declaration.kind {
            wit::Kind::Text => Kind::Text,
            wit::Kind::Integer => Kind::Integer,
            wit::Kind::Number => Kind::Number,
            wit::Kind::Boolean => Kind::Boolean,
        },
    })
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let well_formed = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    if well_formed {
        return Ok(());
    }
    Err(format!(
        "{what} {} is not 1 to 48 of a-z, 0-9, _ and -, beginning with a letter",
        quoted(name, TEXT_BYTES_MAX)
    ))
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.category.as_deref().unwrap_or("every category"))
    }
}
