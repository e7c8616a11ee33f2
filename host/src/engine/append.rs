//! Direct appends: events that no decider decided.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::request::{executed, replay, replayed};
use super::retry::{learn_plan, pause};
use super::{Engine, Error, Executed, Permit};
use crate::commit::{Staged, Verdict};
use crate::model::{
    Body, CommandId, CommandRecord, ContentType, Context, ExpectedVersion, Invalid, Name, NewEvent,
    StreamId, Timestamp, TooLarge, Version,
};
use crate::store::{Commit, Item, KnownCommit, Outcome, Write};

/// Events to be appended without a decision.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// Expected version of the stream.
    pub expected_version: ExpectedVersion,
    /// The events. If empty, only the expected version is checked, and nothing is stored.
    pub events: Vec<NewEvent>,
    /// The idempotency key.
    pub id: Option<CommandId>,
    /// Origin of the request.
    pub context: Context,
    /// Whether to append even if a decider serves the category. The decider folds the events before
    /// they are stored. If it can't fold one of them, the append is rejected.
    pub into_owned_category: bool,
}

/// Events to be appended to several streams: all of them or none.
#[derive(Debug, Clone, Default)]
pub struct AppendAll {
    /// The appends to each stream. No stream may occur twice.
    pub streams: Vec<StreamAppend>,
    /// The idempotency key, recorded in every stream that is written.
    pub id: Option<CommandId>,
    /// Origin of the request.
    pub context: Context,
    /// Whether to append even if deciders serve the categories. Each decider folds its events
    /// before they are stored. If it can't fold one of them, the append is rejected.
    pub into_owned_category: bool,
}

/// The part of an append that concerns one stream.
#[derive(Debug, Clone)]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// Expected version of the stream.
    pub expected_version: ExpectedVersion,
    /// The events. If empty, only the expected version is checked, and nothing is stored.
    pub events: Vec<NewEvent>,
}

/// Type of the record that is stored for the id of a direct append.
const RECORD_NAME: &str = "$append";
/// Content type of the record's body, which is a digest of the appended events.
const RECORD_BODY: &str = "application/vnd.quipu.append-digest";

/// Highest schema version of an event, because an export can't contain a higher one.
const SCHEMA_VERSION_MAX: u32 = i32::MAX.cast_unsigned();

/// Highest number of streams in one append.
pub const STREAMS_MAX: usize = 1_000;

impl Engine {
    /// Appends events to a stream without a decision.
    ///
    /// # Errors
    /// See [`Error`]. Nothing was stored.
    pub async fn append(&self, stream: &StreamId, append: Append) -> Result<Executed, Error> {
        let only = StreamAppend {
            stream: stream.clone(),
            expected_version: append.expected_version,
            events: append.events,
        };
        let append = AppendAll {
            streams: vec![only],
            id: append.id,
            context: append.context,
            into_owned_category: append.into_owned_category,
        };
        let appended = self.append_all(append).await?;
        appended.into_iter().next().ok_or(Error::Stopped)
    }

    /// Appends events to several streams without a decision: all of them or none, each stream at
    /// its expected version. Returns a result for each stream, in order.
    ///
    /// # Errors
    /// See [`Error`]. Nothing was stored.
    pub async fn append_all(&self, mut append: AppendAll) -> Result<Vec<Executed>, Error> {
        self.enrichers.append(&mut append);
        append.context = append.context.checked()?;
        self.check_append(&append)?;
        let permit = self.permit()?;
        let id = append.id.clone().unwrap_or_else(CommandId::made_by_host);
        let records: Vec<_> = self.append_records(&id, &append);
        let deadline = Instant::now() + self.shared.options.deadline;
        let mut conflicts = 0;
        loop {
            let plan = self.shared.registry.plan();
            let recorded_at = self.shared.clock.now();
            let checked = self.check_owned(&plan, &append, recorded_at).await;
            let (expected, refusal) = match checked {
                Ok(expected) => (expected, None),
                Err(refusal) => (look_up_only(&append), Some(refusal)),
            };
            let writes = writes(&append, &records, &expected, plan.number, recorded_at);
            let item = Item::Append { run: None, writes };
            match (self.stage(&permit, item).await?, refusal) {
                (Outcome::Appended(appended), _) => {
                    let parts = append.streams.into_iter().zip(&appended);
                    return Ok(parts
                        .map(|(part, appended)| executed(part.stream, part.events, appended, None))
                        .collect());
                }
                (Outcome::Known(known), _) => {
                    return self.first_outcome(&append, &known, Some(&records)).await;
                }
                (Outcome::Repeated(known), _) => {
                    return self.first_outcome(&append, &known, None).await;
                }
                (Outcome::EventIdReused(stream, id), _) => {
                    return Err(Error::EventIdReused { stream, id });
                }
                (Outcome::PartialDuplicate(stream, id), _) => {
                    return Err(Error::PartialDuplicate { stream, id });
                }
                // The plan has changed: check who owns the category once more.
                (Outcome::PlanMoved, _) => {
                    learn_plan(&self.shared.registry, &mut conflicts, deadline).await?;
                }
                (_, Some(refusal)) => return Err(refusal),
                (Outcome::WrongVersion { stream, found, .. }, None) => {
                    check_expected(&append, &stream, found)?;
                    // Another writer was faster: the events are folded on the new state.
                    if Instant::now() >= deadline {
                        return Err(Error::Conflict(stream));
                    }
                    conflicts += 1;
                    tokio::time::sleep(pause(conflicts)).await;
                }
                (Outcome::Archived(stream), None) => return Err(Error::Archived(stream)),
                (Outcome::Unprojected(failed), None) => return Err(failed.into()),
                (_, None) => self.shared.registry.refresh_or_warn().await,
            }
        }
    }

    /// Returns the highest number of events in one append.
    pub fn events_max(&self) -> usize {
        self.shared.options.limits.events_max
    }

    /// Checks limits and everything else that needs no store.
    fn check_append(&self, append: &AppendAll) -> Result<(), Error> {
        if append.streams.is_empty() {
            return Err(Invalid("the append names no stream".to_owned()).into());
        }
        if append.streams.len() > STREAMS_MAX {
            return Err(Error::TooLarge(TooLarge {
                what: "streams per append",
                found: append.streams.len(),
                max: STREAMS_MAX,
            }));
        }
        let mut streams = HashSet::new();
        for part in &append.streams {
            super::check(&part.stream, None)?;
            if !streams.insert(&part.stream) {
                let stream = &part.stream;
                return Err(Invalid(format!("stream {stream} occurs twice in the append")).into());
            }
            let mut ids = HashSet::new();
            for event in &part.events {
                super::check(&part.stream, event.metadata.as_deref())?;
                if !(1..=SCHEMA_VERSION_MAX).contains(&event.schema_version) {
                    let found = event.schema_version;
                    return Err(Invalid(format!(
                        "schema versions go from 1 to {SCHEMA_VERSION_MAX}, not {found}"
                    ))
                    .into());
                }
                if event.id_is_callers && !ids.insert(event.id) {
                    let (stream, id) = (part.stream.clone(), event.id);
                    return Err(Error::DuplicateInAppend { stream, id });
                }
            }
        }
        let events = append.streams.iter().flat_map(|part| &part.events);
        Ok(self.shared.options.limits.check(events)?)
    }

    /// Returns the answer to an append whose id, or whose events' ids, are known. With the records
    /// of the request, also checks that it is the same request.
    async fn first_outcome(
        &self,
        append: &AppendAll,
        known: &[Option<Arc<KnownCommit>>],
        records: Option<&[Arc<CommandRecord>]>,
    ) -> Result<Vec<Executed>, Error> {
        let mut outcomes = Vec::with_capacity(append.streams.len());
        for (index, (part, known)) in append.streams.iter().zip(known).enumerate() {
            let stream = part.stream.clone();
            outcomes.push(match (known, records) {
                (Some(known), Some(records)) => replayed(stream, &records[index], known)?,
                (Some(known), None) => replay(stream, known),
                (None, _) if part.events.is_empty() => self.only_checked(stream).await?,
                (None, records) => {
                    let id = records.map(|records| records[index].id.clone());
                    let id = id.ok_or(Error::Stopped)?;
                    return Err(Error::IdempotencyKeyReused { stream, id });
                }
            });
        }
        Ok(outcomes)
    }

    /// Returns the current version of a stream that an append only checked, for a replayed answer.
    async fn only_checked(&self, stream: StreamId) -> Result<Executed, Error> {
        let head = self.shared.reader.head(&stream).await?;
        Ok(Executed {
            stream,
            version: head.map_or(Version::NONE, |head| head.version),
            position: None,
            events: Vec::new(),
            replayed: true,
            module: None,
            fuel: None,
        })
    }

    pub(super) async fn stage(&self, permit: &Permit, item: Item) -> Result<Outcome, Error> {
        let (sender, receiver) = oneshot::channel();
        let permit = Arc::clone(permit);
        let done = Box::new(move |_: Item, verdict: Verdict| {
            drop(permit);
            _ = sender.send(verdict);
        });
        self.shared.committer.stage(Staged {
            item,
            run: None,
            done,
        });
        match receiver.await {
            Ok(Verdict::Outcome(outcome)) => Ok(outcome),
            Ok(Verdict::Failed(error)) => {
                // After a failure of the store, its events are read once more.
                self.resumes().clear();
                Err(error.into())
            }
            Err(_) => Err(Error::unanswered()),
        }
    }

    /// Returns the record of the append for each of its streams.
    fn append_records(&self, id: &CommandId, append: &AppendAll) -> Vec<Arc<CommandRecord>> {
        let digest: bytes::Bytes = digest_of(append).into();
        let context = append.context.clone().correlated(id);
        let accepted_at = self.shared.clock.now();
        let record = |part: &StreamAppend| CommandRecord {
            seed: self.seed(&part.stream, id),
            context: context.clone(),
            id: id.clone(),
            name: Name::stored(RECORD_NAME),
            schema_version: 1,
            body: Body::stored(ContentType::Other(RECORD_BODY.into()), digest.clone()),
            metadata: None,
            accepted_at,
        };
        let parts = append.streams.iter();
        parts.map(|part| Arc::new(record(part))).collect()
    }
}

/// Returns expected versions with which an append stores nothing.
///
/// A recorded append must be found before the request is rejected, but a rejected append must not
/// be stored. For this reason the last stream is expected at a version that no stream has. The plan
/// is still compared for all streams.
fn look_up_only(append: &AppendAll) -> Vec<ExpectedVersion> {
    let mut expected = vec![ExpectedVersion::Any; append.streams.len()];
    if let Some(last) = expected.last_mut() {
        *last = ExpectedVersion::Exact(Version(u64::MAX));
    }
    expected
}

/// Returns the writes for the store, each stream at its expected version.
fn writes(
    append: &AppendAll,
    records: &[Arc<CommandRecord>],
    expected: &[ExpectedVersion],
    plan: u64,
    recorded_at: Timestamp,
) -> Vec<Write> {
    let is_one = append.streams.len() == 1;
    let parts = append.streams.iter().zip(records).zip(expected);
    parts
        .map(|((part, record), expected)| Write {
            stream: part.stream.clone(),
            expected: *expected,
            commit: Commit {
                command: (is_one || !part.events.is_empty()).then(|| Arc::clone(record)),
                decided: None,
                plan,
                recorded_at,
                events: part.events.clone(),
                id_is_new: false,
            },
        })
        .collect()
}

/// Whether the version at which the store found a stream is one that the caller expects.
fn check_expected(append: &AppendAll, stream: &StreamId, found: Version) -> Result<(), Error> {
    let part = append.streams.iter().find(|part| part.stream == *stream);
    let expected = part.map_or(ExpectedVersion::Any, |part| part.expected_version);
    if expected.admits(found) {
        return Ok(());
    }
    Err(Error::WrongExpectedVersion {
        stream: stream.clone(),
        expected,
        found,
    })
}

/// Computes a digest of types and data, each preceded by its length. For several streams, it
/// includes their ids and numbers of events.
fn digest_of(append: &AppendAll) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for stream in &append.streams {
        if append.streams.len() > 1 {
            part(stream.stream.as_str().as_bytes());
            part(&(stream.events.len() as u64).to_le_bytes());
        }
        for event in &stream.events {
            part(event.name.as_str().as_bytes());
            part(&event.schema_version.to_le_bytes());
            part(event.body.content_type().as_str().as_bytes());
            part(event.body.bytes());
        }
    }
    hasher.finalize().as_bytes().to_vec()
}
