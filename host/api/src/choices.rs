//! Words that parameters and members accept. Each choice has its own schema, so that generated
//! clients have a type for it.

use std::borrow::Cow;

use serde::Deserialize;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::{Code, Expected};
use quipu::{projection, store, upcast};

/// The direction of a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From older to newer.
    #[default]
    Forward,
    /// From newer to older.
    Backward,
}

impl From<Direction> for store::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Forward => Self::Forward,
            Direction::Backward => Self::Backward,
        }
    }
}

/// Events lifted to their current versions, or as they are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Lifted to the versions that the active decider reads.
    #[default]
    Lifted,
    /// As they are stored.
    Stored,
}

impl From<Form> for upcast::Form {
    fn from(form: Form) -> Self {
        match form {
            Form::Lifted => Self::Lifted,
            Form::Stored => Self::Stored,
        }
    }
}

/// Payloads in full, or with masked values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Byte for byte as they were given.
    #[default]
    Full,
    /// Each value is replaced by the name of its type: `string`, `number`, `boolean`, or `bytes` for
    /// what is not JSON. Names of members stay, and null.
    Masked,
}

/// Whether to include archived streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Archived {
    /// Archived streams are excluded.
    #[default]
    Without,
    /// Archived streams are listed among the others.
    With,
    /// Only archived streams are listed.
    Only,
}

impl From<Archived> for store::ArchivedStreams {
    fn from(archived: Archived) -> Self {
        match archived {
            Archived::Without => Self::Without,
            Archived::With => Self::With,
            Archived::Only => Self::Only,
        }
    }
}

/// Whether to include the events of archived streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithArchived {
    /// They are excluded.
    Without,
    /// They are included.
    With,
}

/// A build of a projection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BuildRole {
    /// The build that answers.
    #[default]
    Active,
    /// The build that is being built next to the active one.
    Next,
    /// The earlier active build, for a rollback.
    Previous,
}

impl From<BuildRole> for store::Role {
    fn from(role: BuildRole) -> Self {
        match role {
            BuildRole::Active => Self::Active,
            BuildRole::Next => Self::Next,
            BuildRole::Previous => Self::Previous,
        }
    }
}

/// An action on a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProjectionOrder {
    /// Folds nothing until the projection is resumed.
    Pause,
    /// Continues after a pause or a stop.
    Resume,
    /// Activates the rebuild that is ready.
    Switch,
    /// Activates the previous build.
    Rollback,
    /// Makes an inline projection asynchronous.
    Detach,
    /// Cancels the rebuild.
    Cancel,
    /// Removes the previous build, or all builds of a projection that is no longer deployed.
    Drop,
}

impl From<ProjectionOrder> for projection::Action {
    fn from(order: ProjectionOrder) -> Self {
        match order {
            ProjectionOrder::Pause => Self::Pause,
            ProjectionOrder::Resume => Self::Resume,
            ProjectionOrder::Switch => Self::Switch,
            ProjectionOrder::Rollback => Self::RollBack,
            ProjectionOrder::Detach => Self::Detach,
            ProjectionOrder::Cancel => Self::Cancel,
            ProjectionOrder::Drop => Self::Drop,
        }
    }
}

/// Choices whose words the library itself reads and writes: only their schemas are here, and a test
/// compares the words.
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
    /// A set of actions.
    Role: "viewer" | "proposer" | "client" | "author" | "operator" | "admin" | "scraper" | "none";
    /// Whether a preflight must pass.
    PreflightPolicy: "require" | "report" | "skip";
    /// The kind of a guest's fault.
    FaultKind: "trap" | "out-of-fuel" | "deadline" | "out-of-memory" | "output-too-large"
        | "internal" | "contract" | "host-out-of-memory";
    /// Why a projection is not as fresh as asked for.
    NotFreshReason: "lagging" | "stopped" | "paused" | "parked" | "stale";
    /// Who is affected by a change of a component's description.
    Affected: "callers" | "readers" | "queries" | "snapshots" | "operators";
    /// What an id names.
    FoundAs: "position" | "event" | "command" | "correlation" | "causation";
    /// Why a tree of causes may not be complete.
    TraceCut: "limit" | "search";
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
    use quipu::access::Role as Roles;
    use quipu::app::{FoundAs as As, TraceCut as Cut};
    use quipu::model::{Kind, Lifecycle as ModelLifecycle, OnError as Policy};
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
        let lifecycles = [
            ModelLifecycle::Async,
            ModelLifecycle::Inline,
            ModelLifecycle::Live,
        ];
        assert_eq!(of::<Lifecycle>(), lifecycles.map(ModelLifecycle::as_str));
        let policies = [Policy::Stop, Policy::Skip, Policy::Park];
        assert_eq!(of::<OnError>(), policies.map(Policy::as_str));
        let roles = Roles::ALL.iter().map(|role| role.as_str());
        assert_eq!(of::<Role>(), roles.collect::<Vec<_>>());
        let found = [
            As::Position,
            As::Event,
            As::Command,
            As::Correlation,
            As::Causation,
        ];
        assert_eq!(of::<FoundAs>(), found.map(As::as_str));
        let cuts = [Cut::Limit, Cut::Search];
        assert_eq!(of::<TraceCut>(), cuts.map(Cut::as_str));
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
