use std::collections::HashMap;

use crate::model::{MessageType, Name};

/// What a reader names: types by their canonical names, each with the schema version that
/// it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    versions: HashMap<Name, u32>,
    /// Older names, each with the canonical one.
    aliases: HashMap<Name, Name>,
    takes_others: bool,
}

impl Names {
    /// What a decider names: its own events. Others are an error for it.
    pub fn of_decider(events: &[MessageType]) -> Self {
        let versions = events.iter().map(|it| (it.name.clone(), it.schema_version));
        let aliases = events.iter().flat_map(|event| {
            let aliases = event.aliases.iter();
            aliases.map(|alias| (alias.clone(), event.name.clone()))
        });
        Self {
            versions: versions.collect(),
            aliases: aliases.collect(),
            takes_others: false,
        }
    }

    /// The same for a reader that is no guest: what is not named comes as the end of its
    /// chain, and what is too new as it is stored.
    #[must_use]
    pub fn taking_others(mut self) -> Self {
        self.takes_others = true;
        self
    }

    /// The version that is read of a type, by its canonical name.
    pub fn version(&self, name: &str) -> Option<u32> {
        self.versions.get(name).copied()
    }

    /// The canonical name of a type.
    pub fn canonical<'a>(&'a self, name: &'a Name) -> &'a Name {
        if self.versions.contains_key(name) {
            return name;
        }
        self.aliases.get(name).unwrap_or(name)
    }

    /// Older names of a type.
    pub fn aliases<'a>(&'a self, canonical: &'a Name) -> impl Iterator<Item = &'a Name> {
        let aliases = self.aliases.iter();
        aliases.filter_map(move |(alias, name)| (name == canonical).then_some(alias))
    }

    /// Every older name, with the canonical one.
    pub fn aliased(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.aliases.iter()
    }

    /// Whether types that it does not name are no error.
    pub fn takes_others(&self) -> bool {
        self.takes_others
    }
}
