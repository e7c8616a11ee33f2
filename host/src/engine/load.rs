//! Loads cold streams: from a snapshot, if one can be used, and then page by page.

use std::sync::Arc;
use std::time::Instant;

use super::error::Error;
use super::executor::Executor;
use super::replicas::Replicas;
use super::resume::Resume;
use super::slot::{Slot, State, Warm};
use super::stream_data::{self, Begin, Loaded};
use super::worker::Message;
use crate::deploy::Deployed;
use crate::fold;
use crate::meters::Phase;
use crate::model::{StreamId, Version};
use crate::runtime::{Failure, FoldEvent, Snapshot};
use crate::store::{LoadPage, RunId};
use crate::upcast::Liftable;

impl Executor {
    /// Opens an aggregate and begins to read its stream.
    pub(super) fn load(&mut self, stream: &StreamId, slot: &mut Slot, deployed: Arc<Deployed>) {
        let _lines = slot.waiting.front().map(|first| first.logged().enter());
        let plan = self.plan_of(stream, &deployed);
        let module = deployed.rules.module.digest();
        if !self.brakes.is_empty()
            && let Some(resting) = self.brakes.rests(module, stream, Instant::now())
        {
            return self.refuse_all(slot, Some(plan), || Error::of_guest(stream, &resting));
        }
        match self.open(stream, &deployed, None, slot.is_separate) {
            Ok(replicas) => {
                let warm = Warm::new(deployed, replicas);
                let resume = self.resumes.of(stream, &warm.deployed.rules);
                self.begin_to_read(stream, &warm, resume, slot.refused_snapshots);
                slot.state = State::Loading(warm);
            }
            Err(failure) => {
                self.refuse_all(slot, Some(plan), || Error::of_guest(stream, &failure));
            }
        }
    }

    /// Opens the aggregates of a stream, from a snapshot or from the beginning.
    pub(super) fn open(
        &mut self,
        stream: &StreamId,
        deployed: &Deployed,
        snapshot: Option<&Snapshot>,
        is_separate: bool,
    ) -> Result<Replicas, Failure> {
        let check = self.shared.options.check_purity;
        Replicas::open(
            &mut self.pool,
            deployed,
            stream,
            snapshot,
            is_separate,
            check,
        )
    }

    /// Reads the state to begin with and the first events outside this thread. The newest `skipped`
    /// snapshots are skipped, because the guest has refused them.
    pub(super) fn begin_to_read(
        &self,
        stream: &StreamId,
        warm: &Warm,
        resume: Option<Resume>,
        skipped: usize,
    ) {
        let (shared, inbox) = (Arc::clone(&self.shared), self.inbox.clone());
        let (stream, run) = (stream.clone(), warm.run.id());
        let deployed = Arc::clone(&warm.deployed);
        self.shared.runtime.spawn(async move {
            let loading = stream_data::begin(&shared, &deployed, &stream, resume, skipped);
            let loaded = shared.loading.attempt(loading).await;
            let loaded = loaded.unwrap_or_else(|cause| Err(stream_data::not_loaded(&cause)));
            inbox.send(Message::Page(stream, run, Box::new(loaded)));
        });
    }

    /// Reads the next page outside this thread.
    fn read_on(&self, stream: &StreamId, run: RunId, after: Version) {
        let (shared, inbox) = (Arc::clone(&self.shared), self.inbox.clone());
        let stream = stream.clone();
        self.shared.runtime.spawn(async move {
            let limit = shared.options.load_page;
            let loading = shared.reader.load(&stream, after, limit);
            let loaded = match shared.loading.attempt(loading).await {
                Ok(Ok(page)) => Ok(Loaded {
                    begin: Begin::Events,
                    page,
                    is_too_long: false,
                }),
                Ok(Err(error)) => Err(fold::Error::Store(error)),
                Err(cause) => Err(stream_data::not_loaded(&cause)),
            };
            inbox.send(Message::Page(stream, run, Box::new(loaded)));
        });
    }

    /// Processes a page of a stream. A page of an abandoned load is dropped.
    pub(super) fn take_page(
        &mut self,
        stream: &StreamId,
        slot: &mut Slot,
        run: RunId,
        loaded: Result<Loaded, fold::Error>,
    ) {
        let State::Loading(warm) = &mut slot.state else {
            return;
        };
        if warm.run.id() != run {
            return;
        }
        let _lines = slot.waiting.front().map(|first| first.logged().enter());
        let Loaded {
            begin,
            page,
            is_too_long,
        } = match loaded {
            Ok(loaded) => loaded,
            Err(fold::Error::Store(error)) => {
                self.retire(slot);
                return self.fail_all(slot, &error);
            }
            Err(error) => return self.unreadable(stream, slot, &error),
        };
        if let Err(failure) = self.start_from(stream, warm, &begin, slot.is_separate, is_too_long) {
            // A snapshot that the host could not open may be fine.
            if failure.is_of_host() {
                let error = fold::Error::of_guest(stream, &failure);
                return self.unreadable(stream, slot, &error);
            }
            return match begin {
                Begin::Resume(_) => self.skip_resume(stream, slot, &failure),
                Begin::Snapshot(_) | Begin::Events => self.skip_snapshot(stream, slot, &failure),
            };
        }
        let is_last = page.is_last;
        match self.fold_page(stream, warm, page, slot.is_separate, is_too_long) {
            Folded::Page if is_last => {
                let from = warm.snapshot_version;
                let events = warm.version.0.saturating_sub(warm.begun_at.0);
                if !is_too_long {
                    let meters = self.shared.committer.meters();
                    meters.loaded(from > Version::NONE, events, warm.begun.elapsed());
                    if meters.spans.are_sent() {
                        let now = Instant::now();
                        for request in &mut slot.waiting {
                            request.span(Phase::Load, warm.begun, now);
                        }
                    }
                    self.keep_for_next_load(stream, warm, &mut slot.is_contested);
                }
                self.consider_snapshot(stream, warm, true);
                slot.refused_snapshots = 0;
                if let State::Loading(warm) = std::mem::replace(&mut slot.state, State::Cold) {
                    slot.state = State::Warm(warm);
                }
            }
            Folded::Page => self.read_on(stream, run, warm.version),
            Folded::Gone => self.retire(slot),
            Folded::Not(error) => self.unreadable(stream, slot, &error),
        }
    }

    /// Opens the state to begin with in place of the empty one.
    fn start_from(
        &mut self,
        stream: &StreamId,
        warm: &mut Warm,
        begin: &Begin,
        is_separate: bool,
        is_too_long: bool,
    ) -> Result<(), Failure> {
        let (start, snapshot_version) = match begin {
            Begin::Events => return Ok(()),
            Begin::Snapshot(start) => (start, start.version),
            Begin::Resume(resume) => (&resume.start, resume.snapshot_version),
        };
        warm.ids.begin_after_others();
        (warm.version, warm.begun_at) = (start.version, start.version);
        warm.snapshot_version = snapshot_version;
        if is_too_long {
            return Ok(());
        }
        let deployed = Arc::clone(&warm.deployed);
        let opened = self.open(stream, &deployed, Some(&start.snapshot), is_separate)?;
        self.close(std::mem::replace(&mut warm.replicas, opened));
        if matches!(begin, Begin::Snapshot(_)) {
            self.shared.folder.counts().used();
        }
        Ok(())
    }

    /// Reloads a stream from scratch without a snapshot, because the guest refused it.
    fn skip_snapshot(&mut self, stream: &StreamId, slot: &mut Slot, failure: &Failure) {
        let folder = &self.shared.folder;
        folder.ignore(stream, "refused-by-the-guest", failure);
        slot.refused_snapshots += 1;
        // The fault may have ended the states of other streams.
        if matches!(failure, Failure::Fault(_)) {
            self.isolate(stream, slot);
        }
        self.retire(slot);
    }

    /// Folds the events of a page into the state.
    fn fold_page(
        &mut self,
        stream: &StreamId,
        warm: &mut Warm,
        page: LoadPage,
        is_separate: bool,
        is_too_long: bool,
    ) -> Folded {
        // Numbered now: a look-up that was made earlier does not count against these ids.
        let number = self.next_number();
        for event in &page.events {
            if let Some(id) = &event.command_id {
                warm.ids.insert(id, number);
            }
        }
        let last = page.events.last();
        let last = last.map(|event| (event.version, event.recorded_at));
        let lift = &warm.deployed.rules.lift;
        let lifted = match self.shared.folder.lifter().lift(lift, page.events) {
            Ok(lifted) => lifted,
            Err(error) => return Folded::Not(fold::Error::of_lift(stream, error)),
        };
        let events: Vec<FoldEvent<'_>> = lifted.iter().map(Liftable::fold).collect();
        // A stream with a separate instance may use the fuel of a call for each event.
        match warm.replicas.fold(&mut self.pool, &events, is_separate) {
            Some(Ok(())) => {}
            Some(Err(failure)) => {
                if let Failure::Fault(fault) = &failure {
                    self.brakes.failed(fault, stream);
                }
                return Folded::Not(fold::Error::of_guest(stream, &failure));
            }
            None => return Folded::Gone,
        }
        if let Some(head) = page.head {
            warm.is_archived = head.archived;
            warm.is_unread = is_too_long;
            // A stream that is too long was not read, so its version is that of its head. For
            // other streams, the head may have moved since the events were read, so it does not
            // describe the state.
            if is_too_long {
                warm.version = head.version;
            }
            warm.recorded_at = warm.recorded_at.max(head.recorded_at);
        }
        if let Some((version, recorded_at)) = last {
            warm.version = version;
            warm.recorded_at = warm.recorded_at.max(recorded_at);
        }
        Folded::Page
    }

    /// Handles a stream that can't be folded. It is tried a second time in a separate instance, if
    /// that may help; otherwise every command that waits for it receives the error.
    fn unreadable(&mut self, stream: &StreamId, slot: &mut Slot, error: &fold::Error) {
        let plan = match &slot.state {
            State::Loading(warm) | State::Warm(warm) => Some(self.plan_of(stream, &warm.deployed)),
            State::Cold | State::Draining(_) => None,
        };
        self.retire(slot);
        let may_pass = matches!(error, fold::Error::Fault(fault) if fault.kind.may_pass());
        if may_pass && !slot.is_separate {
            return self.isolate(stream, slot);
        }
        self.refuse_all(slot, plan, || error.clone().into());
    }
}

/// The result of folding a page.
enum Folded {
    /// Its events are in the state.
    Page,
    /// Another stream's fault has ended the instance.
    Gone,
    /// The guest, or a step, could not process them.
    Not(fold::Error),
}
