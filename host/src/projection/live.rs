use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::{Event, FoldFailure, Rules};
use super::shared::blocking;
use super::{Error, Live, Service};
use crate::model::{StreamId, Version};
use crate::store::{Direction, STREAM_PAGE_MAX};

/// Limit for the number of documents of one stream.
const DOCUMENTS_MAX: usize = 10_000;
/// Limit for the bytes of all these documents.
const BYTES_MAX: usize = 16 << 20;

/// Documents by key.
pub(super) type Documents = BTreeMap<Arc<str>, Arc<str>>;

impl Service {
    /// Computes the documents that a projection makes from only the events of one stream. Works
    /// with every lifecycle.
    ///
    /// # Errors
    /// When there is no such projection or stream, or its events can't be folded.
    pub async fn live(&self, name: &str, stream: &StreamId) -> Result<Live, Error> {
        let rules = self.live_rules(name)?;
        let (documents, version, truncated_before) =
            self.live_until(name, &rules, stream, None).await?;
        Ok(Live {
            documents: documents.into_iter().collect(),
            version,
            truncated_before,
        })
    }

    /// The definition of a projection under the current plan.
    pub(super) fn live_rules(&self, name: &str) -> Result<Arc<Rules>, Error> {
        let plan = self.shared.registry.plan();
        let projected = plan.projection(name);
        let projected = projected.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let rules = Rules::new(name, &projected.module, &plan, &self.shared.guests);
        Ok(Arc::new(
            rules.ok_or_else(|| Error::NotFound(name.to_owned()))?,
        ))
    }

    /// Folds the events of a stream up to a version, or all of them. Returns the documents, the
    /// version of the stream, and before which version it is truncated.
    pub(super) async fn live_until(
        &self,
        name: &str,
        rules: &Arc<Rules>,
        stream: &StreamId,
        until: Option<Version>,
    ) -> Result<(Documents, Version, Version), Error> {
        let reader = &self.shared.reader;
        let mut documents = Documents::new();
        let mut from = Version(1);
        loop {
            let page = reader.read_stream(stream, from, Direction::Forward, STREAM_PAGE_MAX);
            let page = page.await?;
            let page = page.ok_or_else(|| Error::StreamNotFound(stream.clone()))?;
            let is_before = |version: Version| until.is_none_or(|until| version <= until);
            let events = page.events.into_iter();
            let events = events.filter(|event| is_before(event.version));
            let events = events.map(Arc::new).collect();
            let _permit = self
                .shared
                .folding
                .acquire()
                .await
                .map_err(|_| Error::Stopped)?;
            let rules = Arc::clone(rules);
            let folding = blocking(move || fold(&rules, documents, events));
            documents = folding.await?.map_err(|stuck| failed(name, &stuck))?.0;
            let bytes = documents
                .values()
                .map(|document| document.len())
                .sum::<usize>();
            if documents.len() > DOCUMENTS_MAX || bytes > BYTES_MAX {
                return Err(Error::Refused {
                    projection: name.to_owned(),
                    why: format!(
                        "stream {stream} makes more than {DOCUMENTS_MAX} documents, or more than \
                         16 MiB of them: deploy it as async"
                    ),
                });
            }
            match page.next.filter(|next| is_before(*next)) {
                Some(next) => from = next,
                None => return Ok((documents, page.version, page.truncated_before)),
            }
        }
    }
}

/// Folds events into documents. Also returns the keys of the documents that they concern.
pub(super) fn fold(
    rules: &Rules,
    mut documents: Documents,
    events: Vec<Event>,
) -> Result<(Documents, Vec<Arc<str>>), FoldFailure> {
    let (keyed, stuck) = rules.key(events);
    if let Some(stuck) = stuck {
        return Err(stuck);
    }
    let tasks = keyed.tasks(|key| documents.get(key).cloned());
    let folded = rules.apply(&tasks)?;
    let keys = tasks.iter().map(|task| Arc::clone(&task.key)).collect();
    for (task, document) in tasks.into_iter().zip(folded) {
        match document {
            Some(document) => _ = documents.insert(task.key, document),
            None => _ = documents.remove(&task.key),
        }
    }
    Ok((documents, keys))
}

fn failed(name: &str, stuck: &FoldFailure) -> Error {
    Error::Failed {
        projection: name.to_owned(),
        fault: stuck.fault,
        why: format!(
            "stream {}, position {}: {}",
            stuck.stream, stuck.position.0, stuck.error
        ),
    }
}
