//! Payloads of answers: in full, or masked.

use serde::Deserialize;

use super::failure::{Failure, Result};
use super::request::away;
use quipu::model::RecordedEvent;
use quipu_api::{Code, choices, masked};

/// How an answer shows payloads.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PayloadQuery {
    /// `full` (the default), or `masked`: each value is replaced by the name of its type. For that the action `read` is enough
    payload: Option<choices::Payload>,
}

impl PayloadQuery {
    /// Whether payloads are masked.
    pub fn is_masked(self) -> bool {
        self.payload == Some(choices::Payload::Masked)
    }

    /// The events as the answer shows them.
    pub fn events(self, events: Vec<RecordedEvent>) -> Vec<RecordedEvent> {
        if !self.is_masked() {
            return events;
        }
        let bytes = events.iter().map(|event| event.body.len()).sum();
        away(bytes, || events.into_iter().map(masked::event).collect())
    }

    /// A problem as the answer shows it: what a guest says may quote the data.
    pub fn failure(self, mut failure: Failure) -> Failure {
        let quotes = [Code::UnreadableEvent, Code::GuestFault];
        let may_quote = quotes.iter().any(|code| failure.0.code == code.as_str());
        if !self.is_masked() || !may_quote {
            return failure;
        }
        failure.0.detail =
            "the reason is left out, because payloads are masked; form=stored reads events as they are stored"
                .to_owned();
        failure
    }

    /// Refuses masked payloads where there are none.
    ///
    /// # Errors
    /// When they are asked for.
    pub fn refuse(self, what: &str) -> Result<()> {
        match self.is_masked() {
            true => Err(Failure::bad_request(format!(
                "query: payload: {what} are not masked; read pages"
            ))),
            false => Ok(()),
        }
    }
}
