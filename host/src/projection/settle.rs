//! Rechecks documents that differ from what was folded, because their build continues meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::folded::{Folded, Skips, Value};
use super::parked::Parked;
use super::verify::{Checking, Halt};
use crate::model::Position;
use crate::store::{Role, Subject};

/// How often a document that keeps changing is checked, and the first pause between two checks. The
/// pause doubles each time: about a second in total.
const CHECKS_MAX: u32 = 8;
const CHECK_PAUSE: Duration = Duration::from_millis(10);

/// A document that differed from what was folded when it was last checked.
pub(super) struct Suspect {
    pub key: Arc<str>,
    pub folded: Option<Arc<str>>,
    /// The position up to which the document is folded.
    pub at: Position,
    /// The document that was stored then and its change number, which is 0 if there was none.
    pub seen: (Option<Arc<str>>, u64),
}

impl Checking<'_> {
    /// Rechecks documents for as long as they keep changing, within limits.
    pub(super) async fn settle(&mut self, mut suspects: Vec<Suspect>) -> Result<(), Halt> {
        for round in 1..=CHECKS_MAX {
            if suspects.is_empty() {
                break;
            }
            if round > 1 {
                tokio::time::sleep(CHECK_PAUSE * (1 << (round - 2))).await;
            }
            let (reached, _) = self.reached().await?;
            let keys: Vec<Arc<str>> = suspects.iter().map(|it| Arc::clone(&it.key)).collect();
            let documents = &self.shared.documents;
            let stored = documents.documents(self.build.id, &keys).await?;
            // Read after the documents, because events may have been parked for them meanwhile.
            let parked = Parked::read(&**documents, self.build.id).await?;
            if streams(&parked) != streams(&self.parked) {
                return Err(Halt::Changed);
            }
            // A document may be visible before the log can be read up to its change.
            let (_, head) = self.reached().await?;
            let mut pairs = Vec::with_capacity(suspects.len());
            for (suspect, stored) in suspects.into_iter().zip(stored) {
                if parked.holds_document(&suspect.key) {
                    self.compared.parked += 1;
                    continue;
                }
                let stored = stored.map_or((None, 0), |it| (it.document, it.change));
                pairs.push((suspect, stored));
            }
            // A change number may be greater than the position of its event. So the document is
            // compared first at the position of its build, then at its own change number.
            for may_go_on in [false, true] {
                let until = |change: u64| match may_go_on {
                    true => Position(change).min(head),
                    false => Position(change).min(reached),
                };
                pairs = self.fold_on(pairs, until).await?;
                pairs.retain(|(suspect, (stored, _))| {
                    let is_same = suspect.folded == *stored;
                    self.compared.same += u64::from(is_same && stored.is_some());
                    !is_same
                });
            }
            suspects = Vec::new();
            for (mut suspect, stored) in pairs {
                let is_settled = suspect.seen == stored && stored.1 <= head.0;
                if is_settled || round == CHECKS_MAX {
                    self.report_different(&suspect, stored.0.as_ref());
                } else {
                    suspect.seen = stored;
                    suspects.push(suspect);
                }
            }
        }
        Ok(())
    }

    /// Returns the position of the build, and the position up to which the log can be read. The
    /// build must not have changed since folding started.
    async fn reached(&mut self) -> Result<(Position, Position), Halt> {
        let name = &*self.rules.name;
        let head = self.shared.reader.log_head().await?;
        let stored = self.shared.documents.projection(name).await?;
        let mut builds = stored.into_iter().flat_map(|stored| stored.builds);
        let build = builds.find(|build| build.id == self.build.id);
        let build = build.filter(|it| it.module == self.build.module && it.role == Role::Active);
        let build = build.ok_or(Halt::Changed)?;
        if self.shared.registry.plan().number != self.rules.plan.number {
            return Err(Halt::Changed);
        }
        let position = match build.is_inline {
            true => head,
            false => build.position,
        };
        Ok((position, head))
    }

    /// Folds suspects further, each up to a position that depends on its stored change. Those that
    /// can't be folded are reported and left out.
    async fn fold_on<S>(
        &mut self,
        suspects: Vec<(Suspect, (S, u64))>,
        until: impl Fn(u64) -> Position,
    ) -> Result<Vec<(Suspect, (S, u64))>, Halt> {
        let mut targets: HashMap<Arc<str>, (Position, Position)> = HashMap::new();
        let mut folded = Folded::default();
        for (suspect, (_, change)) in &suspects {
            let until = until(*change);
            if until > suspect.at {
                targets.insert(Arc::clone(&suspect.key), (suspect.at, until));
                folded.put(Arc::clone(&suspect.key), suspect.folded.clone());
            }
        }
        let from = targets.values().map(|(from, _)| *from).min();
        let to = targets.values().map(|(_, to)| *to).max();
        let (Some(mut at), Some(to)) = (from, to) else {
            return Ok(suspects);
        };
        let mut skips = Skips::after(at);
        let wanted = |key: &Arc<str>| targets.get(key).copied();
        while at < to {
            let (events, next) = self.page(at, to).await?;
            self.fold(events, &wanted, &mut folded, &mut skips).await?;
            at = next;
        }
        let mut all = Vec::with_capacity(suspects.len());
        for (mut suspect, stored) in suspects {
            if let Some((_, until)) = targets.get(&suspect.key) {
                suspect.at = *until;
                suspect.folded = match folded.take(&suspect.key) {
                    Some(Value::Document(document)) => Some(document),
                    None => None,
                    Some(Value::Failed(stuck)) => {
                        self.report_unfoldable(suspect.key, &stuck);
                        continue;
                    }
                };
            }
            all.push((suspect, stored));
        }
        Ok(all)
    }
}

/// Returns the streams for which events are parked, with the first event of each.
fn streams(parked: &Parked) -> Vec<(Subject, Option<Position>)> {
    let subjects = parked.subjects().into_iter();
    let streams = subjects.filter(|subject| matches!(subject, Subject::Stream(_)));
    streams
        .map(|subject| {
            let first = parked.first(&subject);
            (subject, first)
        })
        .collect()
}
