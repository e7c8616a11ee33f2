//! The component's exports, made from `wit/domain.wit`: a thin layer over
//! [`driver`](crate::driver). Not for authors.

#![allow(missing_docs, unsafe_code, unused_qualifications, clippy::all)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Once;

use crate::driver::{DecideError, Driver, FoldError, NewEvent, Snapshot};
use crate::{Context, Guest, Manifest, MessageType, log};

use exports::quipu::domain::{decider, manifest};
use quipu::domain::types;

wit_bindgen::generate!({
    world: "decider-guest",
    path: "../wit",
    pub_export_macro: true,
});

/// What the exports of a guest's component are implemented on.
pub struct Component<G>(PhantomData<G>);

impl<G: Guest> manifest::Guest for Component<G> {
    fn describe() -> manifest::Info {
        report_panics();
        let manifest = Manifest::of::<G>();
        manifest::Info {
            name: manifest.name.to_owned(),
            version: manifest.version.to_owned(),
            state_schema_version: manifest.state_schema_version,
            migrations: Vec::new(),
            commands: manifest.commands.into_iter().map(message_type).collect(),
            events: manifest.events.into_iter().map(message_type).collect(),
            annotations: Vec::new(),
        }
    }
}

impl<G: Guest> decider::Guest for Component<G> {
    type Aggregate = Held<G>;

    fn migrate(_old: decider::Snapshot) -> Option<decider::Snapshot> {
        None
    }
}

/// The resource: the component model hands it out shared, and never calls it twice at
/// once.
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
                types::Body::Binary(_) => Err(FoldError::Internal(not_json("a snapshot"))),
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
        let context = Context {
            key: "",
            command_id: &command.id,
            accepted_at_us: command.accepted_at,
            seed: [a, b, c, d],
            annotations: &command.annotations,
        };
        let driver = self.0.borrow();
        let events = driver.decide(&command.type_, command.schema_version, body, context)?;
        Ok(events.into_iter().map(Into::into).collect())
    }

    fn snapshot(&self) -> Option<decider::Snapshot> {
        let Snapshot {
            state_schema_version,
            body,
        } = self.0.borrow().snapshot()?;
        Some(decider::Snapshot {
            state_schema_version,
            body: types::Body::Json(body),
        })
    }

    fn view(&self) -> Option<String> {
        self.0.borrow().view()
    }
}

/// A trap carries no text, so the panic's goes to the log first.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
    });
}

fn message_type(message_type: MessageType) -> manifest::MessageType {
    manifest::MessageType {
        type_: message_type.name.to_owned(),
        schema_version: message_type.schema_version,
        aliases: Vec::new(),
        content_type: "application/json".to_owned(),
        json_schema: String::new(),
    }
}

fn not_json(what: &str) -> String {
    format!("{what}: body is binary, expected JSON")
}

impl From<NewEvent> for types::NewEvent {
    fn from(event: NewEvent) -> Self {
        types::NewEvent {
            type_: event.event_type.to_owned(),
            schema_version: event.schema_version,
            body: types::Body::Json(event.body),
            tags: event.tags,
            annotations: Vec::new(),
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
            DecideError::BadCommand(text) => types::DecideError::BadCommand(text),
            DecideError::Internal(text) => types::DecideError::Internal(text),
        }
    }
}

impl From<FoldError> for types::FoldError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::UnknownEvent(text) => types::FoldError::UnknownEvent(text),
            FoldError::BadEvent(text) => types::FoldError::BadEvent(text),
            FoldError::Internal(text) => types::FoldError::Internal(text),
        }
    }
}
