//! Folding events before they are stored.

use std::sync::Arc;

use super::folder::off_the_reactor;
use super::{Error, Folder, From, Open, Rules, Until};
use crate::model::{NewEvent, StreamId, Timestamp, Version};
use crate::store::Head;

/// The result of folding events before they are stored.
#[derive(Debug)]
pub enum Trial {
    /// Every event can be folded at the stream's end.
    Folded,
    /// The stream is no longer at the version at which the events were to be folded.
    Moved,
    /// An event can't be folded.
    Failed {
        /// Index of the event.
        index: usize,
        /// The error.
        error: Error,
    },
}

impl Folder {
    /// Folds events on the state at the end of a stream, without storing them. `head` is the end of
    /// the stream as it was read; `None` before its first event.
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
        head: Option<Head>,
        events: &Arc<[NewEvent]>,
        recorded_at: Timestamp,
    ) -> Result<Trial, Error> {
        let may_pass =
            |error: &Error| matches!(error, Error::Fault(fault) if fault.kind.may_pass());
        let tried = self.trial(rules, stream, head, events, recorded_at).await;
        match &tried {
            Ok(Trial::Failed { error, .. }) | Err(error) if may_pass(error) => {
                self.drop_idle();
                self.trial(rules, stream, head, events, recorded_at).await
            }
            _ => tried,
        }
    }

    async fn trial(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        head: Option<Head>,
        events: &Arc<[NewEvent]>,
        recorded_at: Timestamp,
    ) -> Result<Trial, Error> {
        let open = match head {
            Some(_) => self.fold(rules, stream, From::Snapshot, Until::End).await?,
            None => self
                .open(rules, stream, None)
                .await
                .map_err(|failure| Error::of_guest(stream, &failure))?,
        };
        if open.version != head.map_or(Version::NONE, |head| head.version) {
            return Ok(Trial::Moved);
        }
        let recorded_at = recorded_at.max(head.map_or(Timestamp(0), |head| head.recorded_at));
        let (folder, events) = (Arc::clone(self), Arc::clone(events));
        off_the_reactor(move || folder.one_by_one(open, &events, recorded_at)).await
    }

    /// Folds events one by one, so that the one that can't be folded is known.
    fn one_by_one(&self, mut open: Open, events: &[NewEvent], recorded_at: Timestamp) -> Trial {
        for (index, event) in events.iter().enumerate() {
            if let Err(error) = open.take_new(self.lifter(), event, recorded_at) {
                self.keep(open);
                return Trial::Failed { index, error };
            }
        }
        self.keep(open);
        Trial::Folded
    }
}
