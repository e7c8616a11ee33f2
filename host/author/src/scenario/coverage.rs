use std::collections::BTreeSet;

use serde::Serialize;

use super::play::Played;
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
}

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
        coverage
    }

    pub(super) fn count(&mut self, played: &Played) {
        self.commands.seen(&played.commands);
        self.events.seen(&played.events);
        self.rejections.seen(&played.rejections);
    }

    /// Whether everything that is declared was seen.
    pub fn is_complete(&self) -> bool {
        let all = [&self.commands, &self.events, &self.rejections];
        all.iter().all(|declared| declared.never.is_empty())
    }
}

impl Declared {
    fn declare<'a>(&mut self, category: &str, names: impl Iterator<Item = &'a str>) {
        self.never.extend(names.map(|name| full(category, name)));
        self.declared = self.never.len();
    }

    fn seen(&mut self, names: &BTreeSet<(String, String)>) {
        for (category, name) in names {
            self.never.remove(&full(category, name));
        }
    }
}

fn full(category: &str, name: &str) -> String {
    format!("{category} {name}")
}
