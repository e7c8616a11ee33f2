//! The objections against a module that may become active.

use std::collections::{BTreeMap, BTreeSet};

use super::FINDINGS_MAX;
use super::decider_source::ByCategory;
use super::readers::readers;
use super::report::{Kind, Tally, Verified, Weight, shortened};
use crate::deploy::{Prospect, Release, ReleaseChange};
use crate::fold::{self, Agreement};
use crate::model::{Digest, Invalid, Name, StreamId};
use crate::store::{PreflightSummary, SummaryObjection, TypeUse};
use crate::upcast::Route;

/// The number of decisions of a command type from which on fuel is compared, and the increase that
/// is an objection.
const FUEL_DECISIONS_MIN: u64 = 10;
const FUEL_TIMES_MAX: u64 = 3;

/// Which objections block a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Kinds of objections that do not block.
    pub allowed: BTreeSet<Kind>,
}

impl Default for Policy {
    /// Objections that only cost time do not block: more fuel, unusable snapshots, and projections
    /// that are folded from scratch. Neither does a type that is not written any more.
    fn default() -> Self {
        Self {
            allowed: [Kind::Fuel, Kind::Snapshot, Kind::Rebuild, Kind::Unwritten].into(),
        }
    }
}

impl Policy {
    /// Returns the default policy with more kinds that do not block.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn allowing(kinds: &[String]) -> Result<Self, Invalid> {
        let mut policy = Self::default();
        for kind in kinds {
            policy.allowed.insert(kind.parse()?);
        }
        Ok(policy)
    }
}

/// The result of a preflight.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// The candidate release.
    pub release: Release,
    /// The release's first component.
    pub module: Digest,
    /// The name of the first component.
    pub name: String,
    /// The names of the other components.
    pub others: Vec<String>,
    /// Number of the plan that the activation would make.
    pub plan: u64,
    /// Categories that the candidate would serve differently.
    pub categories: Vec<String>,
    /// The objections against the candidate.
    pub objections: Vec<Objection>,
    /// What the release changes for others: the first [`FINDINGS_MAX`], those that break something
    /// first. They are no objections.
    pub changes: Vec<ReleaseChange>,
    /// The results of re-deciding recorded commands with the candidate.
    pub decided: Verified,
}

/// An objection against a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// Kind of the objection.
    pub kind: Kind,
    /// How often it was found.
    pub count: u64,
    /// Whether it blocks an activation under the policy.
    pub blocks: bool,
    /// A description for operators.
    pub text: String,
}

impl Preflight {
    /// Whether no objection blocks the candidate.
    pub fn passes(&self) -> bool {
        self.objections.iter().all(|objection| !objection.blocks)
    }

    /// Returns the texts of the objections that block an activation.
    pub fn blocking(&self) -> impl Iterator<Item = &str> {
        let blocking = self.objections.iter().filter(|objection| objection.blocks);
        blocking.map(|objection| &*objection.text)
    }

    /// Returns the summary that is stored in the history of the plan.
    pub fn summary(&self) -> PreflightSummary {
        let objections = self.objections.iter().take(FINDINGS_MAX);
        let objections = objections.map(|objection| SummaryObjection {
            kind: objection.kind.to_string(),
            count: objection.count,
            blocks: objection.blocks,
            text: shortened(&objection.text),
        });
        let decisions = || self.decided.commands.values();
        PreflightSummary {
            passes: self.passes(),
            plan: self.plan,
            until: self.decided.until.0,
            head: self.decided.head.0,
            decided: decisions()
                .map(|tally| tally.all_same() + tally.not_the_same())
                .sum(),
            same: decisions().map(Tally::all_same).sum(),
            objections: objections.collect(),
        }
    }

    /// Whether the whole log was checked.
    pub fn is_whole(&self) -> bool {
        self.decided.until == self.decided.head
    }
}

/// Returns the first changes, with texts of limited length.
fn listed(changes: &[ReleaseChange]) -> Vec<ReleaseChange> {
    let first = changes.iter().take(FINDINGS_MAX).cloned();
    let listed = first.map(|mut it| {
        it.change.text = shortened(&it.change.text);
        it
    });
    listed.collect()
}

/// Collects objections.
#[derive(Debug, Default)]
pub(super) struct Objections {
    found: Vec<(Kind, u64, String)>,
    /// Objections that never block, regardless of the policy.
    excused: Vec<(Kind, u64, String)>,
    /// Number of snapshots by the result of their comparison, with the first reason.
    snapshots: BTreeMap<&'static str, (u64, String)>,
}

impl Objections {
    /// Adds types and versions in the log that the candidate can't read. Those that the active
    /// decider can't read either do not block.
    pub(super) fn types(
        &mut self,
        (rules, active): (&ByCategory, &ByCategory),
        stored: Vec<TypeUse>,
    ) {
        for used in stored {
            let Some(rules) = rules.get(&*used.category) else {
                continue;
            };
            let (name, version) = (&used.name, used.schema_version);
            let why = match rules.lift.route(name, version) {
                Route::Unknown => "it does not know".to_owned(),
                Route::TooNew(named) => format!("of which it reads version {named}"),
                _ => continue,
            };
            let (category, first) = (&used.category, used.oldest.0);
            let text = format!(
                "{category} events {name} of schema version {version}, {why}: {}, the first at \
                 position {first}",
                used.events
            );
            let active = active.get(&*used.category);
            let route = active.map(|active| active.lift.route(name, version));
            match route {
                Some(Route::Unknown | Route::TooNew(_)) => {
                    let text = format!("{text}; the active decider can't read it either");
                    self.excused.push((Kind::EventType, used.events, text));
                }
                _ => self.found.push((Kind::EventType, used.events, text)),
            }
        }
    }

    /// Adds events that projections could not read, or would not receive any more.
    pub(super) fn readers(&mut self, prospect: &Prospect) {
        self.found.extend(readers(prospect));
    }

    /// Adds the result of comparing a stored snapshot with what the candidate folds.
    pub(super) fn snapshot(&mut self, stream: &StreamId, worth: &Result<Agreement, fold::Error>) {
        let (worth, why) = match worth {
            Ok(Agreement::Agrees) => return,
            Ok(Agreement::Differs) => ("say something else than it folds", String::new()),
            Ok(Agreement::Unusable(why)) => ("can't be opened by it", format!(" ({why})")),
            // The finding about the events says why.
            Err(_) => return,
        };
        let first = || (0, format!("as that of {stream}{why}"));
        self.snapshots.entry(worth).or_insert_with(first).0 += 1;
    }

    /// Returns all objections, together with the results of the decisions.
    pub(super) fn concluded(
        mut self,
        prospect: &Prospect,
        decided: Verified,
        policy: &Policy,
    ) -> Preflight {
        for (worth, (count, why)) in std::mem::take(&mut self.snapshots) {
            let text = format!(
                "{count} of the newest snapshots {worth}, {why}; streams are folded from their \
                 events then"
            );
            self.found.push((Kind::Snapshot, count, text));
        }
        for (kind, what) in [
            (Kind::Fold, "streams that it can't fold"),
            (Kind::Order, "places where the log has holes"),
        ] {
            self.log(&decided, kind, what);
        }
        for ((category, command), tally) in &decided.commands {
            self.command(category, command, tally);
        }
        let names = prospect.modules.iter();
        let mut names = names.map(|module| module.manifest().name.as_str().to_owned());
        let objection = |(kind, count, text), blocks| Objection {
            kind,
            count,
            blocks,
            text,
        };
        let found = self.found.into_iter();
        let found = found.map(|it| {
            let blocks = !policy.allowed.contains(&it.0);
            objection(it, blocks)
        });
        let excused = self.excused.into_iter().map(|it| objection(it, false));
        let objections = found.chain(excused);
        Preflight {
            module: prospect
                .release
                .digests
                .first()
                .copied()
                .unwrap_or(Digest([0; 32])),
            name: names.next().unwrap_or_default(),
            others: names.collect(),
            release: prospect.release.clone(),
            plan: prospect.next.number - 1,
            categories: prospect.categories.clone(),
            objections: objections.collect(),
            changes: listed(&prospect.changes),
            decided,
        }
    }

    /// Adds a problem of the log itself, which may concern the active decider too.
    fn log(&mut self, decided: &Verified, kind: Kind, what: &str) {
        let all = decided.found.get(&kind).copied().unwrap_or_default();
        let acknowledged = decided.acknowledged.get(&kind).copied();
        let acknowledged = acknowledged.unwrap_or_default();
        let shared = match kind {
            Kind::Fold => decided.shared,
            _ => 0,
        };
        let open = all.saturating_sub(acknowledged + shared);
        let text = |weight: Weight, what: &str, count: u64| {
            let mut findings = decided.findings.iter();
            let first = findings.find(|found| found.kind == kind && found.weight == weight);
            let why = first.map_or_else(String::new, |found| {
                let (stream, version) = (&found.stream, found.version);
                format!(", {stream} at version {version} first: {}", found.text)
            });
            format!("{what}: {count}{why}")
        };
        if open > 0 {
            let text = text(Weight::Open, what, open);
            self.found.push((kind, open, text));
        }
        if acknowledged > 0 {
            let what = format!("{what}, which are acknowledged");
            let text = text(Weight::Acknowledged, &what, acknowledged);
            self.excused.push((kind, acknowledged, text));
        }
        if shared > 0 {
            let what = "streams that the active decider can't fold either";
            let text = text(Weight::Shared, what, shared);
            self.excused.push((kind, shared, text));
        }
    }

    fn command(&mut self, category: &str, command: &Name, tally: &Tally) {
        let all = tally.all_same() + tally.not_the_same();
        for (kind, count, what) in [
            (Kind::Decision, tally.different, "come to other events"),
            (Kind::Rejected, tally.rejected, "are rejected"),
            (Kind::Command, tally.unread, "can't be read"),
            (Kind::Fault, tally.failed, "make it fail"),
            (
                Kind::Impure,
                tally.impure,
                "are decided otherwise by a fresh instance",
            ),
        ] {
            if count > 0 {
                let text = format!("{category} {command}: {count} of {all} {what}");
                self.found.push((kind, count, text));
            }
        }
        let refusals = &tally.refusals;
        let all_refused = refusals.same + refusals.other + refusals.accepted + refusals.failed;
        for (kind, count, what) in [
            (Kind::Accepted, refusals.accepted, "are accepted"),
            (
                Kind::Rejection,
                refusals.other,
                "are rejected with another code",
            ),
            (
                Kind::Fault,
                refusals.failed,
                "can't be read, or make it fail",
            ),
        ] {
            if count > 0 {
                let text = format!(
                    "{category} {command}: {count} of {all_refused} that were rejected {what}"
                );
                self.found.push((kind, count, text));
            }
        }
        let recorded = tally.fuel_recorded.max(1);
        if all >= FUEL_DECISIONS_MIN && tally.fuel > recorded.saturating_mul(FUEL_TIMES_MAX) {
            let times = tally.fuel as f64 / recorded as f64;
            let text = format!("{category} {command} takes {times:.1} times the fuel");
            self.found.push((Kind::Fuel, all, text));
        }
    }
}
