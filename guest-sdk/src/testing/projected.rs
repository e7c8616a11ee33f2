use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::marker::PhantomData;

use serde::Serialize;

use crate::driver::FoldError;
use crate::message::encode;
use crate::projection::{Projections, Stored, Untyped, Work, version};
use crate::{Message, Projection, Time};

use super::determinism::{cuts, sizes};
use super::diff::assert_same_json;

/// Starts a test of `P` without documents.
///
/// Panics when a host would refuse the definition of `P`.
#[track_caller]
pub fn projected<P: Projection>() -> Projected<P> {
    check_projection::<P>();
    Projected {
        projections: Projections::default().with::<P>(),
        documents: BTreeMap::new(),
        events: Vec::new(),
        versions: BTreeMap::new(),
        position: 0,
        recorded_at: Time::UNIX_EPOCH,
        tags: Vec::new(),
        annotations: Vec::new(),
        projection: PhantomData,
    }
}

/// Panics when a host would refuse the definition of `P`: an invalid name, a version 0, no source
/// or two of one category, two indexes of one name, or an invalid pointer.
#[track_caller]
pub fn check_projection<P: Projection>() {
    let definitions = Projections::default().with::<P>().definitions();
    for known in definitions {
        let name = known.name;
        check_name("projection", name);
        assert!(known.version > 0, "{name}: versions begin at 1");
        assert!(!known.sources.is_empty(), "{name}: no source");
        let mut seen = BTreeSet::new();
        for (category, _) in &known.sources {
            assert!(seen.insert(category), "{name}: two sources of {category:?}");
        }
        let mut seen = BTreeSet::new();
        for index in &known.indexes {
            check_name("index", index.name);
            let fits = index.pointer.is_empty() || index.pointer.starts_with('/');
            assert!(fits, "{name}: {:?} is no JSON pointer", index.pointer);
            assert!(
                seen.insert(index.name),
                "{name}: two indexes are called {}",
                index.name
            );
        }
    }
}

#[track_caller]
fn check_name(what: &str, name: &str) {
    let fits = (1..=48).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    assert!(
        fits,
        "the name {name:?} of the {what} is not 1 to 48 of a-z, 0-9, _ and -, beginning with a \
         letter"
    );
}

/// Documents as JSON, by their keys.
type Documents = BTreeMap<String, String>;

/// Documents, and the log that led to them. Events and documents are converted through their JSON.
pub struct Projected<P: Projection> {
    projections: Projections,
    documents: Documents,
    /// The events folded so far.
    events: Vec<Stored>,
    versions: BTreeMap<String, u64>,
    position: u64,
    recorded_at: Time,
    tags: Vec<String>,
    annotations: Vec<(String, String)>,
    projection: PhantomData<P>,
}

impl<P: Projection> Projected<P> {
    /// Folds the next event of the log, in the schema version in which `P` reads it.
    #[track_caller]
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // as `given` takes them
    pub fn event<S: Message + Serialize>(self, stream: &str, event: S) -> Self {
        let (event_type, body) = encode(&event).expect("an event must have a JSON form");
        self.stored(stream, event_type, version::<S>(event_type), &body)
    }

    /// Folds the next event of the log, given as JSON.
    #[track_caller]
    #[must_use]
    pub fn stored(self, stream: &str, event_type: &str, schema_version: u32, body: &str) -> Self {
        match self.try_stored(stream, event_type, schema_version, body) {
            Ok(projected) => projected,
            Err(error) => panic!("event {event_type} {body}: {error}"),
        }
    }

    /// Like [`stored`](Self::stored), for an event that may fail.
    ///
    /// # Errors
    ///
    /// Why the event can't be folded.
    #[track_caller]
    pub fn try_stored(
        mut self,
        stream: &str,
        event_type: &str,
        schema_version: u32,
        body: &str,
    ) -> Result<Self, FoldError> {
        self.position += 1;
        let version = self.versions.entry(stream.to_owned()).or_default();
        *version += 1;
        let of = |list: bool| if list { usize::MAX } else { 0 };
        let event = Stored {
            event: Untyped {
                event_type: event_type.to_owned(),
                schema_version,
                body: Some(body.to_owned()),
            },
            id: self.position.into(),
            stream: stream.to_owned(),
            version: *version,
            position: self.position,
            recorded_at: self.recorded_at,
            part: 0,
            tags: self.tags.iter().take(of(P::TAGS)).cloned().collect(),
            annotations: self
                .annotations
                .iter()
                .take(of(P::ANNOTATIONS))
                .cloned()
                .collect(),
        };
        self.documents = fold(
            &self.projections,
            P::NAME,
            self.documents,
            std::slice::from_ref(&event),
        )?;
        self.events.push(event);
        Ok(self)
    }

    /// Panics unless the documents are the same when the events are folded in batches of other
    /// sizes, and when they are cut at any place. A host folds events in batches, and stores
    /// documents as JSON after each.
    ///
    /// The events are cut after each event; more than 100 events, at 100 places.
    #[track_caller]
    pub fn check_cuts(&self) {
        let len = self.events.len();
        for cut in cuts(len) {
            let (head, tail) = self.events.split_at(cut);
            self.check_batches(&format!("cut after {cut} events"), [head, tail]);
        }
        for size in sizes(len) {
            let what = format!("folded {size} events at a time");
            self.check_batches(&what, self.events.chunks(size));
        }
    }

    #[track_caller]
    fn check_batches<'a>(&self, what: &str, batches: impl IntoIterator<Item = &'a [Stored]>) {
        let mut documents = Documents::new();
        for batch in batches {
            match fold(&self.projections, P::NAME, documents, batch) {
                Ok(folded) => documents = folded,
                Err(error) => panic!("{what}: {error}"),
            }
        }
        let keys = self.documents.keys().chain(documents.keys());
        for key in keys {
            let of = |documents: &Documents| documents.get(key).map_or("null", |it| it).to_owned();
            let what = format!("document {key}, {what}");
            assert_same_json(&what, &of(&self.documents), &of(&documents));
        }
    }

    /// Sets the time at which the following events were recorded, as a [`Time`] or as a text:
    /// `.at("2026-01-01T12:00:00Z")`.
    #[track_caller]
    #[must_use]
    pub fn at<T: TryInto<Time, Error: Display>>(mut self, time: T) -> Self {
        match time.try_into() {
            Ok(time) => self.recorded_at = time,
            Err(error) => panic!("time {error}"),
        }
        self
    }

    /// Adds a tag to the following events.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// Sets an annotation of the following events; without a value, removes the annotation of that
    /// name.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: Option<&str>) -> Self {
        self.annotations.retain(|(known, _)| known != name);
        let value = value.map(|value| (name.to_owned(), value.to_owned()));
        self.annotations.extend(value);
        self
    }

    /// Returns the document of a key.
    #[track_caller]
    pub fn document(&self, key: &str) -> Option<P::Document> {
        let text = self.documents.get(key)?;
        match serde_json::from_str(text) {
            Ok(document) => Some(document),
            Err(error) => panic!("document {text} can't be read back: {error}"),
        }
    }

    /// Returns every document by its key, as JSON.
    pub fn documents(&self) -> &BTreeMap<String, String> {
        &self.documents
    }
}

/// Folds a batch as a host does: the keys of all its events first, then each document with the
/// events that concern it.
#[track_caller]
fn fold(
    projections: &Projections,
    name: &str,
    mut documents: Documents,
    batch: &[Stored],
) -> Result<Documents, FoldError> {
    let without_place = batch.iter().map(|event| Stored {
        position: 0,
        ..event.clone()
    });
    let keys = projections.keys(name, without_place.collect())?;
    let mut concerned: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    for (event, keys) in batch.iter().zip(keys) {
        check_keys(&keys);
        for key in keys {
            concerned.entry(key).or_default().push(event.clone());
        }
    }
    let keys: Vec<_> = concerned.keys().cloned().collect();
    let work = concerned.into_iter().map(|(key, events)| Work {
        document: documents.remove(&key),
        key,
        events,
    });
    let applied = projections.apply(name, work.collect())?;
    let applied = keys.into_iter().zip(applied);
    documents.extend(applied.filter_map(|(key, document)| Some((key, document?))));
    Ok(documents)
}

#[track_caller]
fn check_keys(keys: &[String]) {
    let mut seen = BTreeSet::new();
    for key in keys {
        let fits = (1..=255).contains(&key.len()) && !key.contains(char::is_control);
        assert!(fits, "the key {key:?} has 1 to 255 bytes, and is printable");
        assert!(seen.insert(key), "the key {key:?} twice");
    }
}
