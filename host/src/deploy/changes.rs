//! What changes for others when a component takes the place of another one.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;

use super::schema_changes::{Side, WORK_MAX, schema_changes};
use crate::model::{MessageType, Name};
use crate::runtime::{Manifest, Module};

/// Annotation of a manifest that lists the codes with which its decider rejects, separated by
/// spaces.
pub const REJECTIONS: &str = "rejections";

/// Who is affected by a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affected {
    /// Programs that send commands.
    Callers,
    /// Readers of events: projections, subscribers and the decider itself.
    Readers,
    /// Programs that read documents.
    Queries,
    /// States that are restored from snapshots.
    Snapshots,
    /// Operators.
    Operators,
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callers => "callers",
            Self::Readers => "readers",
            Self::Queries => "queries",
            Self::Snapshots => "snapshots",
            Self::Operators => "operators",
        })
    }
}

/// A difference between two components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whether something that works with the old component may fail with the new one.
    pub breaks: bool,
    /// Who is affected.
    pub affected: Affected,
    /// A description for people.
    pub text: String,
}

/// Compares the descriptions of two components: manifests, schemas, steps and projections. What
/// breaks comes first. Nothing is executed, so a rule that decides differently is no change here;
/// a preflight finds it.
pub fn changes(old: &Module, new: &Module) -> Vec<Change> {
    let mut changes = Changes {
        found: Vec::new(),
        work: WORK_MAX,
    };
    changes.names(old, new);
    changes.commands(old.manifest(), new.manifest());
    changes.events(old, new);
    changes.rejections(old.manifest(), new.manifest());
    changes.state(old.manifest(), new.manifest());
    changes.steps(old, new);
    changes.projections(old, new);
    changes
        .found
        .sort_by_key(|change| (!change.breaks, change.affected));
    changes.found
}

struct Changes {
    found: Vec<Change>,
    /// What may still be compared in schemas.
    work: usize,
}

/// Message types by name and alias, each of which is unique.
type Types<'a> = HashMap<&'a str, &'a MessageType>;

fn by_name(types: &[MessageType]) -> Types<'_> {
    let all = types.iter().flat_map(|it| {
        let names = std::iter::once(&it.name).chain(&it.aliases);
        names.map(move |name| (name.as_str(), it))
    });
    all.collect()
}

impl Changes {
    fn breaks(&mut self, affected: Affected, text: String) {
        self.found.push(Change {
            breaks: true,
            affected,
            text,
        });
    }

    fn note(&mut self, affected: Affected, text: String) {
        self.found.push(Change {
            breaks: false,
            affected,
            text,
        });
    }

    fn names(&mut self, old: &Module, new: &Module) {
        let (was, is) = (&old.manifest().name, &new.manifest().name);
        if was != is {
            let text = format!("{is} is another component than {was}, and does not replace it");
            self.breaks(Affected::Operators, text);
        }
        for export in old.exports() {
            if !new.exports().contains(export) {
                let text = format!("it has no {export} any more");
                self.breaks(Affected::Operators, text);
            }
        }
    }

    fn commands(&mut self, old: &Manifest, new: &Manifest) {
        let (known, named) = (by_name(&old.commands), by_name(&new.commands));
        for was in &old.commands {
            let name = &was.name;
            let Some(&is) = named.get(name.as_str()) else {
                self.breaks(Affected::Callers, format!("command {name} is removed"));
                continue;
            };
            self.renamed("command", Affected::Callers, was, is);
            for alias in &was.aliases {
                if !named.contains_key(alias.as_str()) {
                    let text = format!("command {name} has no alias {alias} any more");
                    self.breaks(Affected::Callers, text);
                }
            }
            let (before, now) = (was.schema_version, is.schema_version);
            if before != now {
                let text = format!(
                    "command {name} has schema version {now} instead of {before}; callers that \
                     name {before} are refused"
                );
                self.breaks(Affected::Callers, text);
            }
            self.content("command", Affected::Callers, Side::Read, was, is);
        }
        for is in &new.commands {
            if !known.contains_key(is.name.as_str()) {
                self.note(Affected::Callers, format!("command {} is new", is.name));
            }
        }
    }

    fn events(&mut self, old: &Module, new: &Module) {
        let (was_manifest, manifest) = (old.manifest(), new.manifest());
        let (known, named) = (by_name(&was_manifest.events), by_name(&manifest.events));
        for was in &was_manifest.events {
            let (name, before) = (&was.name, was.schema_version);
            let has_step = |version: u32| leads_on(new, name, version);
            let Some(&is) = named.get(name.as_str()) else {
                match has_step(before) {
                    true => {
                        let text = format!("event {name} is not written any more; a step lifts it");
                        self.note(Affected::Readers, text);
                    }
                    false => self.breaks(
                        Affected::Readers,
                        format!("event {name} is removed, and no alias or step reads stored ones"),
                    ),
                }
                continue;
            };
            self.renamed("event", Affected::Readers, was, is);
            let now = is.schema_version;
            let unchanged = manifest.unchanged_since(is.name.as_str());
            let is_read = has_step(before) || unchanged.is_some_and(|since| since <= before);
            match now.cmp(&before) {
                std::cmp::Ordering::Equal => {
                    self.content("event", Affected::Readers, Side::Written, was, is);
                }
                std::cmp::Ordering::Less => self.breaks(
                    Affected::Readers,
                    format!("event {name} has schema version {now}, and stored ones have {before}"),
                ),
                std::cmp::Ordering::Greater if is_read => self.note(
                    Affected::Readers,
                    format!("event {name} has schema version {now} instead of {before}"),
                ),
                std::cmp::Ordering::Greater => self.breaks(
                    Affected::Readers,
                    format!(
                        "event {name} has schema version {now} instead of {before}, and no step \
                         lifts stored ones"
                    ),
                ),
            }
        }
        for is in &manifest.events {
            let mut names = std::iter::once(&is.name).chain(&is.aliases);
            if !names.any(|name| known.contains_key(name.as_str())) {
                self.note(Affected::Readers, format!("event {} is new", is.name));
            }
        }
    }

    /// A type that has another name now; the old one is an alias.
    fn renamed(&mut self, what: &str, affected: Affected, was: &MessageType, is: &MessageType) {
        if was.name != is.name {
            let text = format!("{what} {} is called {} now", was.name, is.name);
            self.note(affected, text);
        }
    }

    /// The encoding and the schema of bodies.
    fn content(
        &mut self,
        what: &str,
        affected: Affected,
        side: Side,
        was: &MessageType,
        is: &MessageType,
    ) {
        if was.content_type != is.content_type {
            let (before, now) = (&was.content_type, &is.content_type);
            let text = format!("{what} {} is {now} instead of {before}", is.name);
            self.breaks(affected, text);
            return;
        }
        let schemas = (&was.json_schema, &is.json_schema);
        for (breaks, text) in schema_changes(side, schemas.0, schemas.1, &mut self.work) {
            self.found.push(Change {
                breaks,
                affected,
                text: format!("{what} {}: {text}", is.name),
            });
        }
    }

    fn rejections(&mut self, old: &Manifest, new: &Manifest) {
        let (was, is) = (rejections(old), rejections(new));
        if was.is_empty() || is.is_empty() {
            return;
        }
        for code in is.difference(&was) {
            self.note(Affected::Callers, format!("rejection {code} is new"));
        }
        for code in was.difference(&is) {
            self.note(Affected::Callers, format!("rejection {code} is removed"));
        }
    }

    fn state(&mut self, old: &Manifest, new: &Manifest) {
        let (before, now) = (old.state_schema_version, new.state_schema_version);
        if before == now || before == 0 || now == 0 {
            return;
        }
        let is_migrated = new.migrations.iter().any(|(from, _)| *from == before);
        let text = match is_migrated {
            true => format!("states of version {before} are migrated to {now}"),
            false => format!(
                "states have version {now} instead of {before} without a migration; streams are \
                 folded from their events"
            ),
        };
        self.note(Affected::Snapshots, text);
    }

    fn steps(&mut self, old: &Module, new: &Module) {
        for step in old.steps() {
            let is_same = |it: &&crate::runtime::Step| {
                it.category == step.category
                    && it.name == step.name
                    && it.from_version == step.from_version
            };
            match new.steps().iter().find(is_same) {
                None => self.breaks(
                    Affected::Readers,
                    format!("the step from {step} is removed; stored events of it are not lifted"),
                ),
                Some(is) if is.to != step.to => {
                    let text = format!("the step from {step} leads elsewhere");
                    self.breaks(Affected::Readers, text);
                }
                Some(_) => {}
            }
        }
        for step in new.steps() {
            if !old.steps().contains(step) {
                self.note(Affected::Readers, format!("the step from {step} is new"));
            }
        }
    }

    fn projections(&mut self, old: &Module, new: &Module) {
        for was in old.projections() {
            let name = &was.name;
            let Some(is) = new.projection(name) else {
                let text = format!("projection {name} is not defined any more");
                self.breaks(Affected::Queries, text);
                continue;
            };
            for index in &was.indexes {
                if !is.indexes.contains(index) {
                    let text = format!("projection {name} has no index {} any more", index.name);
                    self.breaks(Affected::Queries, text);
                }
            }
            let (before, now) = (was.version, is.version);
            if now < before {
                let text = format!("projection {name} has version {now}, lower than {before}");
                self.breaks(Affected::Queries, text);
            } else if now > before || !was.makes_the_same_as(is) {
                let text = format!("projection {name} is rebuilt, version {before} to {now}");
                self.note(Affected::Queries, text);
            }
            self.documents(name, old.manifest(), new.manifest());
        }
        for is in new.projections() {
            if old.projection(&is.name).is_none() {
                let text = format!("projection {} is new", is.name);
                self.note(Affected::Queries, text);
            }
        }
    }

    /// The schemas of a projection's documents, which the component writes.
    fn documents(&mut self, projection: &str, old: &Manifest, new: &Manifest) {
        let schemas = (
            old.document_schema(projection),
            new.document_schema(projection),
        );
        let (Some(was), Some(is)) = schemas else {
            return;
        };
        for (breaks, text) in schema_changes(Side::Written, was, is, &mut self.work) {
            self.found.push(Change {
                breaks,
                affected: Affected::Queries,
                text: format!("documents of {projection}: {text}"),
            });
        }
    }
}

/// The codes of rejections that a component declares.
pub fn rejections(manifest: &Manifest) -> BTreeSet<&str> {
    let mut annotations = manifest.annotations.iter();
    let codes = annotations.find(|(name, _)| name == REJECTIONS);
    codes
        .into_iter()
        .flat_map(|(_, codes)| codes.split_whitespace())
        .collect()
}

/// Whether a decider has a step for its own events from a version of a type, or from a later one.
fn leads_on(module: &Module, name: &Name, version: u32) -> bool {
    let category = module.manifest().name.as_str();
    let mut own = module
        .steps()
        .iter()
        .filter(|step| step.category.as_str() == category);
    own.any(|step| step.name == *name && step.from_version >= version)
}
