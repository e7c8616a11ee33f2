use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use serde::Serialize;

use crate::driver::FoldError;
use crate::message::encode;
use crate::projection::{Projections, Stored, Untyped, Work, version};
use crate::{Message, Projection};

/// Starts a test of `P` without documents.
///
/// Panics when a host would refuse the definition of `P`.
#[track_caller]
pub fn projected<P: Projection>() -> Projected<P> {
    check_projection::<P>();
    Projected {
        projections: Projections::default().with::<P>(),
        documents: BTreeMap::new(),
        versions: BTreeMap::new(),
        position: 0,
        recorded_at_us: 0,
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

/// Documents, and the log that led to them. Events and documents are converted through their JSON.
pub struct Projected<P: Projection> {
    projections: Projections,
    documents: BTreeMap<String, String>,
    versions: BTreeMap<String, u64>,
    position: u64,
    recorded_at_us: u64,
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
            recorded_at_us: self.recorded_at_us,
            part: 0,
            tags: self.tags.iter().take(of(P::TAGS)).cloned().collect(),
            annotations: self
                .annotations
                .iter()
                .take(of(P::ANNOTATIONS))
                .cloned()
                .collect(),
        };
        self.fold(&event)?;
        Ok(self)
    }

    #[track_caller]
    fn fold(&mut self, event: &Stored) -> Result<(), FoldError> {
        let without_place = Stored {
            position: 0,
            ..event.clone()
        };
        let keys = self.projections.keys(P::NAME, vec![without_place])?;
        let mut seen = BTreeSet::new();
        for key in keys.into_iter().flatten() {
            let fits = (1..=255).contains(&key.len()) && !key.contains(char::is_control);
            assert!(fits, "the key {key:?} has 1 to 255 bytes, and is printable");
            assert!(seen.insert(key.clone()), "the key {key:?} twice");
            let work = Work {
                document: self.documents.remove(&key),
                key: key.clone(),
                events: vec![event.clone()],
            };
            let applied = self.projections.apply(P::NAME, vec![work])?;
            let document = applied.into_iter().flatten();
            self.documents
                .extend(document.map(|document| (key.clone(), document)));
        }
        Ok(())
    }

    /// Sets the time at which the following events were recorded.
    #[must_use]
    pub fn at_us(mut self, recorded_at_us: u64) -> Self {
        self.recorded_at_us = recorded_at_us;
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
