//! Folding events before they are stored.

use std::sync::Arc;

use super::folder::off_the_reactor;
use super::{Error, Folder, From, Open, Rules, Start, Until};
use crate::model::{Annotations, CommandRecord, NewEvent, StreamId, Timestamp, Version};
use crate::runtime::{Decision, Outcome};
use crate::store::Head;

/// The result of folding events before they are stored.
#[derive(Debug)]
pub enum Trial {
    /// Every event can be folded at the end of the stream.
    Folded {
        /// The version of the stream on which they were folded.
        version: Version,
        /// The state at that version, if it took more than a page of events and the guest has
        /// snapshots.
        start: Option<Start>,
    },
    /// An event can't be folded.
    Failed {
        /// Index of the event.
        index: usize,
        /// The error.
        error: Error,
    },
}

/// On what events are folded before they are stored.
#[derive(Debug)]
pub struct Ground {
    /// The end of the stream as it was read; `None` before its first event.
    pub head: Option<Head>,
    /// A state of the stream that these rules have folded.
    pub start: Option<Start>,
    /// When the events are recorded.
    pub recorded_at: Timestamp,
}

impl Folder {
    /// Folds events on the state at the end of a stream, without storing them.
    ///
    /// If the guest fails for a reason that may be caused by its instance, the fold is repeated
    /// once in a new instance.
    ///
    /// # Errors
    /// When the state before the events can't be read.
    pub async fn try_events(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        ground: &Ground,
        events: &Arc<[NewEvent]>,
    ) -> Result<Trial, Error> {
        let may_pass =
            |error: &Error| matches!(error, Error::Fault(fault) if fault.kind.may_pass());
        let tried = self.trial(rules, stream, ground, events).await;
        match &tried {
            Ok(Trial::Failed { error, .. }) | Err(error) if may_pass(error) => {
                self.drop_idle();
                self.trial(rules, stream, ground, events).await
            }
            _ => tried,
        }
    }

    async fn trial(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        ground: &Ground,
        events: &Arc<[NewEvent]>,
    ) -> Result<Trial, Error> {
        let mut may_keep = true;
        loop {
            let start = ground.start.as_ref();
            let start = start.filter(|it| ground.head.is_some_and(|head| it.serves_at(head)));
            let open = match (ground.head, start) {
                (None, _) => self
                    .open(rules, stream, None)
                    .await
                    .map_err(|failure| Error::of_guest(stream, &failure))?,
                (Some(_), Some(start)) => self.fold_from(rules, stream, start.clone()).await?,
                (Some(_), None) => self.fold(rules, stream, From::Snapshot, Until::End).await?,
            };
            let head = ground.head.map_or(Timestamp(0), |head| head.recorded_at);
            let recorded_at = ground.recorded_at.max(head).max(open.recorded_at);
            let folded = open
                .version
                .0
                .saturating_sub(start.map_or(0, |it| it.version.0));
            let with_snapshot = may_keep && folded >= self.page as u64;
            let (folder, events) = (Arc::clone(self), Arc::clone(events));
            let trial = move || folder.one_by_one(open, with_snapshot, &events, recorded_at);
            match off_the_reactor(trial).await? {
                Some(trial) => return Ok(trial),
                None => may_keep = false,
            }
        }
    }

    /// Folds events one by one, so that the one that can't be folded is known. `None` when the state
    /// before them can't be kept, because the guest faulted.
    fn one_by_one(
        &self,
        mut open: Open,
        with_snapshot: bool,
        events: &[NewEvent],
        recorded_at: Timestamp,
    ) -> Option<Trial> {
        let version = open.version;
        let snapshot = match with_snapshot.then(|| open.snapshot()) {
            None => None,
            Some(Ok(snapshot)) => snapshot,
            Some(Err(_)) => return None,
        };
        let start = snapshot.map(|snapshot| Start {
            version,
            snapshot,
            is_anchor_only: false,
        });
        for (index, event) in events.iter().enumerate() {
            if let Err(error) = open.take_new(self.lifter(), event, recorded_at) {
                self.keep(open);
                return Some(Trial::Failed { index, error });
            }
        }
        self.keep(open);
        Some(Trial::Folded { version, start })
    }
}

/// A command that was decided without effect.
#[derive(Debug)]
pub struct Effect {
    /// The version of the state on which it was decided.
    pub version: Version,
    /// The decision.
    pub decision: Decision,
    /// The states before and after the events, if they were requested.
    pub states: Option<States>,
}

/// Two states as the decider renders them. `None` if it does not show its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    /// The state on which the command was decided.
    pub before: Option<String>,
    /// The state after the events.
    pub after: Option<String>,
}

impl Folder {
    /// Decides a command on the committed state of a stream, and stores nothing. With states, it
    /// also folds the events.
    ///
    /// # Errors
    /// When the state can't be read, the guest faults, or an event can't be folded.
    pub async fn decide(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        (stream, head): (&StreamId, Option<Head>),
        (command, annotations): (&CommandRecord, Annotations),
        with_states: bool,
    ) -> Result<Effect, Error> {
        let open = match head {
            Some(_) => self.fold(rules, stream, From::Snapshot, Until::End).await?,
            None => self
                .open(rules, stream, None)
                .await
                .map_err(|failure| Error::of_guest(stream, &failure))?,
        };
        let (folder, command) = (Arc::clone(self), command.clone());
        let decided = self.ask(open, move |open| {
            let version = open.version;
            let before = if with_states { open.view()? } else { None };
            let decision = open.decide(&command, &annotations)?;
            let states = match &decision.outcome {
                Outcome::Events(events) if with_states => {
                    let recorded_at = command.accepted_at.max(open.recorded_at);
                    for event in events {
                        open.take_new(folder.lifter(), event, recorded_at)?;
                    }
                    let after = open.view()?;
                    Some(States { before, after })
                }
                _ => None,
            };
            Ok(Effect {
                version,
                decision,
                states,
            })
        });
        decided.await
    }
}
