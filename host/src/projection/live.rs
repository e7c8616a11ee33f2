use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::{Event, Rules, Stuck};
use super::shared::blocking;
use super::{Error, Live, Service};
use crate::model::{StreamId, Version};
use crate::store::{Direction, STREAM_PAGE_MAX};

/// Limit for the number of documents of one stream.
const DOCUMENTS_MAX: usize = 10_000;
/// Limit for the bytes of all these documents.
const BYTES_MAX: usize = 16 << 20;

impl Service {
    /// Computes the documents that a projection makes from only the events of one stream. Works
    /// with every lifecycle.
    ///
    /// # Errors
    /// When there is no such projection or stream, or its events can't be folded.
    pub async fn live(&self, name: &str, stream: &StreamId) -> Result<Live, Error> {
        let plan = self.shared.registry.plan();
        let projected = plan.projection(name);
        let projected = projected.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let rules = Rules::new(name, &projected.module, &plan, &self.shared.guests);
        let rules = Arc::new(rules.ok_or_else(|| Error::NotFound(name.to_owned()))?);
        let reader = &self.shared.reader;
        let mut documents = BTreeMap::new();
        let mut from = Version(1);
        loop {
            let page = reader.read_stream(stream, from, Direction::Forward, STREAM_PAGE_MAX);
            let page = page.await?;
            let page = page.ok_or_else(|| Error::StreamNotFound(stream.clone()))?;
            let events = page.events.into_iter().map(Arc::new).collect();
            let _permit = self
                .shared
                .folding
                .acquire()
                .await
                .map_err(|_| Error::Stopped)?;
            let rules = Arc::clone(&rules);
            let folding = blocking(move || fold(&rules, documents, events));
            documents = folding.await?.map_err(|stuck| failed(name, &stuck))?;
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
            match page.next {
                Some(next) => from = next,
                None => {
                    return Ok(Live {
                        documents: documents.into_iter().collect(),
                        version: page.version,
                        truncated_before: page.truncated_before,
                    });
                }
            }
        }
    }
}

fn fold(
    rules: &Rules,
    mut documents: BTreeMap<Arc<str>, Arc<str>>,
    events: Vec<Event>,
) -> Result<BTreeMap<Arc<str>, Arc<str>>, Stuck> {
    let (keyed, stuck) = rules.key(events);
    if let Some(stuck) = stuck {
        return Err(stuck);
    }
    let tasks = keyed.tasks(|key| documents.get(key).cloned());
    let folded = rules.apply(&tasks)?;
    for (task, document) in tasks.into_iter().zip(folded) {
        match document {
            Some(document) => _ = documents.insert(task.key, document),
            None => _ = documents.remove(&task.key),
        }
    }
    Ok(documents)
}

fn failed(name: &str, stuck: &Stuck) -> Error {
    Error::Failed {
        projection: name.to_owned(),
        fault: stuck.fault,
        why: format!(
            "stream {}, position {}: {}",
            stuck.stream, stuck.position.0, stuck.error
        ),
    }
}
