//! Checks stored bytes against stored digests: those of commits, modules, snapshots, documents and
//! audit records. That needs no guest.

use std::collections::{BTreeSet, HashSet};

use super::Error;
use super::acknowledge::{Acknowledged, Run, acknowledged_names};
use super::cancel::Stop;
use super::name::FindingName;
use super::prover::{Scope, choose, is_chosen};
use super::report::{DocumentFinding, Finding, Kind, Progress, Verified};
use crate::access::check_chain;
use crate::model::{Digest, Mismatch, Position, StreamId, Version};
use crate::store::document_digest::document_digest;
use crate::store::{
    self, ArchivedStreams, Direction, DocumentRow, Follower, LOG_PAGE_MAX, LogRow,
    SNAPSHOTS_PAGE_MAX, STREAMS_PAGE_MAX, Step, StoredBytes, StoredSnapshot, StreamFilter, Wrong,
};

/// The stream of a finding that is about no stream: a missing position, or a module.
pub const LOG: &str = "$log";

/// Number of anchors in one read. It is small because each has a state.
const ANCHORS_AT_ONCE: usize = 16;

/// Counts of stored bytes that were checked against digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digests {
    /// Commits that have their digest.
    pub proved: u64,
    /// Commits without a digest, which are older than digests or were imported without.
    pub unproved: u64,
    /// Modules that have their digest.
    pub modules: u64,
    /// Snapshots that have their checksum.
    pub snapshots: u64,
    /// Documents that have their digest.
    pub documents: u64,
    /// Documents without a digest: they were last written by a program without digests.
    pub unproved_documents: u64,
    /// Audit records that are in order and have their digest.
    pub audit: u64,
}

impl Run<'_> {
    /// Computes the digests of all commits, modules, snapshots and audit records, and compares them
    /// with the stored ones, up to the current end of the log, or until the time of the scope is
    /// over. Documents are compared too, unless the scope has them folded. Nothing is re-decided.
    ///
    /// # Errors
    /// When the store fails. Bytes that do not have their digest are findings.
    pub async fn verify_digests(
        &self,
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, Error> {
        let check = Check {
            bytes: &self.prover.bytes,
            acknowledged: &self.acknowledged,
        };
        check.run(scope, progress).await
    }
}

/// Does the same for a store without a host: see [`Run::verify_digests`]. Nothing is written.
///
/// # Errors
/// When the store fails.
pub async fn verify_stored(
    bytes: &StoredBytes,
    scope: &Scope,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Verified, Error> {
    let acknowledged = acknowledged_names(&*bytes.acknowledgements, |_| true).await?;
    let check = Check {
        bytes,
        acknowledged: &acknowledged,
    };
    check.run(scope, progress).await
}

/// A check of the bytes of a store.
struct Check<'a> {
    bytes: &'a StoredBytes,
    acknowledged: &'a Acknowledged,
}

impl Check<'_> {
    async fn run(
        &self,
        scope: &Scope,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, Error> {
        let chosen = choose(&*self.bytes.reader, scope).await?;
        let stop = Stop::after(scope.time);
        let mut verified = self
            .verify_commits((scope, &chosen), &stop, progress)
            .await?;
        if verified.until != verified.head {
            return Ok(verified);
        }
        self.verify_modules(&mut verified).await?;
        self.verify_snapshots(scope, &chosen, &mut verified).await?;
        if !scope.projections {
            self.verify_documents(&mut verified).await?;
        }
        self.verify_audit(&mut verified).await?;
        Ok(verified)
    }

    async fn verify_commits(
        &self,
        (scope, chosen): (&Scope, &Option<HashSet<StreamId>>),
        stop: &Stop,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, Error> {
        let bytes = self.bytes;
        let head = bytes.reader.log_head().await?;
        // Read after the head, so that they are valid for everything up to it.
        let marks = bytes.digests.marks().await?;
        let mut follower = Follower::new(marks);
        let mut verified = Verified {
            head,
            ..Verified::default()
        };
        let (mut at, mut until) = (Position(0), head);
        let is_wanted = |row: &LogRow| {
            let stream = row.stream.as_deref().map(StreamId::new);
            let stream = stream.and_then(Result::ok);
            stream.is_none_or(|stream| is_chosen(&stream, scope, chosen))
        };
        while at < until && !stop.is_over() {
            let rows = bytes.digests.rows(at, until, LOG_PAGE_MAX).await?;
            let is_end = rows.is_empty();
            for row in rows {
                at = row.position;
                let is_wanted = is_wanted(&row);
                verified.events += u64::from(is_wanted && at <= head);
                for step in follower.take(row, is_wanted) {
                    self.count(step, &mut verified);
                }
            }
            if is_end {
                at = until;
            }
            progress(Progress {
                position: at.min(head),
                head,
            });
            // The last commit up to a position may end after it.
            if at >= until && follower.has_open() && until == head {
                until = bytes.reader.log_head().await?;
            }
        }
        if at < until {
            // The time is over. Commits that are not complete here are not judged.
            verified.until = at.min(head);
            return Ok(verified);
        }
        for step in follower.not_whole() {
            self.count(step, &mut verified);
        }
        if marks.gapless_after.is_none() {
            self.verify_heads(scope, chosen, &follower, &mut verified)
                .await?;
        }
        verified.until = head;
        Ok(verified)
    }

    /// Finds streams whose last events are missing. Where positions are gapless, these show it.
    async fn verify_heads(
        &self,
        scope: &Scope,
        chosen: &Option<HashSet<StreamId>>,
        follower: &Follower,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let reader = &self.bytes.reader;
        let filter = StreamFilter {
            category: scope.category.as_deref().map(Into::into),
            archived: ArchivedStreams::With,
        };
        let mut after = None::<String>;
        loop {
            let page = reader.streams(after.as_deref(), STREAMS_PAGE_MAX, &filter);
            let page = page.await?;
            for info in page.streams {
                let last = follower.version_of(info.stream.as_str());
                let stream = info.stream;
                if info.version.0 <= last || !is_chosen(&stream, scope, chosen) {
                    continue;
                }
                // It may have grown meanwhile.
                let next = Version(last + 1);
                let read = reader.read_stream(&stream, next, Direction::Forward, 1);
                if let Err(store::Error::Damaged(_)) = read.await {
                    let text = format!(
                        "the stream is at version {}, its last event is missing: it was removed",
                        info.version
                    );
                    let wrong = Wrong {
                        position: Position(0),
                        stream: Some(stream.as_str().into()),
                        version: next.0,
                        text,
                    };
                    self.count(Step::Wrong(wrong), verified);
                }
            }
            match page.next {
                Some(next) => after = Some(next.as_str().to_owned()),
                None => return Ok(()),
            }
        }
    }

    fn count(&self, step: Step, verified: &mut Verified) {
        match step {
            Step::Proved => verified.digests.proved += 1,
            Step::Unproved(_) => verified.digests.unproved += 1,
            Step::Wrong(wrong) => {
                let stream = wrong
                    .stream
                    .as_deref()
                    .and_then(|it| StreamId::new(it).ok());
                let position = match stream {
                    Some(_) => wrong.position,
                    // Of what is missing.
                    None => Position(wrong.version),
                };
                let place = (stream.unwrap_or_else(log), Version(wrong.version));
                let name = FindingName::at(Kind::Digest, &place.0, place.1);
                self.find(verified, Kind::Digest, (name, position), place, wrong.text);
            }
        }
    }

    fn find(
        &self,
        verified: &mut Verified,
        kind: Kind,
        (name, position): (FindingName, Position),
        (stream, version): (StreamId, Version),
        text: String,
    ) {
        verified.find(Finding {
            weight: self.acknowledged.weight(&name),
            name,
            kind,
            position,
            stream,
            version,
            command: None,
            module: None,
            plan: 0,
            text,
        });
    }

    /// Compares the bytes of modules with their digest, which is their name.
    async fn verify_modules(&self, verified: &mut Verified) -> Result<(), Error> {
        let modules = &self.bytes.modules;
        for module in modules.list().await? {
            let digest = module.digest;
            // It may have been pruned meanwhile.
            let Some(bytes) = modules.get(digest).await? else {
                continue;
            };
            let found = Digest::of(&bytes);
            if found == digest {
                verified.digests.modules += 1;
                continue;
            }
            let text = format!(
                "the stored bytes of module {digest} have digest {found}: they were changed"
            );
            let name = FindingName::of_stored_module(digest);
            let place = (log(), Version(0));
            self.find(
                verified,
                Kind::StoredModule,
                (name, Position(0)),
                place,
                text,
            );
        }
        Ok(())
    }

    /// Compares snapshots with their checksums: all anchors, and the newest ones of each category.
    async fn verify_snapshots(
        &self,
        scope: &Scope,
        chosen: &Option<HashSet<StreamId>>,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let snapshots = &self.bytes.snapshots;
        let mut after = None::<String>;
        loop {
            let page =
                snapshots.anchors(scope.category.as_deref(), after.as_deref(), ANCHORS_AT_ONCE);
            let page = page.await?;
            for anchor in &page {
                if is_chosen(&anchor.stream, scope, chosen) {
                    self.verify_snapshot(&anchor.stream, &anchor.snapshot, verified);
                }
            }
            match page.last().filter(|_| page.len() == ANCHORS_AT_ONCE) {
                Some(last) => after = Some(last.stream.as_str().to_owned()),
                None => break,
            }
        }
        // An activation names the categories of its deciders, and only these have snapshots.
        let deployments = self.bytes.modules.deployments().await?;
        let categories = deployments.iter().flat_map(|it| &it.categories);
        let categories: BTreeSet<&String> = categories.collect();
        for category in categories {
            let newest = snapshots.newest(category, SNAPSHOTS_PAGE_MAX).await?;
            for (stream, snapshot) in newest.iter().filter(|(_, it)| !it.is_anchor) {
                if is_chosen(stream, scope, chosen) {
                    self.verify_snapshot(stream, snapshot, verified);
                }
            }
        }
        Ok(())
    }

    fn verify_snapshot(
        &self,
        stream: &StreamId,
        snapshot: &StoredSnapshot,
        verified: &mut Verified,
    ) {
        if snapshot.is_intact(stream) {
            verified.digests.snapshots += 1;
            return;
        }
        let (version, kind) = (snapshot.version, Kind::Snapshot);
        let name = FindingName::of_snapshot(stream, version, snapshot.fold);
        let text = "the stored snapshot does not have its checksum: it was changed".to_owned();
        let place = (stream.clone(), version);
        self.find(verified, kind, (name, Position(0)), place, text);
    }

    /// Compares the documents of all builds with their digests.
    async fn verify_documents(&self, verified: &mut Verified) -> Result<(), Error> {
        let mut after = None::<(u64, Box<str>)>;
        loop {
            let from = after.as_ref().map(|(build, key)| (*build, &**key));
            let rows = self.bytes.digests.documents(from, LOG_PAGE_MAX).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some((last.build, last.key.clone()));
            for row in rows {
                self.verify_document(row, verified);
            }
        }
    }

    fn verify_document(&self, row: DocumentRow, verified: &mut Verified) {
        let found = document_digest(row.build, &row.key, row.document.as_deref(), row.change);
        let text = match row.digest {
            Some(digest) if digest[..] == found.0[..] => {
                verified.digests.documents += 1;
                return;
            }
            None if !row.needs_digest => {
                verified.digests.unproved_documents += 1;
                return;
            }
            Some(_) => "the stored document does not have its digest: it was changed",
            None => "the stored document has no digest: it was inserted, or its digest was removed",
        };
        let name = FindingName::of_document(&row.projection, Mismatch::Changed, &row.key);
        verified.find_document(DocumentFinding {
            weight: self.acknowledged.weight(&name),
            name,
            projection: row.projection,
            key: row.key,
            mismatch: Mismatch::Changed,
            position: Position(row.change),
            text: format!("{text}; `quipu verify --projections` folds it from its events"),
        });
    }

    /// Checks the chain of the audit up to the first record that breaks it.
    async fn verify_audit(&self, verified: &mut Verified) -> Result<(), Error> {
        let checked = check_chain(&*self.bytes.audit).await?;
        verified.digests.audit = checked.records;
        if let Some(broken) = checked.broken {
            let name = FindingName::of_audit(broken.number);
            let text = format!("audit record {}: {}", broken.number, broken.why);
            let place = (log(), Version(0));
            self.find(verified, Kind::Audit, (name, Position(0)), place, text);
        }
        Ok(())
    }
}

/// The stream that represents the log.
fn log() -> StreamId {
    StreamId::new(LOG).expect("the name is valid")
}
