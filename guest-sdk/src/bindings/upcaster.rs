//! The exports of upcasters.

use std::marker::PhantomData;

use super::{not_json, report_panics, types};
use crate::driver::FoldError;
use crate::upcast::{Catalogue, Upcasted};

pub use super::generated::upcaster::{export, exports};
use exports::quipu::domain::upcaster;

/// The steps of a component, made once.
pub trait Lifting: 'static {
    fn catalogue() -> &'static Catalogue;
}

/// Implements the exports of upcasters.
pub struct Component<L>(PhantomData<L>);

impl<L: Lifting> upcaster::Guest for Component<L> {
    fn steps() -> Vec<upcaster::Step> {
        report_panics();
        let step = |(category, step): &(&'static str, crate::upcast::Step)| upcaster::Step {
            category: (*category).to_owned(),
            type_: step.event_type.to_owned(),
            from_version: step.from_version,
            to: step
                .to
                .iter()
                .map(|(name, v)| ((*name).to_owned(), *v))
                .collect(),
        };
        L::catalogue().steps().iter().map(step).collect()
    }

    fn upcast(
        step: u32,
        events: Vec<types::Event>,
    ) -> Result<Vec<Vec<upcaster::Upcasted>>, types::FoldError> {
        report_panics();
        let step = L::catalogue().step(step)?;
        let mut lifted = Vec::with_capacity(events.len());
        for event in &events {
            let types::Body::Json(body) = &event.body else {
                return Err(FoldError::BadEvent(not_json(&event.type_)).into());
            };
            let parts = step.upcast(&event.type_, event.schema_version, body)?;
            lifted.push(parts.into_iter().map(Into::into).collect());
        }
        Ok(lifted)
    }
}

impl From<Upcasted> for upcaster::Upcasted {
    fn from(event: Upcasted) -> Self {
        upcaster::Upcasted {
            type_: event.event_type,
            schema_version: event.schema_version,
            body: types::Body::Json(event.body),
        }
    }
}
