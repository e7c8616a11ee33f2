//! Decides a command without storing anything.

use std::sync::Arc;

use super::request::fitting;
use super::{Engine, Error, check};
use crate::fold::{Effect, States};
use crate::model::{
    self, Command, CommandRecord, Digest, ExpectedVersion, NewEvent, StreamId, Version,
};
use crate::runtime::Outcome;

/// The events that a command would lead to now.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The stream.
    pub stream: StreamId,
    /// The command as the decider saw it, with its current type and schema version.
    pub command: CommandRecord,
    /// The expected version that the command names.
    pub expected: ExpectedVersion,
    /// The plan under which it was decided.
    pub plan: u64,
    /// The module that decided.
    pub module: Digest,
    /// The version of the stream on whose state it was decided.
    pub version: Version,
    /// The events.
    pub events: Vec<NewEvent>,
    /// Fuel used by the decision.
    pub fuel: u64,
    /// The states before and after the events, if they were requested.
    pub states: Option<States>,
}

impl Engine {
    /// Decides a command on the committed state of its stream, and stores nothing. Ids of commands
    /// are not looked up. A command that is executed later may be decided differently, because the
    /// stream or the module may have changed.
    ///
    /// With states, the decider also folds the events and renders the states before and after them.
    ///
    /// # Errors
    /// As [`execute`](Self::execute). A rejection is not stored.
    pub async fn preview(
        &self,
        stream: &StreamId,
        mut command: Command,
        with_states: bool,
    ) -> Result<Preview, Error> {
        self.enrichers.command(stream, &mut command);
        command.context = std::mem::take(&mut command.context).checked()?;
        check(stream, command.metadata.as_deref())?;
        self.shared.options.limits.check_command(&command)?;
        let head = self.shared.reader.head(stream).await?;
        if head.is_some_and(|head| head.archived) {
            return Err(Error::Archived(stream.clone()));
        }
        let expected = command.expected_version;
        let check_version = |found: Version| match expected.admits(found) {
            true => Ok(()),
            false => Err(Error::WrongExpectedVersion {
                stream: stream.clone(),
                expected,
                found,
            }),
        };
        check_version(head.map_or(Version::NONE, |head| head.version))?;
        let plan = self.shared.registry.plan();
        let deployed = plan.decider(stream.category());
        let unknown = || Error::UnknownCategory(stream.category().to_owned());
        let deployed = deployed.ok_or_else(unknown)?;
        let rules = Arc::clone(&deployed.rules);
        let given_version = command.schema_version;
        let mut command = self.record(stream, command);
        let (name, schema_version) = fitting(rules.module.manifest(), &command.name, given_version);
        (command.name, command.schema_version) = (name.clone(), schema_version);
        let annotations = model::annotations(command.metadata.as_ref(), &command.context);
        let _permit = self.trials.preview().await?;
        self.enforce(deployed, stream.category(), &command).await?;
        let folder = &self.shared.folder;
        let input = (&command, annotations);
        let module = rules.module.digest();
        let deciding = folder.decide(&rules, (stream, head), input, with_states);
        let Effect {
            version,
            decision,
            states,
        } = self.trials.call((module, stream), deciding).await?;
        // Others may have written to the stream since its head was read.
        check_version(version)?;
        let events = match decision.outcome {
            Outcome::Events(events) => events,
            Outcome::BadCommand(text) => return Err(Error::InvalidCommand(text)),
            Outcome::Rejected(rejection) => {
                let rejection = Box::new(rejection);
                return Err(Error::Rejected { rejection, module });
            }
        };
        Ok(Preview {
            stream: stream.clone(),
            command,
            expected,
            plan: plan.number,
            module,
            version,
            events,
            fuel: decision.fuel,
            states,
        })
    }
}
