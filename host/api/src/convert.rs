//! Converts errors of the library to problems.

use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::value::RawValue;

use quipu::app::ApproveError;
use quipu::model::{ExpectedVersion, Invalid, Throttle, Version};
use quipu::runtime::FaultKind;
use quipu::{
    DeployError, access, deploy, engine, projection, proof, propose, store, subscribe, upcast,
};

use crate::{Code, Expected, Problem, Rejection};

impl From<Invalid> for Box<Problem> {
    fn from(invalid: Invalid) -> Self {
        Problem::bad_request(invalid.0)
    }
}

impl From<access::Error> for Box<Problem> {
    fn from(error: access::Error) -> Self {
        match error {
            access::Error::Invalid(invalid) => invalid.into(),
            access::Error::Store(error) => error.into(),
            other => Box::new(Problem::new(Code::named(other.code()), other.to_string())),
        }
    }
}

/// Limits log entries about the store: while a store is down, every request fails.
static SAID: LazyLock<Mutex<Throttle>> = LazyLock::new(Mutex::default);

impl From<store::Error> for Box<Problem> {
    fn from(error: store::Error) -> Self {
        let passed = SAID
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pass(&error.to_string());
        if let Some(left_out) = passed {
            tracing::error!(%error, left_out, "the store failed");
        }
        if error.is_lasting() {
            return Box::new(Problem::new(Code::StoreDamaged, error.to_string()));
        }
        if let store::Error::EventsLost(_) = error {
            return Box::new(Problem::new(Code::EventsLost, error.to_string()));
        }
        let what = match error.cause() {
            Some(cause) => format!("{cause}, then"),
            None => "the store failed;".to_owned(),
        };
        let detail = format!("{what} try again, with the same Idempotency-Key if there was one");
        Box::new(Problem::new(Code::StoreUnavailable, detail))
    }
}

impl From<engine::Error> for Box<Problem> {
    fn from(error: engine::Error) -> Self {
        use engine::Error;
        if let Error::Store(error) = error {
            return error.into();
        }
        let mut problem = Problem::new(Code::named(error.code()), error.to_string());
        match error {
            Error::Rejected { rejection, .. } => {
                problem.detail.clone_from(&rejection.message);
                problem.rejection = Some(Box::new(Rejection::of(*rejection)));
            }
            Error::WrongExpectedVersion {
                stream,
                expected,
                found,
            } => {
                problem.stream = Some(stream.to_string());
                problem.expected = Expected::of(expected);
                problem.found = Some(found.0);
            }
            Error::Archived(stream) | Error::IdempotencyKeyReused { stream, .. } => {
                problem.stream = Some(stream.to_string());
            }
            Error::EventIdReused { stream, id }
            | Error::PartialDuplicate { stream, id }
            | Error::DuplicateInAppend { stream, id } => {
                problem.stream = Some(stream.to_string());
                problem.event_id = Some(id.to_string());
            }
            Error::Fault(fault) if !fault.kind.is_of_host() => {
                problem.fault = Some(fault.kind.as_str().to_owned());
                problem.component = Some(fault.component.clone());
                problem.digest = Some(fault.digest.to_string());
            }
            Error::Unprojected(failed) => {
                problem.projection = Some(failed.projection.to_string());
                let of_host = FaultKind::HostOutOfMemory.as_str();
                let fault = failed.fault.filter(|fault| *fault != of_host);
                problem.fault = fault.map(str::to_owned);
            }
            _ => {}
        }
        Box::new(problem)
    }
}

impl From<subscribe::Error> for Box<Problem> {
    fn from(error: subscribe::Error) -> Self {
        use subscribe::Error;
        if let Error::Store(error) = error {
            return error.into();
        }
        let mut problem = Problem::new(Code::named(error.code()), error.to_string());
        if let Error::Unreadable(unreadable) = error {
            problem.stream = Some(unreadable.stream.to_string());
            if let upcast::Error::Fault { fault, .. } = unreadable.error
                && !fault.kind.is_of_host()
            {
                problem.fault = Some(fault.kind.as_str().to_owned());
                problem.component = Some(fault.component.clone());
                problem.digest = Some(fault.digest.to_string());
            }
        }
        Box::new(problem)
    }
}

impl From<deploy::Error> for Box<Problem> {
    fn from(error: deploy::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&deploy::Error> for Box<Problem> {
    fn from(error: &deploy::Error) -> Self {
        match error {
            deploy::Error::Store(error) => error.clone().into(),
            deploy::Error::Fold(error) => engine::Error::from(error.clone()).into(),
            other => Box::new(Problem::new(Code::named(other.code()), other.to_string())),
        }
    }
}

impl From<DeployError> for Box<Problem> {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Activation(error) => error.into(),
            DeployError::Preflight(error) => error.into(),
            blocked => {
                let detail = format!(
                    "{blocked}; POST /v1/preflights shows examples; `allow` lets kinds of \
                     objections pass"
                );
                Box::new(Problem::new(Code::named(blocked.code()), detail))
            }
        }
    }
}

impl From<proof::Error> for Box<Problem> {
    fn from(error: proof::Error) -> Self {
        match error {
            proof::Error::Store(error) => error.into(),
            proof::Error::Modules(error) => error.into(),
            proof::Error::Fold(error) => engine::Error::from(error).into(),
            other => Box::new(Problem::new(Code::named(other.code()), other.to_string())),
        }
    }
}

impl From<propose::Error> for Box<Problem> {
    fn from(error: propose::Error) -> Self {
        match error {
            propose::Error::Invalid(invalid) => invalid.into(),
            propose::Error::Store(error) => error.into(),
            other => Box::new(Problem::new(Code::named(other.code()), other.to_string())),
        }
    }
}

impl From<ApproveError> for Box<Problem> {
    fn from(error: ApproveError) -> Self {
        match error {
            ApproveError::Proposal(error) => error.into(),
            ApproveError::Execution(error) => {
                let mut problem = Self::from(error);
                problem.detail += "; the proposal is approved: approve it a second time";
                problem
            }
            other => Box::new(Problem::new(Code::named(other.code()), other.to_string())),
        }
    }
}

impl From<projection::Error> for Box<Problem> {
    fn from(error: projection::Error) -> Self {
        use projection::Error;
        match &error {
            Error::Plan(error) => return (&**error).into(),
            Error::Store(error) => return error.clone().into(),
            _ => {}
        }
        let mut problem = Problem::new(Code::named(error.code()), error.to_string());
        if let Error::NotFresh { reason, .. } = &error {
            problem.reason = Some(reason.as_str().to_owned());
        }
        match error {
            Error::NotFresh {
                projection,
                position,
                ..
            }
            | Error::NoDocument {
                projection,
                position,
                ..
            } => {
                problem.projection = Some(projection);
                problem.position = Some(position.0);
            }
            Error::Failed {
                projection, fault, ..
            } => {
                problem.projection = Some(projection);
                problem.fault = fault.map(str::to_owned);
            }
            Error::NotFound(projection)
            | Error::IsLive(projection)
            | Error::Refused { projection, .. } => problem.projection = Some(projection),
            Error::StreamNotFound(stream) => problem.stream = Some(stream.to_string()),
            _ => {}
        }
        Box::new(problem)
    }
}

impl Rejection {
    fn of(rejection: quipu::model::Rejection) -> Self {
        let details = rejection.details.as_ref().and_then(|body| body.as_json());
        Self {
            code: rejection.code,
            message: rejection.message,
            details: details.and_then(|text| RawValue::from_string(text.to_owned()).ok()),
        }
    }
}

impl Expected {
    /// The value of a word; none for an unknown word.
    pub fn into_version(self) -> Option<ExpectedVersion> {
        match self {
            Self::Version(version) => Some(ExpectedVersion::Exact(Version(version))),
            Self::Word(word) => match word.as_str() {
                "any" => Some(ExpectedVersion::Any),
                "no-stream" => Some(ExpectedVersion::NoStream),
                "stream-exists" => Some(ExpectedVersion::StreamExists),
                _ => None,
            },
        }
    }

    /// The expectation as JSON; none for any version.
    pub(crate) fn of(expected: ExpectedVersion) -> Option<Self> {
        Some(match expected {
            ExpectedVersion::Any => return None,
            ExpectedVersion::NoStream => Self::Word("no-stream".to_owned()),
            ExpectedVersion::StreamExists => Self::Word("stream-exists".to_owned()),
            ExpectedVersion::Exact(version) => Self::Version(version.0),
        })
    }
}
