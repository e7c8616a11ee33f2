//! The digests of commits: a chain for each stream.
//!
//! Each commit stores the BLAKE3 digest of its encoding, which includes the digest of the commit
//! before it in its stream. So a change of stored bytes shows in the digest of their commit, and a
//! commit that was removed or inserted shows in the next one.
//!
//! # Encoding
//!
//! Numbers have 8 bytes, the most significant one first. A text or bytes follow their length, which
//! is such a number. An optional part begins with a byte: 0 if it is absent, 1 if it follows.
//!
//! | part | content |
//! | --- | --- |
//! | format | one byte, 1 |
//! | previous | 32 bytes: the digest of the commit before it in its stream; zeros if there is none |
//! | stream | text: the id of the stream |
//! | version | number: the version of the first event |
//! | events | number: how many events the commit has |
//! | plan | number |
//! | module | optional 32 bytes: the digest of the module that decided |
//! | fuel | optional number |
//! | command id | optional text: the idempotency key of the caller |
//! | command | optional bytes, as they are stored: with id, type, data, metadata, principal, seed |
//!
//! Then, for each event in order of version:
//!
//! | part | content |
//! | --- | --- |
//! | id | 16 bytes |
//! | origin of the id | one byte: 1 if the caller chose it, else 0 |
//! | type | text |
//! | schema version | number |
//! | content type | text |
//! | recorded at | number: microseconds since 1970 UTC |
//! | data | bytes |
//! | metadata | optional bytes; empty ones count as absent |
//! | tags | number of tags, then each as text |
//!
//! Positions are not part of it: PostgreSQL assigns them during the write, and an import into
//! another store must lead to the same digests. The order of the log across streams is therefore
//! not proved, only the order within each stream.
//!
//! Whoever can write to the database can also compute digests. A chain shows such a change only to
//! somebody who has a later digest of the stream, for example in an export.
//!
//! A commit that follows one without a digest begins a chain: its previous digest is zeros.

use std::sync::Arc;

use super::classify::{Accepted, callers_id};
use super::{Result, StoredCommit, StoredEvent, record};
use quipu_model::{CommandId, Digest, NewEvent, Timestamp};

/// The first byte of an encoding. Another encoding takes the next number.
const FORMAT: u8 = 1;

/// The parts of a commit that are not parts of its events.
#[derive(Debug, Clone, Copy)]
pub struct CommitFields<'a> {
    /// The id of the stream.
    pub stream: &'a str,
    /// Version of the first event.
    pub first_version: u64,
    /// Number of the events.
    pub events: u64,
    /// The plan under which it was made.
    pub plan: u64,
    /// Digest of the module that decided.
    pub module: Option<&'a [u8]>,
    /// Fuel that the decision took.
    pub fuel: Option<u64>,
    /// The caller's idempotency key.
    pub command_id: Option<&'a str>,
    /// The command, as it is stored.
    pub command: Option<&'a [u8]>,
}

/// The parts of an event.
#[derive(Debug, Clone, Copy)]
pub struct EventFields<'a> {
    /// Its id: 16 bytes.
    pub id: &'a [u8],
    /// Whether the caller chose the id.
    pub id_is_callers: bool,
    /// The type.
    pub name: &'a str,
    /// Version of the data's form.
    pub schema_version: u64,
    /// Content type of the data.
    pub content_type: &'a str,
    /// When it was recorded, in microseconds since 1970 UTC.
    pub recorded_at: u64,
    /// The data.
    pub data: &'a [u8],
    /// The event's own metadata.
    pub metadata: Option<&'a [u8]>,
    /// The tags.
    pub tags: &'a [Arc<str>],
}

impl<'a> EventFields<'a> {
    /// The parts of an event that is recorded at a time.
    pub fn of(event: &'a NewEvent, recorded_at: Timestamp) -> Self {
        Self {
            id: event.id.as_bytes(),
            id_is_callers: event.id_is_callers,
            name: event.name.as_str(),
            schema_version: event.schema_version.into(),
            content_type: event.body.content_type().as_str(),
            recorded_at: recorded_at.0,
            data: event.body.bytes(),
            metadata: event.metadata.as_deref(),
            tags: &event.tags,
        }
    }
}

/// Computes the digest of a commit whose events arrive one by one, for one or several digests that
/// may be the previous one.
#[derive(Debug)]
pub struct CommitHasher {
    hashers: Vec<blake3::Hasher>,
    bytes: Vec<u8>,
}

impl CommitHasher {
    /// Begins a commit.
    pub fn new(previous: &[Option<Digest>], commit: &CommitFields<'_>) -> Self {
        let mut bytes = Vec::new();
        let hashers = previous.iter().map(|previous| {
            bytes.clear();
            begin(&mut bytes, *previous, commit);
            let mut hasher = blake3::Hasher::new();
            hasher.update(&bytes);
            hasher
        });
        Self {
            hashers: hashers.collect(),
            bytes,
        }
    }

    /// Begins a stored commit with its first event.
    ///
    /// # Errors
    /// When its command can't be encoded.
    pub fn of_stored(
        previous: &[Option<Digest>],
        commit: &StoredCommit,
        first: &StoredEvent,
    ) -> Result<Self> {
        let mut command = Vec::new();
        let record = commit.command.as_ref();
        if let Some(record) = record {
            record::encode(record, &mut command)?;
        }
        let id = record.map(|record| &record.id);
        let fields = CommitFields {
            stream: first.stream.as_str(),
            first_version: first.version.0,
            events: commit.events,
            plan: commit.plan,
            module: commit.decided.as_ref().map(|it| &it.module.0[..]),
            fuel: commit.decided.map(|decided| decided.fuel),
            command_id: id.filter(|id| id.is_callers()).map(CommandId::as_str),
            command: record.map(|_| &*command),
        };
        let mut hasher = Self::new(previous, &fields);
        hasher.event(&EventFields::of(&first.event, first.recorded_at));
        Ok(hasher)
    }

    /// Adds the next event.
    pub fn event(&mut self, event: &EventFields<'_>) {
        self.bytes.clear();
        add(&mut self.bytes, event);
        for hasher in &mut self.hashers {
            hasher.update(&self.bytes);
        }
    }

    /// Returns the digest for each of the previous ones, in their order.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.hashers
            .iter()
            .map(|hasher| Digest(hasher.finalize().into()))
    }
}

/// Encodes the commands of a batch and computes the digests of its commits, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Sealer {
    command: Vec<u8>,
    bytes: Vec<u8>,
}

impl Sealer {
    /// Encodes the command of a commit, and returns the digest of the commit.
    pub(crate) fn seal(
        &mut self,
        accepted: &Accepted<'_>,
        previous: Option<Digest>,
    ) -> Result<Digest> {
        let commit = &accepted.write.commit;
        self.command.clear();
        if let Some(record) = commit.command.as_deref() {
            record::encode(record, &mut self.command)?;
        }
        self.bytes.clear();
        let command = (!self.command.is_empty()).then_some(&*self.command);
        let module = commit.decided.map(|decided| decided.module);
        let fields = CommitFields {
            stream: accepted.write.stream.as_str(),
            first_version: accepted.first_version.0,
            events: commit.events.len() as u64,
            plan: commit.plan,
            module: module.as_ref().map(|module| &module.0[..]),
            fuel: commit.decided.map(|decided| decided.fuel),
            command_id: callers_id(accepted.write).map(CommandId::as_str),
            command,
        };
        begin(&mut self.bytes, previous, &fields);
        for event in &commit.events {
            let event = EventFields::of(event, accepted.recorded_at);
            add(&mut self.bytes, &event);
        }
        Ok(Digest(blake3::hash(&self.bytes).into()))
    }

    /// The encoded command of the last commit; none if it came without one.
    pub(crate) fn command(&self) -> Option<&[u8]> {
        (!self.command.is_empty()).then_some(&*self.command)
    }
}

fn begin(out: &mut Vec<u8>, previous: Option<Digest>, commit: &CommitFields<'_>) {
    out.push(FORMAT);
    out.extend_from_slice(&previous.map_or([0; 32], |previous| previous.0));
    part(out, commit.stream.as_bytes());
    number(out, commit.first_version);
    number(out, commit.events);
    number(out, commit.plan);
    match commit.module {
        Some(module) => {
            out.push(1);
            out.extend_from_slice(module);
        }
        None => out.push(0),
    }
    match commit.fuel {
        Some(fuel) => {
            out.push(1);
            number(out, fuel);
        }
        None => out.push(0),
    }
    optional(out, commit.command_id.map(str::as_bytes));
    optional(out, commit.command);
}

fn add(out: &mut Vec<u8>, event: &EventFields<'_>) {
    out.extend_from_slice(event.id);
    out.push(event.id_is_callers.into());
    part(out, event.name.as_bytes());
    number(out, event.schema_version);
    part(out, event.content_type.as_bytes());
    number(out, event.recorded_at);
    part(out, event.data);
    // One database stores empty metadata as none.
    optional(out, event.metadata.filter(|bytes| !bytes.is_empty()));
    number(out, event.tags.len() as u64);
    for tag in event.tags {
        part(out, tag.as_bytes());
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            out.push(1);
            part(out, bytes);
        }
        None => out.push(0),
    }
}

#[cfg(test)]
mod tests;
