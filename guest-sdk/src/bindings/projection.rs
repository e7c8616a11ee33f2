//! The exports of projections.

use std::marker::PhantomData;

use super::{report_panics, types};
use crate::Time;
use crate::projection::{Definition, Kind, Projections, Stored, Untyped, Work};

pub use super::generated::projection::{export, exports};
use exports::quipu::domain::projection;

/// The projections of a component, made once.
pub trait Projecting: 'static {
    fn projections() -> &'static Projections;
}

/// Implements the exports of projections.
pub struct Component<P>(PhantomData<P>);

impl<P: Projecting> projection::Guest for Component<P> {
    fn define() -> Vec<projection::Definition> {
        report_panics();
        let definitions = P::projections().definitions();
        definitions.into_iter().map(Into::into).collect()
    }

    fn keys(
        projection: String,
        events: Vec<types::Recorded>,
    ) -> Result<Vec<Vec<String>>, types::FoldError> {
        report_panics();
        let events = events.into_iter().map(Into::into).collect();
        Ok(P::projections().keys(&projection, events)?)
    }

    fn apply(
        projection: String,
        work: Vec<projection::Work>,
    ) -> Result<Vec<Option<String>>, types::FoldError> {
        report_panics();
        let work = work.into_iter().map(|work| Work {
            key: work.key,
            document: work.document,
            events: work.events.into_iter().map(Into::into).collect(),
        });
        Ok(P::projections().apply(&projection, work.collect())?)
    }
}

impl From<types::Recorded> for Stored {
    fn from(recorded: types::Recorded) -> Self {
        let (high, low) = recorded.id;
        Stored {
            event: Untyped {
                event_type: recorded.event.type_,
                schema_version: recorded.event.schema_version,
                body: match recorded.event.body {
                    types::Body::Json(body) => Some(body),
                    types::Body::Binary(_) => None,
                },
            },
            id: u128::from(high) << 64 | u128::from(low),
            stream: recorded.stream,
            version: recorded.event.version,
            position: recorded.position,
            recorded_at: Time::from_us(recorded.event.recorded_at),
            part: recorded.part,
            tags: recorded.tags,
            annotations: recorded.annotations,
        }
    }
}

impl From<Definition> for projection::Definition {
    fn from(definition: Definition) -> Self {
        let mut detail = types::Detail::empty();
        if definition.tags {
            detail = detail | types::Detail::TAGS;
        }
        if definition.annotations {
            detail = detail | types::Detail::ANNOTATIONS;
        }
        let source = |(category, types): (&str, Vec<(&str, u32)>)| projection::Source {
            category: category.to_owned(),
            events: types
                .into_iter()
                .map(|(name, version)| (name.to_owned(), version))
                .collect(),
        };
        let index = |index: crate::projection::Index| projection::Index {
            name: index.name.to_owned(),
            pointer: index.pointer.to_owned(),
            kind: match index.kind {
                Kind::Text => projection::Kind::Text,
                Kind::Integer => projection::Kind::Integer,
                Kind::Number => projection::Kind::Number,
                Kind::Boolean => projection::Kind::Boolean,
            },
        };
        projection::Definition {
            name: definition.name.to_owned(),
            version: definition.version,
            sources: definition.sources.into_iter().map(source).collect(),
            detail,
            indexes: definition.indexes.into_iter().map(index).collect(),
        }
    }
}
