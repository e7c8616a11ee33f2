//! Words that parameters and members accept, for the OpenAPI description. Each has its own schema,
//! so that generated clients have a type for it.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::{Code, Expected};

macro_rules! choices {
    ($($(#[doc = $doc:literal])* $name:ident: $($word:literal)|+;)*) => {
        $(
            $(#[doc = $doc])*
            pub enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    words([$($word),+], concat!($($doc),*))
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed(stringify!($name))
                }
            }
        )*
    };
}

choices! {
    /// The direction of a read.
    Direction: "forward" | "backward";
    /// Events lifted to their current versions, or as they are stored.
    Form: "lifted" | "stored";
    /// Whether to include archived streams.
    Archived: "without" | "with" | "only";
    /// Whether to include the events of archived streams.
    WithArchived: "without" | "with";
    /// A build of a projection.
    BuildRole: "active" | "next" | "previous";
    /// An action on a projection.
    ProjectionOrder: "pause" | "resume" | "switch" | "rollback" | "detach" | "cancel" | "drop";
    /// The lifecycle of a projection.
    Lifecycle: "async" | "inline" | "live";
    /// What to do with an event that can't be folded.
    OnError: "stop" | "skip" | "park";
    /// The state of a build.
    BuildState: "caught-up" | "catching-up" | "inline" | "failing" | "retrying" | "stopped"
        | "stale" | "paused" | "ready" | "kept" | "orphaned";
    /// The state of a projection.
    ProjectionStatus: "caught-up" | "catching-up" | "inline" | "failing" | "retrying" | "stopped"
        | "stale" | "paused" | "ready" | "kept" | "orphaned" | "not-built" | "live";
    /// Whether a preflight must pass.
    PreflightPolicy: "require" | "report" | "skip";
    /// The kind of a guest's fault.
    FaultKind: "trap" | "out-of-fuel" | "deadline" | "out-of-memory" | "output-too-large"
        | "internal" | "contract" | "host-out-of-memory";
    /// Why a projection is not as fresh as asked for.
    NotFreshReason: "lagging" | "stopped" | "paused" | "parked" | "stale";
    /// The type of an index's values.
    IndexKind: "text" | "integer" | "number" | "boolean";
}

/// Bytes.
pub enum Binary {}

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let bytes = ObjectBuilder::new().schema_type(Type::String);
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        bytes.format(Some(format)).into()
    }
}

impl ToSchema for Binary {}

/// Bytes of a component, for clients that have them in any form.
pub enum Bytes {}

impl PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        serde_json::Value::schema()
    }
}

impl ToSchema for Bytes {}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let codes = Self::ALL.iter().map(|code| code.as_str());
        words(codes, "The stable names of errors.")
    }
}

impl PartialSchema for Expected {
    fn schema() -> RefOr<Schema> {
        let version = ObjectBuilder::new().schema_type(Type::Integer);
        let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
        let version = version.format(Some(format)).minimum(Some(0));
        let word = words(
            ["any", "no-stream", "stream-exists"],
            "What a stream has to be, but for a version.",
        );
        let either = OneOfBuilder::new().item(version).item(word);
        let says = "What a request expected of its stream: a version, or a word.";
        either.description(Some(says)).into()
    }
}

impl ToSchema for Expected {}

impl ToSchema for Code {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ProblemCode")
    }
}

fn words(words: impl IntoIterator<Item = &'static str>, says: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let text = text.enum_values(Some(words));
    text.description(Some(says.trim())).into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use quipu::model::{Kind, Lifecycle as Kept, OnError as Policy};
    use quipu::projection::{NotFreshReason as Reason, State};
    use quipu::runtime::FaultKind as Fault;

    #[test]
    fn choices_are_the_words_that_are_answered() {
        let states = [
            State::CaughtUp,
            State::CatchingUp,
            State::Inline,
            State::Failing,
            State::Retrying,
            State::Stopped,
            State::Stale,
            State::Paused,
            State::Ready,
            State::Kept,
            State::Orphaned,
        ];
        assert_eq!(of::<BuildState>(), states.map(State::as_str));
        assert_eq!(of::<ProjectionStatus>()[..11], states.map(State::as_str));
        let faults = [
            Fault::Trap,
            Fault::OutOfFuel,
            Fault::Deadline,
            Fault::OutOfMemory,
            Fault::OutputTooLarge,
            Fault::Internal,
            Fault::Contract,
            Fault::HostOutOfMemory,
        ];
        assert_eq!(of::<FaultKind>(), faults.map(Fault::as_str));
        let reasons = [
            Reason::Lagging,
            Reason::Stopped,
            Reason::Paused,
            Reason::Parked,
            Reason::Stale,
        ];
        assert_eq!(of::<NotFreshReason>(), reasons.map(Reason::as_str));
        let kept = [Kept::Async, Kept::Inline, Kept::Live];
        assert_eq!(of::<Lifecycle>(), kept.map(Kept::as_str));
        let policies = [Policy::Stop, Policy::Skip, Policy::Park];
        assert_eq!(of::<OnError>(), policies.map(Policy::as_str));
        let kinds = [Kind::Text, Kind::Integer, Kind::Number, Kind::Boolean];
        assert_eq!(of::<IndexKind>(), kinds.map(Kind::as_str));
    }

    /// The words of a choice.
    fn of<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let words = schema["enum"].as_array().unwrap().iter();
        words.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}
