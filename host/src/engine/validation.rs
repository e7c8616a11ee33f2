//! Validation of commands by the schemas that their decider declares.

use std::str::FromStr;
use std::sync::{Arc, Weak};

use super::executor::Executor;
use super::request::Request;
use super::slot::Warm;
use super::{Engine, Error, Shared};
use crate::deploy::Deployed;
use crate::fold::off_the_reactor;
use crate::model::{CommandRecord, Invalid, Name};
use crate::schema::Mismatch;

/// Fuel that takes as long as one step of a check, and as parsing one byte.
const STEP_FUEL: usize = 10;
const BYTE_FUEL: usize = 5;

/// Whether the data of commands are checked before they are decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Validation {
    /// They are not checked.
    #[default]
    Off,
    /// A command that does not match its schema is decided, logged at most once a minute for each
    /// type, and counted.
    Report,
    /// A command that does not match its schema is refused.
    Enforce,
}

impl Validation {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Report => "report",
            Self::Enforce => "enforce",
        }
    }
}

impl FromStr for Validation {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        match name {
            "off" => Ok(Self::Off),
            "report" => Ok(Self::Report),
            "enforce" => Ok(Self::Enforce),
            other => Err(Invalid(format!(
                "validation {other:?}: expected \"off\", \"report\" or \"enforce\""
            ))),
        }
    }
}

/// The number of commands of one type that did not match their schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaMismatches {
    /// The category.
    pub category: String,
    /// The type.
    pub command: Name,
    /// How many, on this host and since the decider became active.
    pub count: u64,
}

impl Engine {
    /// Returns the types with commands that did not match their schema, with their number.
    pub fn schema_mismatches(&self) -> Vec<SchemaMismatches> {
        let plan = self.shared.registry.plan();
        let mut categories: Vec<&String> = self.shared.options.validate.keys().collect();
        categories.sort();
        let mut all = Vec::new();
        for category in categories {
            let schemas = plan.decider(category);
            let schemas = schemas.and_then(|deployed| deployed.compiled_schemas());
            let counted = schemas.into_iter().flat_map(|schemas| schemas.mismatches());
            let mut counted: Vec<(&Name, u64)> = counted.filter(|(_, count)| *count > 0).collect();
            counted.sort();
            all.extend(counted.into_iter().map(|(name, count)| SchemaMismatches {
                category: category.clone(),
                command: name.clone(),
                count,
            }));
        }
        all
    }
}

impl Engine {
    /// Refuses a command that does not match its schema, where execution refuses it. Nothing is
    /// counted.
    pub(super) async fn enforce(
        &self,
        deployed: &Arc<Deployed>,
        category: &str,
        command: &CommandRecord,
    ) -> Result<(), Error> {
        let validation = self.shared.options.validate.get(category);
        if validation != Some(&Validation::Enforce) {
            return Ok(());
        }
        let (deployed, command) = (Arc::clone(deployed), command.clone());
        // To compile schemas, and to check large data, takes long.
        let checking = off_the_reactor(move || {
            let schemas = deployed.command_schemas();
            let schema = schemas.of(&command.name, command.schema_version);
            match schema.and_then(|schema| schema.check(&command.body).mismatch) {
                Some(mismatch) => Err(refused(&command, mismatch)),
                None => Ok(()),
            }
        });
        checking.await?
    }
}

impl Executor {
    /// Checks a command against its schema. Returns why it is refused, if it is.
    ///
    /// The work counts as fuel of a decision, so that long checks are not made on the thread of a
    /// caller.
    pub(super) fn mismatch(&mut self, warm: &Warm, request: &mut Request) -> Option<Error> {
        let category = request.stream.category();
        let validation = *self.shared.options.validate.get(category)?;
        if validation == Validation::Off || request.was_reported {
            return None;
        }
        let command = &request.command;
        let schemas = warm.deployed.command_schemas();
        let schema = schemas.of(&command.name, command.schema_version)?;
        let checked = schema.check(&command.body);
        let work = checked.steps * STEP_FUEL + command.body.len() * BYTE_FUEL;
        self.count_fuel(work as u64);
        let mismatch = checked.mismatch?;
        schema.count();
        if validation == Validation::Enforce {
            return Some(refused(command, mismatch));
        }
        if let Some(mismatches) = schema.is_logged() {
            tracing::warn!(
                stream = %request.stream, command = %command.name, %mismatch, mismatches,
                "a command does not match its schema; it is decided all the same"
            );
        }
        // It may come back after a conflict.
        request.was_reported = true;
        None
    }
}

fn refused(command: &CommandRecord, mismatch: Mismatch) -> Error {
    Error::SchemaMismatch {
        name: command.name.clone(),
        mismatch: Box::new(mismatch),
    }
}

/// Compiles the schemas of the current plan's deciders whose commands are validated, so that no
/// command waits for it.
pub(super) fn prepare(shared: &Arc<Shared>) {
    if shared.options.validate.is_empty() {
        return;
    }
    let shared: Weak<Shared> = Arc::downgrade(shared);
    let prepared = move || {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let plan = shared.registry.plan();
        let validated = shared.options.validate.iter();
        let validated = validated.filter(|(_, validation)| **validation != Validation::Off);
        for deployed in validated.filter_map(|(category, _)| plan.decider(category)) {
            deployed.command_schemas();
        }
    };
    // After a panic the first command that needs the schemas prepares them.
    tokio::task::spawn_blocking(prepared);
}
