use std::collections::BTreeSet;

use serde::Serialize;

use super::play::{Played, Typed};
use crate::Components;

/// Which decisions of the components some scenarios have shown.
#[derive(Debug, Default, Serialize)]
pub struct Coverage {
    /// Commands that the deciders declare.
    pub commands: Declared,
    /// Events that the deciders declare.
    pub events: Declared,
    /// Codes of rejections that the deciders declare.
    pub rejections: Declared,
    /// Types of events that the sources of projections name.
    pub sources: Declared,
}

/// The category in the name of a type whose source takes every category.
const EVERY: &str = "*";

/// Declared names, and those that were never seen. A name has the form `account withdraw`.
#[derive(Debug, Default, Serialize)]
pub struct Declared {
    /// Number of declared names.
    pub declared: usize,
    /// Names that no scenario showed.
    pub never: BTreeSet<String>,
}

impl Coverage {
    pub(super) fn of(components: &Components) -> Self {
        let mut coverage = Self::default();
        for module in components.modules() {
            let Some(category) = module.category() else {
                continue;
            };
            let (category, manifest) = (category.as_str(), module.manifest());
            let commands = manifest.commands.iter().map(|it| it.name.as_str());
            coverage.commands.declare(category, commands);
            let events = manifest.events.iter().map(|it| it.name.as_str());
            coverage.events.declare(category, events);
            let rejections = quipu::deploy::rejections(manifest);
            coverage
                .rejections
                .declare(category, rejections.into_iter());
        }
        for (_, projection) in components.projections() {
            let mut names = Vec::new();
            for source in &projection.sources {
                let category = source.category.as_deref().unwrap_or(EVERY);
                // Scenarios have no events of the host.
                if !category.starts_with('$') {
                    let events = source.events.iter();
                    names.extend(events.map(|(name, _)| full(category, name.as_str())));
                }
            }
            let names = names.iter().map(String::as_str);
            coverage.sources.declare(&projection.name, names);
        }
        coverage
    }

    pub(super) fn count(&mut self, played: &Played) {
        self.commands.seen(&played.commands);
        self.events.seen(&played.events);
        self.rejections.seen(&played.rejections);
        for (projection, received) in &played.received {
            for (category, name) in &received.taken {
                for category in [category.as_str(), EVERY] {
                    let source = full(projection, &full(category, name));
                    self.sources.never.remove(&source);
                }
            }
        }
    }

    /// Whether everything that is declared was seen.
    pub fn is_complete(&self) -> bool {
        let all = [
            &self.commands,
            &self.events,
            &self.rejections,
            &self.sources,
        ];
        all.iter().all(|declared| declared.never.is_empty())
    }
}

impl Declared {
    fn declare<'a>(&mut self, category: &str, names: impl Iterator<Item = &'a str>) {
        self.never.extend(names.map(|name| full(category, name)));
        self.declared = self.never.len();
    }

    fn seen(&mut self, names: &BTreeSet<Typed>) {
        for (category, name) in names {
            self.never.remove(&full(category, name));
        }
    }
}

fn full(category: &str, name: &str) -> String {
    format!("{category} {name}")
}
