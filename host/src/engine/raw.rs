//! Direct appends to categories that a decider serves. The decider folds the events before they are
//! stored, so that it can always load the stream afterwards.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::resume::{Resume, Resumes};
use super::{AppendAll, Engine, Error, StreamAppend};
use crate::deploy::{Deployed, Plan};
use crate::fold::{self, Ground, Rules, Trial};
use crate::model::{ExpectedVersion, Invalid, NewEvent, Timestamp, Version};
use crate::store::Head;

impl Engine {
    /// Checks an append against the deciders of its categories.
    ///
    /// Returns the version that each stream must have when the append is stored. For a stream whose
    /// events were folded, this is the version on which they were folded; for any other stream it
    /// is the version that the caller expects.
    ///
    /// # Errors
    /// When a decider does not accept the events. A stream that is archived, or not at the version
    /// that the caller expects, is reported before a failed fold.
    pub(super) async fn check_owned(
        &self,
        plan: &Plan,
        append: &AppendAll,
        recorded_at: Timestamp,
    ) -> Result<Vec<ExpectedVersion>, Error> {
        check_categories(plan, append)?;
        let parts = append.streams.iter();
        let mut expected: Vec<_> = parts.map(|part| part.expected_version).collect();
        let parts = append.streams.iter().enumerate();
        let owned: Vec<_> = parts
            .filter_map(|(index, part)| Some((index, part, owner(plan, part)?)))
            .collect();
        if owned.is_empty() {
            return Ok(expected);
        }
        let mut heads = Vec::with_capacity(append.streams.len());
        for part in &append.streams {
            let head = self.shared.reader.head(&part.stream).await?;
            check_head(part, head)?;
            heads.push(head);
        }
        let _permit = self.trials.append().await?;
        for (index, part, decider) in owned {
            let rules = &decider.rules;
            let resume = self.resumes().of(&part.stream, rules);
            let ground = Ground {
                head: heads[index],
                start: resume.map(|resume| resume.start),
                recorded_at,
            };
            let version = self.fold_part(part, rules, &ground).await?;
            // If the stream has moved away from the version that the caller expects, the store
            // says so.
            if expected[index].admits(version) {
                expected[index] = ExpectedVersion::Exact(version);
            }
        }
        Ok(expected)
    }

    /// The states that are kept for direct appends.
    pub(super) fn resumes(&self) -> MutexGuard<'_, Resumes> {
        self.resumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds the events of one part. Returns the version on which they were folded, whose state is
    /// kept for the next append if it took long.
    async fn fold_part(
        &self,
        part: &StreamAppend,
        rules: &Arc<Rules>,
        ground: &Ground,
    ) -> Result<Version, Error> {
        let events: Arc<[NewEvent]> = part.events.clone().into();
        let folder = &self.shared.folder;
        let tried = folder.try_events(rules, &part.stream, ground, &events);
        let mut failed_at = None;
        let trying = async {
            match tried.await? {
                Trial::Folded { version, start } => Ok((version, start)),
                Trial::Failed { index, error } => {
                    failed_at = Some(index);
                    Err(error)
                }
            }
        };
        let module = rules.module.digest();
        let (version, start) = match self.trials.call((module, &part.stream), trying).await {
            Ok(folded) => folded,
            Err(error) => {
                return Err(match failed_at {
                    Some(index) => not_folded(part, index, error),
                    None => error.into(),
                });
            }
        };
        if let Some(start) = start {
            let resume = Resume {
                rules: Arc::clone(rules),
                start,
                snapshot_version: Version::NONE,
            };
            self.resumes().keep(&part.stream, resume);
        }
        Ok(version)
    }
}

/// Returns the decider that must accept the events of a part.
fn owner<'a>(plan: &'a Plan, part: &StreamAppend) -> Option<&'a Arc<Deployed>> {
    let decider = plan.decider(part.stream.category());
    decider.filter(|_| !part.events.is_empty())
}

/// Rejects events for a category that a decider serves, unless the caller asked to bypass it, and
/// events with types or schema versions that the decider does not declare.
fn check_categories(plan: &Plan, append: &AppendAll) -> Result<(), Error> {
    for part in &append.streams {
        let Some(deployed) = owner(plan, part) else {
            continue;
        };
        let category = part.stream.category();
        if !append.into_owned_category {
            return Err(Error::CategoryOwned(category.to_owned()));
        }
        let manifest = deployed.rules.module.manifest();
        for event in &part.events {
            let named = manifest.event(event.name.as_str()).is_some_and(|known| {
                known.name == event.name
                    && event.schema_version == known.schema_version
                    && *event.body.content_type() == known.content_type
            });
            if !named {
                return Err(Error::Invalid(Invalid(format!(
                    "the decider of category {category} names no event {} of schema version {} \
                     and content type {}",
                    event.name,
                    event.schema_version,
                    event.body.content_type()
                ))));
            }
        }
    }
    Ok(())
}

/// Checks the same conditions as the store, before a fold is evaluated.
fn check_head(part: &StreamAppend, head: Option<Head>) -> Result<(), Error> {
    let stream = part.stream.clone();
    if head.is_some_and(|head| head.archived) {
        return Err(Error::Archived(stream));
    }
    let found = head.map_or(Version::NONE, |head| head.version);
    let expected = part.expected_version;
    if expected.admits(found) {
        return Ok(());
    }
    Err(Error::WrongExpectedVersion {
        stream,
        expected,
        found,
    })
}

/// Converts the error of a fold. An event that can't be folded is the caller's mistake, unless the
/// guest faulted.
fn not_folded(part: &StreamAppend, index: usize, error: fold::Error) -> Error {
    let stream = &part.stream;
    let name = part
        .events
        .get(index)
        .map_or("?", |event| event.name.as_str());
    match error {
        fold::Error::Fault(mut fault) => {
            let text = &fault.text;
            fault.text = format!("stream {stream}: event {index} ({name}) of the append: {text}");
            Error::Fault(fault)
        }
        fold::Error::Unreadable { text, .. } => Error::Invalid(Invalid(format!(
            "stream {stream}: event {index} ({name}) of the append can't be folded by the decider \
             of category {}: {text}; nothing was appended",
            stream.category()
        ))),
        other => other.into(),
    }
}
