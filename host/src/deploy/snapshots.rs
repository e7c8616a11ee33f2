//! What an activation has to know of the snapshots of a category.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Error, Registry};
use crate::fold::{self, Agreement, Rules};
use crate::model::{Digest, StreamId};
use crate::store::{SNAPSHOTS_PAGE_MAX, StoredSnapshot};

/// Snapshots that are compared: the ones that were taken last.
const SAMPLE: usize = 50;
/// How long snapshots are compared, after which no more are begun.
const SAMPLE_TIME: Duration = Duration::from_secs(10);
/// Streams that a refusal names.
const NAMED_MAX: usize = 10;

impl Registry {
    /// Looks at the snapshots of a category before rules become active. The answer is
    /// the folds whose snapshots the rules may open: some were compared with the states
    /// that the rules fold from the events, and all agreed. None while something is stored that
    /// the rules can't read: a snapshot would hide it.
    pub(super) async fn compare_snapshots(
        &self,
        category: &str,
        rules: Rules,
    ) -> Result<Vec<Digest>, Error> {
        let rules = Arc::new(rules);
        self.check_anchors(category, &rules).await?;
        if self.leaves_unread(category, &rules).await? {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let mut agree: BTreeMap<Digest, bool> = BTreeMap::new();
        let sample = self.folder.newest(category, SAMPLE).await?;
        for (stream, snapshot) in sample {
            let fold = snapshot.fold;
            let is_known = fold == rules.fold || agree.get(&fold) == Some(&false);
            if is_known || begun.elapsed() > SAMPLE_TIME {
                continue;
            }
            match self.worth(&rules, &stream, snapshot).await {
                Agreement::Agrees => _ = agree.entry(fold).or_insert(true),
                Agreement::Differs => {
                    tracing::warn!(%stream, fold = %fold.short(), module = ?rules.module,
                        "a snapshot does not agree with the module that is to be activated; \
                         streams are folded from their events");
                    agree.insert(fold, false);
                }
                // It will be ignored one by one.
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
            // The events lead to no state, so the snapshot holds another one.
            Err(_) => Agreement::Differs,
        }
    }

    /// Whether a form of events is stored that the rules can't read.
    async fn leaves_unread(&self, category: &str, rules: &Rules) -> Result<bool, Error> {
        let stored = self.types.types().await?;
        let mut own = stored.iter().filter(|stored| &*stored.category == category);
        Ok(own.any(|stored| {
            let way = rules.lift.way(&stored.name, stored.schema_version);
            way.is_unknown() || way.too_new().is_some()
        }))
    }

    /// Refuses rules that can't open every anchor of a category.
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
