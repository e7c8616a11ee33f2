//! Raw appends: events that no decider decided.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::request::{executed, replayed};
use super::{Engine, Error, Executed};
use crate::commit::{Staged, Verdict};
use crate::model::{
    Body, CommandId, CommandRecord, ContentType, Context, ExpectedVersion, Invalid, Name, NewEvent,
    StreamId,
};
use crate::store::{Check, Commit, Item, Outcome, Write};

/// Events to be appended as they are.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// What the caller expects of the stream.
    pub expected_version: ExpectedVersion,
    /// The events. None: the expected version is checked, nothing is stored.
    pub events: Vec<NewEvent>,
    /// The idempotency key.
    pub id: Option<CommandId>,
    /// Where the request comes from.
    pub context: Context,
    /// Append to a category that a decider serves, too.
    pub into_owned_category: bool,
}

/// A place among what is in flight.
type Permit = Arc<OwnedSemaphorePermit>;

/// Type of the record that is stored for the id of a raw append.
const RECORD_NAME: &str = "$append";
/// Content type of its body: a digest of what was appended.
const RECORD_BODY: &str = "application/vnd.quipu.append-digest";

impl Engine {
    /// Appends events to a stream as they are.
    ///
    /// # Errors
    /// See [`Error`]. Nothing was stored.
    pub async fn append(&self, stream: &StreamId, append: Append) -> Result<Executed, Error> {
        super::check(stream, None)?;
        for event in &append.events {
            super::check(stream, event.metadata.as_deref())?;
        }
        self.shared.options.limits.check(&append.events)?;
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded)?;
        // Given back when what was staged has been answered, though the caller may
        // have gone.
        let permit = Arc::new(permit);
        let id = append.id.clone().unwrap_or_else(CommandId::made_by_host);
        let record = Arc::new(self.append_record(stream, id, &append));
        loop {
            let plan = self.shared.registry.plan();
            if let Err(refusal) = self.check_category(&plan, stream, &append) {
                return self.recorded(&permit, stream, &record, refusal).await;
            }
            let commit = Commit {
                command: Some(Arc::clone(&record)),
                decided: None,
                plan: plan.number,
                recorded_at: self.shared.clock.now(),
                events: append.events.clone(),
                id_is_new: false,
            };
            let (stream, expected) = (stream.clone(), append.expected_version);
            let writes = vec![Write {
                stream: stream.clone(),
                expected,
                commit,
            }];
            match self
                .stage(&permit, Item::Append { run: None, writes })
                .await?
            {
                Outcome::Appended(appended) => {
                    let appended = appended.into_iter().next().ok_or(Error::Stopped)?;
                    return Ok(executed(stream, append.events, &appended, None));
                }
                Outcome::Known(known) => return replayed(stream, &record, &known),
                Outcome::WrongVersion {
                    stream,
                    expected,
                    found,
                } => {
                    return Err(Error::WrongExpectedVersion {
                        stream,
                        expected,
                        found,
                    });
                }
                Outcome::Archived(stream) => return Err(Error::Archived(stream)),
                // The plan has moved: look again who owns the category.
                _ => {}
            }
        }
    }

    /// What stands under the id, which goes before any refusal.
    async fn recorded(
        &self,
        permit: &Permit,
        stream: &StreamId,
        record: &CommandRecord,
        refusal: Error,
    ) -> Result<Executed, Error> {
        if !record.id.is_callers() {
            return Err(refusal);
        }
        let check = Check {
            run: None,
            stream: stream.clone(),
            version: None,
            command_id: Some(record.id.clone()),
            plan: 0,
        };
        match self.stage(permit, Item::Check(check)).await? {
            Outcome::Known(known) => replayed(stream.clone(), record, &known),
            _ => Err(refusal),
        }
    }

    async fn stage(&self, permit: &Permit, item: Item) -> Result<Outcome, Error> {
        let (tell, told) = oneshot::channel();
        let permit = Arc::clone(permit);
        let done = Box::new(move |_: Item, verdict: Verdict| {
            drop(permit);
            _ = tell.send(verdict);
        });
        self.shared.committer.stage(Staged {
            item,
            run: None,
            done,
        });
        match told.await {
            Ok(Verdict::Outcome(outcome)) => Ok(outcome),
            Ok(Verdict::Failed(error)) => Err(error.into()),
            Err(_) => Err(Error::Stopped),
        }
    }

    fn append_record(&self, stream: &StreamId, id: CommandId, append: &Append) -> CommandRecord {
        let digest = ContentType::Other(RECORD_BODY.into());
        CommandRecord {
            seed: self.seed(stream, &id),
            context: append.context.clone().correlated(&id),
            id,
            name: Name::stored(RECORD_NAME),
            schema_version: 1,
            body: Body::stored(digest, digest_of(&append.events).into()),
            metadata: None,
            accepted_at: self.shared.clock.now(),
        }
    }

    /// A category that a decider serves takes raw events only when asked to, and
    /// then only types and schema versions that the decider names.
    fn check_category(
        &self,
        plan: &crate::deploy::Plan,
        stream: &StreamId,
        append: &Append,
    ) -> Result<(), Error> {
        let Some(deployed) = plan.decider(stream.category()) else {
            return Ok(());
        };
        if append.events.is_empty() {
            return Ok(());
        }
        if !append.into_owned_category {
            return Err(Error::CategoryOwned(stream.category().to_owned()));
        }
        let manifest = deployed.module.manifest();
        for event in &append.events {
            let named = manifest.event(event.name.as_str()).is_some_and(|known| {
                known.name == event.name
                    && event.schema_version <= known.schema_version
                    && *event.body.content_type() == known.content_type
            });
            if !named {
                return Err(Error::Invalid(Invalid(format!(
                    "the decider of category {} names no event {} of schema version {} and \
                     content type {}",
                    stream.category(),
                    event.name,
                    event.schema_version,
                    event.body.content_type()
                ))));
            }
        }
        Ok(())
    }
}

/// A digest of types and data, each with its length before it.
fn digest_of(events: &[NewEvent]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for event in events {
        part(event.name.as_str().as_bytes());
        part(&event.schema_version.to_le_bytes());
        part(event.body.content_type().as_str().as_bytes());
        part(event.body.bytes());
    }
    hasher.finalize().as_bytes().to_vec()
}
