use serde::de::DeserializeOwned;

use super::recorded::category;
use super::{Recorded, Stored, Untyped};
use crate::Message;
use crate::driver::{FoldError, other_version, unfit};
use crate::message::{Unreadable, decode, names};

/// The events that a projection reads, and how they become an `E`.
///
/// A category's events are those of an enum in serde's usual form, named as the decider names them.
/// An enum that lacks some of the decider's types never receives events of these types. Derive
/// [`Message`] on it: a variant is read in the schema version of its attribute, else in version 1.
/// Older events are lifted to it.
pub struct Sources<E>(Vec<Source<E>>);

struct Source<E> {
    /// The category; empty for every category.
    category: &'static str,
    /// The types; empty for every type.
    types: Vec<(&'static str, u32)>,
    read: Box<Read<E>>,
}

type Read<E> = dyn Fn(&Untyped) -> Result<E, FoldError> + Send + Sync;

impl<E: Message + DeserializeOwned + 'static> Sources<E> {
    /// The events of one category. Panics unless `E` is an enum in serde's usual form.
    pub fn of(category: &'static str) -> Self {
        Sources::none().and(category, |event| event)
    }
}

impl Sources<Untyped> {
    /// Reads every event of every category.
    pub fn every() -> Self {
        Sources::none().and_every(|event| event)
    }
}

impl<E> Sources<E> {
    /// No events yet.
    pub fn none() -> Self {
        Sources(Vec::new())
    }

    /// Adds the events of another category: `.and("account", Event::Account)`. Panics unless `S`
    /// is an enum in serde's usual form.
    #[must_use]
    pub fn and<S: Message + DeserializeOwned>(
        mut self,
        category: &'static str,
        wrap: impl Fn(S) -> E + Send + Sync + 'static,
    ) -> Self {
        let types = types::<S>(category);
        self.0.push(Source {
            category,
            types: types.clone(),
            read: Box::new(move |event| read::<S>(category, &types, event).map(&wrap)),
        });
        self
    }

    /// Adds all events of every category that is not named.
    #[must_use]
    pub fn and_every(mut self, wrap: impl Fn(Untyped) -> E + Send + Sync + 'static) -> Self {
        self.0.push(Source {
            category: "",
            types: Vec::new(),
            read: Box::new(move |event| Ok(wrap(event.clone()))),
        });
        self
    }

    /// Categories, each with the types that are read from it. The empty name means every category.
    pub(crate) fn named(&self) -> Vec<(&'static str, Vec<(&'static str, u32)>)> {
        let sources = self.0.iter();
        sources
            .map(|source| (source.category, source.types.clone()))
            .collect()
    }

    pub(crate) fn read(&self, stored: Stored) -> Result<Recorded<E>, FoldError> {
        let category = category(&stored.stream);
        let own = self.0.iter().find(|source| source.category == category);
        let every = || self.0.iter().find(|source| source.category.is_empty());
        let Some(source) = own.or_else(every) else {
            return Err(FoldError::UnknownEvent(format!(
                "events of {category} are not read"
            )));
        };
        Ok(Recorded {
            event: (source.read)(&stored.event)?,
            id: stored.id,
            stream: stored.stream,
            version: stored.version,
            position: stored.position,
            recorded_at: stored.recorded_at,
            part: stored.part,
            tags: stored.tags,
            annotations: stored.annotations,
        })
    }
}

/// Returns the variants of `S` with their schema versions, without older names.
fn types<S: Message + DeserializeOwned>(category: &str) -> Vec<(&'static str, u32)> {
    let names = names::<S>().unwrap_or_else(|| {
        panic!(
            "the events of {category} must be an enum in serde's usual form, without `tag` or \
             `untagged`"
        )
    });
    let is_alias = |name: &str| S::ATTRIBUTES.iter().any(|it| it.aliases.contains(&name));
    let names = names.iter().filter(|name| !is_alias(name));
    names.map(|name| (*name, version::<S>(name))).collect()
}

/// The schema version in which a variant is read.
pub(crate) fn version<S: Message>(name: &str) -> u32 {
    let known = S::ATTRIBUTES.iter().find(|variant| variant.name == name);
    known
        .and_then(|variant| variant.schema_version)
        .unwrap_or(1)
}

fn read<S: DeserializeOwned>(
    category: &str,
    types: &[(&'static str, u32)],
    event: &Untyped,
) -> Result<S, FoldError> {
    let Untyped {
        event_type,
        schema_version,
        body,
    } = event;
    let unknown =
        || FoldError::UnknownEvent(format!("no event {event_type} of {category} is read"));
    let mut known = types.iter();
    let Some((_, current)) = known.find(|(name, _)| name == event_type) else {
        return Err(unknown());
    };
    if schema_version != current {
        let text = other_version("event", event_type, *schema_version, *current);
        return Err(FoldError::UnknownEvent(text));
    }
    let Some(body) = body else {
        return Err(FoldError::BadEvent(format!(
            "event {event_type}: body is binary, expected JSON"
        )));
    };
    decode(event_type, body).map_err(|unreadable| match unreadable {
        Unreadable::UnknownType => unknown(),
        Unreadable::Body(error) => FoldError::BadEvent(unfit("event", event_type, &error)),
    })
}
