use std::collections::BTreeSet;

use crate::{Aggregate, Guest, Manifest, MessageType, Upcaster};

/// Panics when a host would refuse the manifest of `G`: a schema version 0, two types under one
/// name, or migrations that do not form a chain.
#[track_caller]
pub fn check_guest<G: Guest>() {
    let manifest = Manifest::of::<G>();
    check_types("command", &manifest.commands);
    check_types("event", &manifest.events);
    if let Err(text) = G::Aggregate::migrations().check(manifest.state_schema_version) {
        panic!("{}: {text}", manifest.name);
    }
}

/// Panics when a host would refuse the steps of `U`: a schema version 0, two steps from one type
/// and version, one that does not lead its own type to a later version, or a circle.
#[track_caller]
pub fn check_steps<U: Upcaster>() {
    if let Err(text) = U::steps().check() {
        panic!("upcasters of {}: {text}", U::CATEGORY);
    }
}

#[track_caller]
fn check_types(kind: &str, types: &[MessageType]) {
    let mut seen = BTreeSet::new();
    for known in types {
        let name = known.name;
        assert!(
            known.schema_version > 0,
            "{kind} {name}: schema versions begin at 1"
        );
        for name in std::iter::once(&name).chain(&known.aliases) {
            assert!(seen.insert(*name), "two {kind}s are called {name}");
        }
    }
}
