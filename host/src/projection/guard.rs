//! Decides whether a rebuild may take over automatically. It may not if it has parked or skipped
//! more events than the build it replaces, or lost documents.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::owner::{End, Owner};
use super::shared::Shared;
use crate::model::Position;
use crate::store::{Build, BuildCounts, BuildId, LostDocuments, Role};

/// Minimum time between two checks of a rebuild that waits.
const CHECK_PAUSE: Duration = Duration::from_secs(1);
/// A check reads the keys of both builds. The pause after it is this many times as long as the
/// check took.
const CHECK_SHARE: u32 = 10;

/// The last check of a rebuild: what it was based on, and when it may be repeated.
pub(super) struct Checked {
    until: Instant,
    seen: CheckInputs,
}

/// The inputs of a check that the owner knows. While they stay the same, so does the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckInputs {
    at: Position,
    retries: u64,
    parked: usize,
    active: Option<Replaced>,
}

/// The build that a rebuild replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replaced {
    id: BuildId,
    position: Position,
    changes: u64,
    has_parked: bool,
    is_inline: bool,
}

impl Replaced {
    /// Finds the active build.
    pub(super) fn of(builds: &[Build]) -> Option<Self> {
        let active = builds.iter().find(|build| build.role == Role::Active)?;
        Some(Self {
            id: active.id,
            position: active.position,
            changes: active.changes,
            has_parked: active.has_parked,
            is_inline: active.is_inline,
        })
    }
}

impl Owner {
    /// Whether the rebuild may take over. If it lacks something, it waits for an operator's
    /// `switch`, and the build records the reason.
    pub(super) async fn may_take_over(&mut self) -> Result<bool, End> {
        if self.build.is_confirmed {
            self.takeover.waits = None;
            return Ok(true);
        }
        let seen = CheckInputs {
            at: self.progress.stored,
            retries: self.retries.requests,
            parked: self.parked.len(),
            active: self.takeover.replaced,
        };
        let is_known = self.takeover.checked.as_ref().is_some_and(|checked| {
            self.takeover.waits.is_some()
                && (Instant::now() < checked.until || checked.seen == seen)
        });
        if is_known {
            return Ok(false);
        }
        let (shared, name) = (Arc::clone(&self.shared), Arc::clone(&self.name));
        let (next, position) = (self.build.id, self.progress.stored);
        let begun_at = Instant::now();
        let checking = async move { check(&shared, &name, next, position).await };
        let Some(lack) = self.holding(checking).await?.map_err(End::Failed)? else {
            // The active build is further ahead, or has been replaced.
            return Ok(false);
        };
        let pause = begun_at
            .elapsed()
            .saturating_mul(CHECK_SHARE)
            .max(CHECK_PAUSE);
        self.takeover.checked = Some(Checked {
            until: Instant::now() + pause,
            seen,
        });
        let waits = lack.text(&self.name, self.build.version);
        let may = waits.is_none();
        if waits != self.takeover.waits {
            if let Some(waits) = &waits {
                tracing::warn!(projection = &*self.name, "a rebuild waits: {waits}");
            }
            self.takeover.waits = waits;
            self.flush(None).await?;
        }
        Ok(may)
    }
}

/// The counts of both builds, and the documents that the rebuild lost.
#[derive(Debug, Default)]
struct Lack {
    active: BuildCounts,
    next: BuildCounts,
    lost: LostDocuments,
}

/// Compares a rebuild with the active build. Returns `None` while the active build is further
/// ahead.
async fn check(
    shared: &Shared,
    name: &str,
    next: BuildId,
    position: Position,
) -> Result<Option<Lack>, Error> {
    let documents = &shared.documents;
    let stored = documents.projection(name).await?.unwrap_or_default();
    let mut builds = stored.builds.iter();
    let Some(active) = builds.find(|build| build.role == Role::Active) else {
        return Ok(Some(Lack::default()));
    };
    if active.id == next || (!active.is_inline && active.position > position) {
        return Ok(None);
    }
    // An inline build already includes events that were appended meanwhile and that the rebuild has
    // not seen yet.
    let up_to = position.0 + active.change_offset();
    let up_to = active.is_inline.then_some(up_to);
    Ok(Some(Lack {
        active: documents.counts(active.id).await?,
        next: documents.counts(next).await?,
        lost: documents.lost(active.id, next, up_to).await?,
    }))
}

impl Lack {
    /// Explains why the rebuild does not take over automatically, and what to do. `None` if it may.
    fn text(&self, name: &str, version: u32) -> Option<Box<str>> {
        let (active, next) = (&self.active, &self.next);
        let mut reasons = Vec::new();
        if next.parked > active.parked {
            reasons.push(format!(
                "it has parked {} events, the active build {}",
                next.parked, active.parked
            ));
        }
        if next.skipped_by_policy > active.skipped_by_policy {
            reasons.push(format!(
                "its policy skipped {} events, in the active build {}",
                next.skipped_by_policy, active.skipped_by_policy
            ));
        }
        if self.lost.count > 0 {
            let mut reason = format!(
                "it has no trace of {} of the active build's {} documents:",
                self.lost.count, active.documents
            );
            for (number, key) in self.lost.keys.iter().enumerate() {
                let comma = if number > 0 { "," } else { "" };
                // Writing into a String can't fail.
                _ = write!(reason, "{comma} {:?}", shortened(key));
            }
            if self.lost.count > self.lost.keys.len() as u64 {
                reason.push_str(", …");
            }
            reasons.push(reason);
        }
        if reasons.is_empty() {
            return None;
        }
        let text = format!(
            "version {version} does not take over by itself: {}. After a fix \
             `quipu projection {name} retry-parked` retries what is parked; \
             `quipu projection {name} switch` takes it over as it is, `cancel` gives it up",
            reasons.join("; ")
        );
        Some(text.into())
    }
}

/// Truncates a key to 100 bytes.
fn shortened(key: &str) -> &str {
    &key[..key.floor_char_boundary(100)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuild_waits_only_for_what_it_lacks() {
        let counts = |parked, skipped_by_policy| BuildCounts {
            documents: 6,
            parked,
            skipped: 20,
            skipped_by_policy,
        };
        let lack = |active, next, keys: &[&str], count| Lack {
            active,
            next,
            lost: LostDocuments {
                count,
                keys: keys.iter().map(|key| Arc::from(*key)).collect(),
            },
        };
        for (lack, expected) in [
            (lack(counts(2, 2), counts(2, 2), &[], 0), ""),
            (lack(counts(2, 2), counts(0, 0), &[], 0), ""),
            (
                lack(counts(0, 0), counts(9, 0), &[], 0),
                "parked 9 events, the active build 0",
            ),
            (
                lack(counts(0, 1), counts(0, 3), &[], 0),
                "skipped 3 events, in the active build 1",
            ),
            (
                lack(counts(0, 0), counts(0, 0), &["a", "b"], 2),
                "2 of the active build's 6 documents: \"a\", \"b\". After",
            ),
            (
                lack(counts(0, 0), counts(0, 0), &["a"], 3),
                "3 of the active build's 6 documents: \"a\", …",
            ),
        ] {
            let text = lack.text("notes", 2);
            match expected {
                "" => assert_eq!(text, None),
                expected => assert!(text.unwrap().contains(expected), "{expected}"),
            }
        }
    }
}
