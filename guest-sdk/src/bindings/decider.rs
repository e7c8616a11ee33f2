//! The exports of a decider.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::{not_json, report_panics, types};
use crate::driver::{self, DecideError, Driver, FoldError, NewEvent, Snapshot};
use crate::rejection::bounded;
use crate::{Context, Guest, Time, log};

pub use super::generated::decider::{export, exports};
use exports::quipu::domain::decider;

/// Implements the exports of a decider.
pub struct Component<G>(PhantomData<G>);

impl<G: Guest> decider::Guest for Component<G> {
    type Aggregate = Held<G>;

    fn migrate(old: decider::Snapshot) -> Option<decider::Snapshot> {
        report_panics();
        let types::Body::Json(body) = old.body else {
            log::warn(&not_json("a snapshot"));
            return None;
        };
        let state_schema_version = old.state_schema_version;
        driver::migrate::<G>(&Snapshot {
            state_schema_version,
            body,
        })
        .map(recorded)
    }
}

/// The resource. The component model passes it as shared, and never calls it twice at the same
/// time.
pub struct Held<G: Guest>(RefCell<Driver<G>>);

impl<G: Guest> decider::GuestAggregate for Held<G> {
    fn open(
        id: String,
        from: Option<decider::Snapshot>,
    ) -> Result<decider::Aggregate, types::FoldError> {
        report_panics();
        let snapshot = from
            .map(|snapshot| match snapshot.body {
                types::Body::Json(body) => Ok(Snapshot {
                    state_schema_version: snapshot.state_schema_version,
                    body,
                }),
                types::Body::Binary(_) => Err(FoldError::BadEvent(not_json("a snapshot"))),
            })
            .transpose()?;
        let driver = Driver::open(id, snapshot.as_ref())?;
        Ok(decider::Aggregate::new(Held::<G>(RefCell::new(driver))))
    }

    fn apply(&self, events: Vec<types::Event>) -> Result<(), types::FoldError> {
        let mut driver = self.0.borrow_mut();
        for event in &events {
            let types::Body::Json(body) = &event.body else {
                return Err(FoldError::BadEvent(not_json(&event.type_)).into());
            };
            driver.apply(&event.type_, event.schema_version, body)?;
        }
        Ok(())
    }

    fn decide(&self, command: types::Command) -> Result<Vec<types::NewEvent>, types::DecideError> {
        let types::Body::Json(body) = &command.body else {
            return Err(DecideError::BadCommand(not_json(&command.type_)).into());
        };
        let (a, b, c, d) = command.seed;
        let context = Context::default()
            .with_command_id(&command.id)
            .with_accepted_at(Time::from_us(command.accepted_at))
            .with_seed([a, b, c, d])
            .with_annotations(&command.annotations);
        let driver = self.0.borrow();
        let events = driver.decide(&command.type_, command.schema_version, body, context)?;
        Ok(events.into_iter().map(Into::into).collect())
    }

    fn snapshot(&self) -> Option<decider::Snapshot> {
        self.0.borrow().snapshot().map(recorded)
    }

    fn view(&self) -> Option<String> {
        self.0.borrow().view()
    }
}

fn recorded(snapshot: Snapshot) -> decider::Snapshot {
    decider::Snapshot {
        state_schema_version: snapshot.state_schema_version,
        body: types::Body::Json(snapshot.body),
    }
}

impl From<NewEvent> for types::NewEvent {
    fn from(event: NewEvent) -> Self {
        types::NewEvent {
            type_: event.event_type.to_owned(),
            schema_version: event.schema_version,
            body: types::Body::Json(event.body),
            tags: event.tags,
            annotations: event.annotations,
        }
    }
}

impl From<DecideError> for types::DecideError {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Rejected(rejection) => {
                let (code, message, details) = rejection.into_parts();
                let details = details.map(types::Body::Json);
                types::DecideError::Rejected(types::Rejection {
                    code,
                    message,
                    details,
                })
            }
            // The text may quote the command, and a longer one would be a fault of the guest.
            DecideError::BadCommand(text) => types::DecideError::BadCommand(bounded(text)),
            DecideError::Internal(text) => types::DecideError::Internal(bounded(text)),
        }
    }
}
