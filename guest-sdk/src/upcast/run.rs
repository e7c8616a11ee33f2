use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Step;
use crate::driver::FoldError;
use crate::object::Object;
use crate::{EditError, driver};

/// An event after it was lifted.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcasted {
    /// The type.
    pub event_type: String,
    /// Schema version of `body`.
    pub schema_version: u32,
    /// JSON.
    pub body: String,
}

/// Collects the events into which one is split, in order.
#[derive(Debug, Default)]
pub struct Parts {
    parts: Vec<Upcasted>,
    /// The error of the first part that has no JSON form.
    failed: Option<EditError>,
}

/// One change of a body.
pub(super) enum Stage {
    Edit(Box<Edit>),
    Map(Box<Map>),
}

type Edit = dyn Fn(&mut Object) -> Result<(), EditError> + Send + Sync;
type Map = dyn Fn(&str) -> Result<String, EditError> + Send + Sync;

/// Splits one event into several.
pub(super) struct Split(Box<Divide>);

type Divide = dyn Fn(&str, &mut Parts) -> Result<(), EditError> + Send + Sync;

/// A body between two stages. Consecutive edits share a tree.
enum Body {
    Text(String),
    Object(Object),
}

impl Step {
    /// Lifts one event, which becomes no event, one event or several.
    pub(crate) fn upcast(
        &self,
        event_type: &str,
        schema_version: u32,
        body: &str,
    ) -> Result<Vec<Upcasted>, FoldError> {
        self.parts(body).map_err(|error| {
            let event = driver::versioned("event", event_type, schema_version);
            match error {
                EditError::Unfit(text) => FoldError::BadEvent(format!("{event}: {text}")),
                EditError::Internal(text) => FoldError::Internal(format!("{event}: {text}")),
            }
        })
    }

    fn parts(&self, body: &str) -> Result<Vec<Upcasted>, EditError> {
        let Some(&(event_type, schema_version)) = self.to.first() else {
            return Ok(Vec::new());
        };
        let body = self.staged(body)?;
        let Some(Split(split)) = &self.split else {
            return Ok(vec![Upcasted {
                event_type: event_type.to_owned(),
                schema_version,
                body,
            }]);
        };
        let mut parts = Parts::default();
        split(&body, &mut parts)?;
        let Parts { parts, failed } = parts;
        match failed.or_else(|| self.undeclared(&parts)) {
            Some(error) => Err(error),
            None => Ok(parts),
        }
    }

    fn staged(&self, body: &str) -> Result<String, EditError> {
        let mut body = Body::Text(body.to_owned());
        for stage in &self.stages {
            body = match stage {
                Stage::Edit(edit) => {
                    let mut object = body.into_object()?;
                    edit(&mut object)?;
                    Body::Object(object)
                }
                Stage::Map(map) => Body::Text(map(&body.into_text()?)?),
            };
        }
        body.into_text()
    }

    fn undeclared(&self, parts: &[Upcasted]) -> Option<EditError> {
        let is_declared = |part: &&Upcasted| {
            let mut to = self.to.iter();
            to.any(|(name, version)| (*name, *version) == (&part.event_type, part.schema_version))
        };
        let part = parts.iter().find(|part| !is_declared(part))?;
        let made = driver::versioned("event", &part.event_type, part.schema_version);
        Some(EditError::Internal(format!(
            "the step made {made}, which it doesn't declare; add it to the list of `split`"
        )))
    }
}

impl Parts {
    /// Adds an event after those pushed before.
    pub fn push(&mut self, event_type: &str, schema_version: u32, body: impl Serialize) {
        match text(&body) {
            Ok(body) => self.parts.push(Upcasted {
                event_type: event_type.to_owned(),
                schema_version,
                body,
            }),
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }
}

impl Stage {
    pub(super) fn edit(
        edit: impl Fn(&mut Object) -> Result<(), EditError> + Send + Sync + 'static,
    ) -> Self {
        Stage::Edit(Box::new(edit))
    }

    pub(super) fn map<Old: DeserializeOwned, New: Serialize>(
        map: impl Fn(Old) -> Result<New, EditError> + Send + Sync + 'static,
    ) -> Self {
        Stage::Map(Box::new(move |body| text(&map(read(body)?)?)))
    }
}

impl Split {
    pub(super) fn new<Old: DeserializeOwned>(
        split: impl Fn(Old, &mut Parts) + Send + Sync + 'static,
    ) -> Self {
        Split(Box::new(move |body, parts| {
            split(read(body)?, parts);
            Ok(())
        }))
    }
}

impl Body {
    /// `null`, the body of a variant without content, is read as the empty object.
    fn into_object(self) -> Result<Object, EditError> {
        match self {
            Body::Text(body) => Ok(read::<Option<Object>>(&body)?.unwrap_or_default()),
            Body::Object(object) => Ok(object),
        }
    }

    fn into_text(self) -> Result<String, EditError> {
        match self {
            Body::Text(body) => Ok(body),
            Body::Object(object) => text(&object),
        }
    }
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, EditError> {
    serde_json::from_str(body)
        .map_err(|error| EditError::Unfit(format!("body does not fit: {error}")))
}

fn text(body: &impl Serialize) -> Result<String, EditError> {
    serde_json::to_string(body)
        .map_err(|error| EditError::Internal(format!("the new body has no JSON form: {error}")))
}
