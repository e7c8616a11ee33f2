//! A batch as the arrays that `append_batch` takes.

use std::collections::HashMap;

use uuid::Uuid;

use super::tables::signed;
use crate::classify::{self, Accepted, Heads};
use crate::commit_digest::Sealer;
use crate::{Error, Head, Item, Result, StoredEvent, record};
use quipu_model::{CommandId, Digest, StreamId};

/// The streams and ids on which a batch depends.
#[derive(Default)]
pub struct Ground<'a> {
    /// To be locked, in the order of their bytes.
    pub locked: Vec<&'a str>,
    pub locked_versions: Vec<i64>,
    pub locked_archived: Vec<bool>,
    pub locked_digests: Vec<Option<&'a [u8]>>,
    /// To be read without a lock.
    pub seen: Vec<&'a str>,
    pub seen_versions: Vec<i64>,
    pub seen_archived: Vec<bool>,
    /// Command ids that must be unknown.
    pub id_streams: Vec<&'a str>,
    pub ids: Vec<&'a str>,
    /// Callers' ids of events that must be unknown.
    pub event_id_streams: Vec<&'a str>,
    pub event_ids: Vec<Uuid>,
    /// Whether an answer depends on the plan.
    pub plan: bool,
}

impl<'a> Ground<'a> {
    /// A stream that is locked or read, and its believed head.
    pub fn add_heads(
        &mut self,
        locked: Vec<&'a StreamId>,
        seen: Vec<&'a StreamId>,
        heads: &'a Heads,
    ) {
        let head_of = |stream: &StreamId| {
            let head = heads.get(stream);
            let version = head.map_or(0, |head| signed(head.version.0));
            (version, head.is_some_and(|head| head.archived))
        };
        for stream in locked {
            let (version, archived) = head_of(stream);
            self.locked.push(stream.as_str());
            self.locked_versions.push(version);
            self.locked_archived.push(archived);
            let digest = heads.get(stream).and_then(|head| head.digest.as_ref());
            self.locked_digests.push(digest.map(|digest| &digest.0[..]));
        }
        for stream in seen {
            let (version, archived) = head_of(stream);
            self.seen.push(stream.as_str());
            self.seen_versions.push(version);
            self.seen_archived.push(archived);
        }
    }

    /// Ids that are believed to be unknown.
    pub fn unknown(&mut self, items: &'a [Item], known: &classify::RecordedIds) {
        for (stream, id) in classify::ids(items) {
            let is_known = !known.commands.is_empty()
                && known.commands.contains_key(&(stream.clone(), id.clone()));
            if !is_known {
                self.id_streams.push(stream.as_str());
                self.ids.push(id.as_str());
            }
        }
        for (stream, id) in classify::event_ids(items) {
            let is_known =
                !known.events.is_empty() && known.events.contains_key(&(stream.clone(), id));
            if !is_known {
                self.event_id_streams.push(stream.as_str());
                self.event_ids.push(id);
            }
        }
    }

    /// Returns whether there is nothing to confirm.
    pub fn is_empty(&self) -> bool {
        self.locked.is_empty()
            && self.seen.is_empty()
            && self.ids.is_empty()
            && self.event_ids.is_empty()
            && !self.plan
    }
}

/// The rows to write: one entry of each array for an event.
#[derive(Default)]
pub struct Rows<'a> {
    /// Streams whose mark changes.
    pub marks: Vec<&'a str>,
    pub marked_at: Vec<Option<i64>>,
    /// Positions that are given: those of an import, or drawn before.
    pub positions: Vec<i64>,
    pub owners: Vec<i32>,
    pub versions: Vec<i64>,
    pub type_ids: Vec<i64>,
    pub event_ids: Vec<Uuid>,
    pub event_ids_given: Vec<Option<bool>>,
    pub times: Vec<i64>,
    pub offsets: Vec<i64>,
    pub data: Vec<&'a [u8]>,
    pub metadata: Vec<Option<&'a [u8]>>,
    pub tags: Vec<Option<String>>,
    pub command_ids: Vec<Option<&'a str>>,
    pub sizes: Vec<Option<i64>>,
    pub plans: Vec<Option<i64>>,
    pub module_ids: Vec<Option<i64>>,
    pub fuels: Vec<Option<i64>>,
    pub commands: Vec<Option<Vec<u8>>>,
    pub digests: Vec<Option<Vec<u8>>>,
    /// The digest of the last commit of each locked stream, after the batch.
    pub last_digests: Vec<Option<Vec<u8>>>,
    /// Of each commit, the digest.
    pub sealed: Vec<Digest>,
    sealer: Sealer,
}

/// An event with the numbers of its stream and its type.
struct Place {
    owner: i32,
    version: u64,
    time: u64,
    offset: u64,
    type_id: i64,
}

impl<'a> Rows<'a> {
    /// No rows yet, on streams that are locked.
    pub fn new(ground: &Ground<'_>) -> Self {
        let digests = ground.locked_digests.iter();
        Self {
            last_digests: digests.map(|digest| digest.map(<[u8]>::to_vec)).collect(),
            ..Self::default()
        }
    }

    /// The digest of the last commit of a stream, which the next commit changes.
    fn last_digest(&mut self, owner: i32) -> Result<&mut Option<Vec<u8>>> {
        let index = usize::try_from(owner.saturating_sub(1)).unwrap_or(usize::MAX);
        let found = self.last_digests.get_mut(index);
        found.ok_or_else(|| Error::Unexpected("a stream of the batch is not locked".to_owned()))
    }

    /// Adds the events of one commit. `type_ids` belong to its events.
    pub fn commit(
        &mut self,
        accepted: &Accepted<'a>,
        owner: i32,
        type_ids: &[i64],
        module_id: Option<i64>,
    ) -> Result<()> {
        let commit = &accepted.write.commit;
        let previous = self.last_digest(owner)?.as_deref();
        let previous = previous.and_then(|bytes| bytes.try_into().ok()).map(Digest);
        let digest = self.sealer.seal(accepted, previous)?;
        *self.last_digest(owner)? = Some(digest.0.to_vec());
        self.sealed.push(digest);
        for (offset, (event, type_id)) in commit.events.iter().zip(type_ids).enumerate() {
            let place = Place {
                owner,
                version: accepted.first_version.0 + offset as u64,
                time: accepted.recorded_at.0,
                offset: offset as u64,
                type_id: *type_id,
            };
            self.event(event, &place)?;
            if offset > 0 {
                self.no_commit();
                continue;
            }
            let command = self.sealer.command().map(<[u8]>::to_vec);
            self.command_ids
                .push(classify::callers_id(accepted.write).map(CommandId::as_str));
            self.sizes.push(Some(signed(commit.events.len() as u64)));
            self.plans.push(Some(signed(commit.plan)));
            self.module_ids.push(module_id);
            let fuel = commit.decided.map(|decided| signed(decided.fuel));
            self.fuels.push(fuel);
            self.commands.push(command);
            self.digests.push(Some(digest.0.to_vec()));
        }
        Ok(())
    }

    /// Adds an event of an import.
    pub fn stored(
        &mut self,
        stored: &'a StoredEvent,
        owner: i32,
        type_id: i64,
        module_id: Option<i64>,
    ) -> Result<()> {
        let place = Place {
            owner,
            version: stored.version.0,
            time: stored.recorded_at.0,
            offset: stored.commit_offset,
            type_id,
        };
        self.positions.push(signed(stored.position.0));
        self.event(&stored.event, &place)?;
        let Some(commit) = &stored.commit else {
            self.no_commit();
            return Ok(());
        };
        let command = commit.command.as_ref();
        let id = command.map(|command| &command.id);
        self.command_ids
            .push(id.filter(|id| id.is_callers()).map(CommandId::as_str));
        self.sizes.push(Some(signed(commit.events)));
        self.plans.push(Some(signed(commit.plan)));
        self.module_ids.push(module_id);
        self.fuels
            .push(commit.decided.map(|decided| signed(decided.fuel)));
        self.commands.push(command.map(encoded).transpose()?);
        let digest = commit.digest.map(|digest| digest.0.to_vec());
        self.last_digest(owner)?.clone_from(&digest);
        self.digests.push(digest);
        Ok(())
    }

    fn event(&mut self, event: &'a quipu_model::NewEvent, place: &Place) -> Result<()> {
        let tags = (!event.tags.is_empty()).then(|| {
            let tags: Vec<&str> = event.tags.iter().map(|tag| &**tag).collect();
            serde_json::to_string(&tags).map_err(|error| Error::Unexpected(error.to_string()))
        });
        self.owners.push(place.owner);
        self.versions.push(signed(place.version));
        self.type_ids.push(place.type_id);
        self.event_ids.push(event.id);
        self.event_ids_given
            .push(event.id_is_callers.then_some(true));
        self.times.push(signed(place.time));
        self.offsets.push(signed(place.offset));
        self.data.push(event.body.bytes());
        self.metadata.push(event.metadata.as_deref());
        self.tags.push(tags.transpose()?);
        Ok(())
    }

    fn no_commit(&mut self) {
        self.command_ids.push(None);
        self.sizes.push(None);
        self.plans.push(None);
        self.module_ids.push(None);
        self.fuels.push(None);
        self.commands.push(None);
        self.digests.push(None);
    }
}

fn encoded(command: &quipu_model::CommandRecord) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    record::encode(command, &mut bytes)?;
    Ok(bytes)
}

/// The place of each locked stream in its array, from 1.
pub fn owners<'a>(locked: &[&'a str]) -> HashMap<&'a str, i32> {
    locked.iter().copied().zip(1..).collect()
}

/// The head of a stream after its last write in a batch, but for the mark of a truncated
/// one, which is not remembered: the batch that changes it reads it.
pub fn head_after(accepted: &Accepted<'_>, digest: Digest) -> Head {
    let last = accepted.write.commit.events.len() as u64 - 1;
    Head {
        version: quipu_model::Version(accepted.first_version.0 + last),
        recorded_at: accepted.recorded_at,
        archived: false,
        truncated_before: quipu_model::Version::NONE,
        digest: Some(digest),
    }
}
