//! Checks the snapshots of a category before an activation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Error, Registry};
use crate::fold::{self, Agreement, Rules};
use crate::model::{Digest, Position, StreamId};
use crate::store::{Direction, Filter, SNAPSHOTS_PAGE_MAX, StoredSnapshot, TypeUse};
use crate::upcast::Lift;

/// Highest number of snapshots that are compared: those taken last.
const SAMPLE: usize = 50;
/// Time after which no further comparison is started.
const SAMPLE_TIME: Duration = Duration::from_secs(10);
/// Highest number of streams named in an error.
const NAMED_MAX: usize = 10;

impl Registry {
    /// Compares the snapshots of a category before rules become active. Returns the folds whose
    /// snapshots the rules may open: a sample of each was compared with the states that the rules
    /// fold from the events, and all agreed.
    ///
    /// The sample includes streams with every form whose way to the rules differs from its way to
    /// the active rules. Returns nothing if the time is over before these are compared, and while
    /// an event is stored that the rules can't read, because a snapshot would hide it.
    pub(super) async fn compare_snapshots(
        &self,
        category: &str,
        rules: Rules,
    ) -> Result<Vec<Digest>, Error> {
        let rules = Arc::new(rules);
        self.check_anchors(category, &rules).await?;
        let newest = self.folder.newest(category, SAMPLE).await?;
        if newest.is_empty() {
            return Ok(Vec::new());
        }
        let Some(moved) = self.moved_forms(category, &rules).await? else {
            return Ok(Vec::new());
        };
        let begun = Instant::now();
        let mut agree: BTreeMap<Digest, bool> = BTreeMap::new();
        let mut sample = Vec::new();
        for form in &moved {
            sample.extend(self.snapshots_with(form).await?);
        }
        let of_moved = sample.len();
        sample.extend(newest);
        for (number, (stream, snapshot)) in sample.into_iter().enumerate() {
            let fold = snapshot.fold;
            if fold == rules.fold || agree.get(&fold) == Some(&false) {
                continue;
            }
            if begun.elapsed() > SAMPLE_TIME {
                if number < of_moved {
                    return Ok(Vec::new());
                }
                break;
            }
            match self.worth(&rules, &stream, snapshot).await {
                Agreement::Agrees => _ = agree.entry(fold).or_insert(true),
                Agreement::Differs => {
                    tracing::warn!(%stream, fold = %fold.short(), module = ?rules.module,
                        "a snapshot differs from the state of the module to be activated; \
                         streams are folded from their events");
                    agree.insert(fold, false);
                }
                // Each of them will be ignored when it is used.
                Agreement::Unusable(_) => {}
            }
        }
        let trusted = agree.into_iter().filter(|(_, agrees)| *agrees);
        Ok(trusted.map(|(fold, _)| fold).collect())
    }

    async fn worth(
        &self,
        rules: &Arc<Rules>,
        stream: &StreamId,
        snapshot: StoredSnapshot,
    ) -> Agreement {
        match self.folder.compare(rules, stream, snapshot).await {
            Ok(agreement) => agreement,
            Err(error @ (fold::Error::Store(_) | fold::Error::Stopped)) => {
                Agreement::Unusable(error.to_string())
            }
            // The events do not lead to a state, so the snapshot contains a different one.
            Err(_) => Agreement::Differs,
        }
    }

    /// Returns the stored forms whose way to the rules differs from their way to the active rules.
    /// `None` if the rules can't read one of them.
    async fn moved_forms(
        &self,
        category: &str,
        rules: &Rules,
    ) -> Result<Option<Vec<TypeUse>>, Error> {
        let plan = self.plan();
        let active = plan.decider(category).map(|active| &active.rules.lift);
        let mut moved = Vec::new();
        for stored in self.types.types().await? {
            if &*stored.category != category {
                continue;
            }
            let way = |lift: &Lift| lift.way(&stored.name, stored.schema_version);
            let now = way(&rules.lift);
            if now.is_unknown() || now.too_new().is_some() {
                return Ok(None);
            }
            if active.is_some_and(|active| way(active) != now) {
                moved.push(stored);
            }
        }
        Ok(Some(moved))
    }

    /// Returns snapshots of the first and last streams with events of a form.
    async fn snapshots_with(
        &self,
        form: &TypeUse,
    ) -> Result<Vec<(StreamId, StoredSnapshot)>, Error> {
        let filter = Filter {
            categories: Some(vec![(*form.category).into()]),
            types: Some(vec![form.name.clone()]),
            ..Filter::default()
        };
        let mut streams = BTreeSet::new();
        let (first, last) = (Position(form.oldest.0.0.saturating_sub(1)), form.newest.0);
        for (from, direction) in [
            (first, Direction::Forward),
            (Position(last.0 + 1), Direction::Backward),
        ] {
            let reading = self
                .folder
                .reader()
                .read_log(from, direction, SAMPLE, &filter);
            let events = reading.await?.events.into_iter();
            let of_form = events.filter(|event| event.schema_version == form.schema_version);
            streams.extend(of_form.map(|event| event.stream).take(SAMPLE));
        }
        let mut found = Vec::new();
        for stream in streams {
            let snapshots = self.folder.store().find(&stream).await?;
            found.extend(
                snapshots
                    .into_iter()
                    .map(|snapshot| (stream.clone(), snapshot)),
            );
        }
        Ok(found)
    }

    /// Rejects rules that can't open every anchor of a category.
    async fn check_anchors(&self, category: &str, rules: &Arc<Rules>) -> Result<(), Error> {
        let (mut named, mut more, mut reason) = (Vec::new(), 0, None);
        let mut after: Option<String> = None;
        loop {
            let page = self
                .folder
                .anchors(category, after.as_deref(), SNAPSHOTS_PAGE_MAX)
                .await?;
            for anchor in &page {
                let opened = self
                    .folder
                    .opens(rules, &anchor.stream, &anchor.snapshot)
                    .await;
                let Err(why) = opened else { continue };
                reason.get_or_insert(why);
                if named.len() < NAMED_MAX {
                    named.push(anchor.stream.clone());
                } else {
                    more += 1;
                }
            }
            match page.last() {
                Some(last) if page.len() == SNAPSHOTS_PAGE_MAX => {
                    after = Some(last.stream.as_str().to_owned());
                }
                _ => break,
            }
        }
        match reason {
            None => Ok(()),
            Some(why) => Err(Error::Anchors {
                streams: named,
                more,
                why,
            }),
        }
    }
}
