//! Previews of commands as JSON.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use quipu::engine::Preview;

use crate::proposals::EffectEvent;

/// The result that a command would have now. Nothing is stored.
#[derive(Serialize, ToSchema)]
pub struct PreviewView<'a> {
    /// The stream.
    stream: &'a str,
    /// The version of the stream on whose state the command was decided; 0 before the first event.
    version: u64,
    /// The command's type, as the decider saw it.
    command: &'a str,
    /// Schema version of the command's data, as the decider saw it.
    schema_version: u32,
    /// Digest of the module that decided.
    module: String,
    /// The plan under which it was decided.
    plan: u64,
    /// Fuel that the decision used.
    fuel: u64,
    /// The events that the command would add to the stream.
    events: Vec<EffectEvent<'a>>,
    /// The state on which the command was decided, as the decider renders it; null if it does not.
    #[schema(value_type = serde_json::Value)]
    state_before: Option<&'a RawValue>,
    /// The state after the events; null if the decider does not render it.
    #[schema(value_type = serde_json::Value)]
    state_after: Option<&'a RawValue>,
}

impl<'a> PreviewView<'a> {
    /// The view of a preview.
    ///
    /// # Errors
    /// When a state is not JSON.
    pub fn of(preview: &'a Preview) -> serde_json::Result<Self> {
        let states = preview.states.as_ref();
        let json = |state: Option<&'a String>| state.map(|it| serde_json::from_str(it)).transpose();
        Ok(Self {
            stream: preview.stream.as_str(),
            version: preview.version.0,
            command: preview.command.name.as_str(),
            schema_version: preview.command.schema_version,
            module: preview.module.to_string(),
            plan: preview.plan,
            fuel: preview.fuel,
            events: preview.events.iter().map(EffectEvent::of).collect(),
            state_before: json(states.and_then(|states| states.before.as_ref()))?,
            state_after: json(states.and_then(|states| states.after.as_ref()))?,
        })
    }
}
