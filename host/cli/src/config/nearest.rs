//! The key that somebody meant who named one that does not exist.

use strsim::damerau_levenshtein;

use super::key::Key;
use super::{SECTIONS, keys, keys_of};

/// The key nearest to a path that no key has: one of the same name in another section, otherwise one
/// of the same section, otherwise any.
pub fn key(path: &str) -> Option<&'static Key> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let same_name = keys().find(|key| key.name == name);
    let own = || {
        let own = keys_of(section).iter().filter(|_| !section.is_empty());
        own.min_by_key(|key| damerau_levenshtein(key.name, name))
    };
    let any = || keys().min_by_key(|key| damerau_levenshtein(&key.path(), path));
    same_name.or_else(own).or_else(any)
}

/// The one of some keys whose name is nearest to a name that none has.
pub fn among<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter()
        .min_by_key(|key| damerau_levenshtein(key.name, name))
}

/// The section nearest to a name that no section has.
pub fn section(name: &str) -> Option<&'static str> {
    let sections = SECTIONS.iter().filter_map(|(_, keys)| keys.first());
    let sections = sections.map(|key| key.section).filter(|it| !it.is_empty());
    sections.min_by_key(|section| damerau_levenshtein(section, name))
}
