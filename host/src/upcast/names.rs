use std::collections::{HashMap, HashSet};

use crate::model::{MessageType, Name};

/// What a reader names: types by their canonical names, each with the schema version that
/// it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    versions: HashMap<Name, u32>,
    /// Older names, each with the canonical one.
    aliases: HashMap<Name, Name>,
    /// Named, whichever version is at the end of its chain.
    open: HashSet<Name>,
    others: Others,
}

/// What becomes of what a reader does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Others {
    /// It is an error.
    #[default]
    Refused,
    /// It comes as the end of its chain, and what is too new as it is stored.
    Taken,
    /// It is left out.
    LeftOut,
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
            ..Self::default()
        }
    }

    /// What a projection names of a category: types, each with a version, 0 standing for
    /// that of the category's decider, without one for the end of its chain. No types:
    /// all of them, as readers that are no guests see them.
    pub fn of_source(types: &[(Name, u32)], decider: Option<&Names>) -> Self {
        let decider = decider.cloned().unwrap_or_default();
        if types.is_empty() {
            return decider.taking_others();
        }
        let (mut versions, mut open) = (HashMap::new(), HashSet::new());
        for (name, version) in types {
            match decider.version(name.as_str()).filter(|_| *version == 0) {
                Some(current) => _ = versions.insert(name.clone(), current),
                None if *version == 0 => _ = open.insert(name.clone()),
                None => _ = versions.insert(name.clone(), *version),
            }
        }
        Self {
            versions,
            aliases: decider.aliases,
            open,
            others: Others::LeftOut,
        }
    }

    /// The same for a reader that is no guest: what is not named comes as the end of its
    /// chain, and what is too new as it is stored.
    #[must_use]
    pub fn taking_others(mut self) -> Self {
        self.others = Others::Taken;
        self
    }

    /// The version that is read of a type, by its canonical name.
    pub fn version(&self, name: &str) -> Option<u32> {
        self.versions.get(name).copied()
    }

    /// The canonical name of a type.
    pub fn canonical<'a>(&'a self, name: &'a Name) -> &'a Name {
        if self.versions.contains_key(name) || self.open.contains(name) {
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

    /// Whether a type is named at whichever version is at the end of its chain.
    pub fn is_open(&self, canonical: &Name) -> bool {
        self.open.contains(canonical)
    }

    /// What becomes of what is not named.
    pub fn others(&self) -> Others {
        self.others
    }
}
