use std::collections::{BTreeSet, HashMap, HashSet};

use super::Chain;
use crate::model::{MessageType, Name};

/// The types that a reader declares, each with the schema version that it reads.
///
/// Names that mean the same type form a group: a name and its aliases. A reader receives all events
/// of a group under the name that it uses itself, regardless of the name under which they are
/// stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    versions: HashMap<Name, u32>,
    /// Other names of a type, each with the name that this reader uses.
    aliases: HashMap<Name, Name>,
    /// Types that are declared with the version at the end of their chain.
    open: HashSet<Name>,
    others: Others,
}

/// What happens to events that a reader does not declare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Others {
    /// They are an error.
    #[default]
    Refused,
    /// They are delivered in the version at the end of their chain. Events of declared types that
    /// are too new for the reader are delivered as stored.
    Taken,
    /// They are left out.
    LeftOut,
}

/// Pairs of names that mean the same type of one category: an alias, and the name for which a
/// decider declared it.
pub type Aliases = BTreeSet<(Name, Name)>;

impl Names {
    /// Returns the names of a decider's own events. Other events are an error.
    pub fn of_decider(events: &[MessageType]) -> Self {
        let versions = events.iter().map(|it| (it.name.clone(), it.schema_version));
        Self {
            versions: versions.collect(),
            aliases: aliases_of(events).collect(),
            ..Self::default()
        }
    }

    /// Adds the aliases that earlier deciders of the category had, so that a decider can read
    /// events that a later decider wrote under a newer name.
    ///
    /// A group of which the decider declares several types is not changed. Nothing is added if the
    /// steps of the chain would then contradict each other.
    #[must_use]
    pub fn remembering(self, remembered: &Aliases, chain: &Chain) -> Self {
        if remembered.is_empty() {
            return self;
        }
        let own = self.aliases.iter();
        let known = remembered.iter().map(|(alias, name)| (alias, name));
        let mut aliases = self.aliases.clone();
        for group in groups(own.chain(known)) {
            let mut named = group.iter().filter(|name| self.is_named(name));
            let (Some(used), None) = (named.next(), named.next()) else {
                continue;
            };
            // If a step turns one type of the group into another, they are not the same type.
            let is_parted = chain.links().iter().any(|link| {
                let step = link.step();
                let mut to = step.to.iter();
                group.contains(&step.name)
                    && to.any(|(name, _)| *name != step.name && group.contains(name))
            });
            if is_parted {
                continue;
            }
            let others = group.iter().filter(|name| *name != used);
            for name in others {
                aliases.entry(name.clone()).or_insert_with(|| used.clone());
            }
        }
        let remembering = Self {
            aliases,
            ..self.clone()
        };
        match chain.check(&remembering, None) {
            Ok(()) => remembering,
            Err(_) => self,
        }
    }

    /// Returns the names of a projection's source: types, each with a version. Version 0 means the
    /// version of the category's decider, or the end of the chain without a decider. An empty list
    /// means all types, as readers outside the sandbox see them.
    ///
    /// Types may be given by any of the names that the decider has for them.
    pub fn of_source(types: &[(Name, u32)], decider: Option<&Names>) -> Self {
        let decider = decider.cloned().unwrap_or_default();
        if types.is_empty() {
            return decider.taking_others();
        }
        let (mut versions, mut open) = (HashMap::new(), HashSet::new());
        for (name, version) in types {
            let current = decider.version(decider.canonical(name).as_str());
            match current.filter(|_| *version == 0) {
                Some(current) => _ = versions.insert(name.clone(), current),
                None if *version == 0 => _ = open.insert(name.clone()),
                None => _ = versions.insert(name.clone(), *version),
            }
        }
        let mut aliases = decider.aliases.clone();
        for group in groups(decider.aliases.iter()) {
            let mut named = types.iter().map(|(name, _)| name);
            let is_deciders = |name: &&Name| decider.is_named(name);
            let used = named
                .clone()
                .filter(|name| group.contains(*name))
                .find(is_deciders)
                .or_else(|| named.find(|name| group.contains(*name)));
            let Some(used) = used else { continue };
            for name in &group {
                aliases.insert(name.clone(), used.clone());
            }
        }
        Self {
            versions,
            aliases,
            open,
            others: Others::LeftOut,
        }
    }

    /// Adapts the names for a reader that is not a guest, which receives other events, too: in the
    /// version at the end of their chain. Events that are too new are delivered as stored.
    #[must_use]
    pub fn taking_others(mut self) -> Self {
        self.others = Others::Taken;
        self
    }

    /// Returns the version that is read of a type, by its canonical name.
    pub fn version(&self, name: &str) -> Option<u32> {
        self.versions.get(name).copied()
    }

    fn is_named(&self, name: &Name) -> bool {
        self.versions.contains_key(name) || self.open.contains(name)
    }

    /// Returns the name that this reader uses for a type.
    pub fn canonical<'a>(&'a self, name: &'a Name) -> &'a Name {
        if self.is_named(name) {
            return name;
        }
        self.aliases.get(name).unwrap_or(name)
    }

    /// Returns other names of a type whose events the reader receives under this name.
    pub fn aliases<'a>(&'a self, canonical: &'a Name) -> impl Iterator<Item = &'a Name> {
        let aliases = self.aliased();
        aliases.filter_map(move |(alias, name)| (name == canonical).then_some(alias))
    }

    /// Returns every other name, with the name that the reader uses.
    pub fn aliased(&self) -> impl Iterator<Item = (&Name, &Name)> {
        let aliases = self.aliases.iter();
        aliases.filter(|(alias, name)| alias != name && !self.is_named(alias))
    }

    /// Whether a type is declared with the version at the end of its chain.
    pub fn is_open(&self, canonical: &Name) -> bool {
        self.open.contains(canonical)
    }

    /// What happens to events that are not declared.
    pub fn others(&self) -> Others {
        self.others
    }
}

/// Returns the older names of types, each with its newest name.
pub fn aliases_of(events: &[MessageType]) -> impl Iterator<Item = (Name, Name)> {
    events.iter().flat_map(|event| {
        let aliases = event.aliases.iter();
        aliases.map(|alias| (alias.clone(), event.name.clone()))
    })
}

/// Groups names that mean the same type, given as pairs.
fn groups<'a>(pairs: impl Iterator<Item = (&'a Name, &'a Name)>) -> Vec<BTreeSet<Name>> {
    let mut groups: Vec<BTreeSet<Name>> = Vec::new();
    for (one, other) in pairs {
        let mut group = BTreeSet::from([one.clone(), other.clone()]);
        groups.retain(|known| {
            let is_distinct = !known.contains(one) && !known.contains(other);
            if !is_distinct {
                group.extend(known.iter().cloned());
            }
            is_distinct
        });
        groups.push(group);
    }
    groups
}
