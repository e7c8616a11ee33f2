//! The schemas of the commands that an active decider declares.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Body, ContentType, MessageType, Name};
use crate::runtime::Manifest;
use crate::schema::{Checked, Schema};

/// Time between two log lines about mismatches of one command type.
const LOG_PAUSE: Duration = Duration::from_secs(60);
/// Most commands that a log line names.
const LOGGED_MAX: usize = 10;
/// Most parts of all schemas of a decider.
const PARTS_MAX: usize = 50_000;

/// Compiled schemas of commands, by canonical type. Types without a schema, or with one that can't
/// be checked, are not in it.
pub struct CommandSchemas(HashMap<Name, CommandSchema>);

/// The schema of one command type.
pub struct CommandSchema {
    version: u32,
    schema: Schema,
    mismatches: AtomicU64,
    logged_at: Mutex<Option<Instant>>,
}

impl CommandSchemas {
    /// Compiles the schemas of a decider. Logs those that can't be checked.
    pub(super) fn new(manifest: &Manifest) -> Self {
        let (mut all, mut parts, mut unchecked) = (HashMap::new(), 0, Vec::new());
        for command in &manifest.commands {
            if command.json_schema.is_empty() || command.content_type != ContentType::Json {
                continue;
            }
            let name = &command.name;
            match Schema::new(&command.json_schema) {
                Ok(schema) if parts + schema.parts() <= PARTS_MAX => {
                    parts += schema.parts();
                    if schema.is_partial() {
                        let why = "pattern, patternProperties or unevaluatedProperties is left out";
                        unchecked.push(format!("{name}: {why}"));
                    }
                    all.insert(name.clone(), CommandSchema::new(command, schema));
                }
                Ok(_) => {
                    let why = "the schemas of the decider have too many parts; it is not checked";
                    unchecked.push(format!("{name}: {why}"));
                }
                Err(error) => unchecked.push(format!("{name}: {error}; it is not checked")),
            }
        }
        if !unchecked.is_empty() {
            let (category, commands) = (&manifest.name, unchecked.len());
            unchecked.truncate(LOGGED_MAX);
            tracing::warn!(
                category, commands, first = %unchecked.join(", "),
                "schemas of commands are not checked, or not completely"
            );
        }
        Self(all)
    }

    /// Returns the schema of a command with this canonical type and schema version. None if there
    /// is none, or if it describes another version.
    pub fn of(&self, name: &Name, version: u32) -> Option<&CommandSchema> {
        let known = self.0.get(name)?;
        (known.version == version).then_some(known)
    }

    /// Returns the number of commands that did not match, by type.
    pub fn mismatches(&self) -> impl Iterator<Item = (&Name, u64)> {
        let all = self.0.iter();
        all.map(|(name, known)| (name, known.mismatches.load(Ordering::Relaxed)))
    }
}

impl CommandSchema {
    fn new(command: &MessageType, schema: Schema) -> Self {
        Self {
            version: command.schema_version,
            schema,
            mismatches: AtomicU64::new(0),
            logged_at: Mutex::new(None),
        }
    }

    /// Checks the data of a command. Data that is not JSON is checked by the decider.
    pub fn check(&self, body: &Body) -> Checked {
        match body.content_type() {
            ContentType::Json => self.schema.check_counted(body.bytes()),
            ContentType::Other(_) => Checked::default(),
        }
    }

    /// Counts a command that does not match.
    pub fn count(&self) {
        self.mismatches.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a mismatch is to be logged now, at most once a minute. Returns their number since
    /// the activation.
    pub fn is_logged(&self) -> Option<u64> {
        let now = Instant::now();
        let mut logged_at = self
            .logged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_some_and(|at| now.duration_since(at) < LOG_PAUSE) {
            return None;
        }
        *logged_at = Some(now);
        Some(self.mismatches.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for CommandSchemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
