//! The events that the sources of projections take, and those that they leave out.

use std::collections::BTreeSet;

use quipu::runtime::Definition;

use super::Expected;
use super::check::listed;
use super::play::{Played, Typed};
use crate::Components;

/// Most types that a note lists.
const LISTED_MAX: usize = 20;

/// Says for each projection whose documents are expected which events it did not receive. If the
/// scenario passed, only when it received none: other types may be left out on purpose.
pub(super) fn notes(
    components: &Components,
    expected: &Expected,
    played: &Played,
    passed: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    for (_, projection) in components.projections() {
        let name = &*projection.name;
        let Some(received) = played.received.get(name) else {
            continue;
        };
        let is_expected = expected.documents.contains_key(name);
        if !is_expected || received.left_out.is_empty() {
            continue;
        }
        let left_out = types(received.left_out.iter().map(typed));
        let sources = types(sources(projection));
        if received.taken.is_empty() {
            notes.push(format!(
                "projection {name} receives none of the events: {left_out}; its sources take \
                 {sources}"
            ));
        } else if !passed {
            notes.push(format!(
                "projection {name} does not receive {left_out}; its sources take {sources}"
            ));
        }
    }
    notes
}

/// Names types in the sources of projections that the decider of the category does not declare.
pub(super) fn unknown(components: &Components) -> Vec<String> {
    let mut unknown = Vec::new();
    for (_, projection) in components.projections() {
        for source in &projection.sources {
            let Some(category) = source.category.as_deref() else {
                continue;
            };
            if components.decider(category).is_none() {
                continue;
            }
            let known = known(components, category);
            for (name, _) in &source.events {
                if !known.contains(name.as_str()) {
                    unknown.push(format!(
                        "projection {} names event {name} in its sources, which the decider of \
                         category {category} does not declare",
                        projection.name
                    ));
                }
            }
        }
    }
    unknown
}

/// The types of a category that its decider declares, with their aliases, and those that steps of
/// upcasters read and write.
fn known<'a>(components: &'a Components, category: &str) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    if let Some(decider) = components.decider(category) {
        for event in &decider.manifest().events {
            known.insert(event.name.as_str());
            known.extend(event.aliases.iter().map(|alias| alias.as_str()));
        }
    }
    let steps = components.modules().iter().flat_map(|it| it.steps());
    for step in steps.filter(|it| it.category.as_str() == category) {
        known.insert(step.name.as_str());
        known.extend(step.to.iter().map(|(name, _)| name.as_str()));
    }
    known
}

/// The types that the sources of a projection take.
fn sources(projection: &Definition) -> impl Iterator<Item = String> {
    projection.sources.iter().flat_map(|source| {
        let category = source.to_string();
        match source.events.is_empty() {
            true => vec![format!("every type of {category}")],
            false => {
                let names = source.events.iter();
                names
                    .map(|(name, _)| format!("{category} {name}"))
                    .collect()
            }
        }
    })
}

fn typed((category, name): &Typed) -> String {
    format!("{category} {name}")
}

/// Types in a sentence, up to a bound.
fn types(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let mut shown: Vec<&str> = all.iter().take(LISTED_MAX).map(String::as_str).collect();
    if all.len() > LISTED_MAX {
        shown.push("…");
    }
    listed(&shown)
}
