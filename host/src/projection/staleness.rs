//! Decides whether the documents of a build are those that a rebuild would produce.
//!
//! A build records the plan under whose rules it was folded. When the plan changes, every stored
//! form of events that the build has processed is compared. If the projection reads one of them
//! differently than before, the build is stale, and a rebuild is started next to the active build.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Error;
use super::owner::{End, Owner};
use super::shared::{Shared, blocking};
use crate::deploy::{self, ChangedForm, Plan, Sources, moved};
use crate::model::{Position, REASON_BYTES_MAX, RecordedEvent};
use crate::runtime::{Definition, Module};
use crate::store::{self, Build, Direction, Filter, LOG_PAGE_MAX, TypeUse};

/// Limit for the number of events that are lifted both ways to find out whether other components
/// lift them the same way. A build that has processed more of them is stale without a check.
const COMPARED_MAX: usize = 200_000;

/// Limit for the number of forms that a reason names.
const NAMED_MAX: usize = 3;

/// Whether a build has the documents that a rebuild would produce, as far as its owner knows.
pub(super) struct Verdict {
    /// The plan under which the build was last checked. Unless the build is stale, the rules of
    /// this plan would produce the same documents. `None` if it was never checked.
    pub(super) plan: Option<u64>,
    /// Why the build is stale.
    pub(super) stale: Option<Box<str>>,
    /// Whether this has yet to be written.
    pub(super) is_new: bool,
}

/// The events that a build has folded.
#[derive(Debug, Clone, Copy)]
enum FoldedRange {
    /// All events up to a position.
    Position(Position),
    /// All events that were committed under a plan, or an earlier one.
    Plan(u64),
}

impl FoldedRange {
    fn has(self, event: &RecordedEvent) -> bool {
        match self {
            Self::Position(position) => event.position <= position,
            Self::Plan(plan) => event.commit.plan <= plan,
        }
    }
}

impl Owner {
    /// Adopts the rules of a new plan, which may have other upcasters and settings. Everything so
    /// far was folded by the previous rules, so this first checks whether the new ones would
    /// produce the same documents.
    pub(super) async fn renew_rules(&mut self) -> Result<(), End> {
        let plan = self.shared.registry.plan();
        if self.verdict.plan == Some(plan.number) && plan.number == self.rules.plan.number {
            return Ok(());
        }
        if self.progress.folded > self.progress.stored {
            self.flush(None).await?;
        }
        let rules = self.shared.rules(&self.name, self.build.module).await;
        let rules = Arc::new(rules.map_err(End::Failed)?);
        if self.verdict.stale.is_none() {
            let build = Build {
                position: self.progress.folded,
                plan: self.verdict.plan,
                ..self.build.clone()
            };
            let (shared, judging) = (Arc::clone(&self.shared), Arc::clone(&rules));
            let judging = async move {
                let folded_by = (&*judging.name, &judging.module);
                shared.stale_since(folded_by, &build, &judging.plan).await
            };
            self.verdict.stale = self.holding(judging).await?.map_err(End::Failed)?;
            if let Some(reason) = &self.verdict.stale {
                tracing::info!(projection = &*self.name, %reason, "a build is stale");
            }
        }
        self.verdict.plan = Some(rules.plan.number);
        self.verdict.is_new = true;
        self.rules = rules;
        let settings = self.rules.plan.projection(&self.name);
        self.on_error = settings.map(|it| it.settings).unwrap_or_default().on_error;
        self.keep_judgement().await?;
        if self.verdict.stale.is_some() {
            self.shared.notify();
        }
        Ok(())
    }
}

impl Shared {
    /// Returns why a build is stale under the plan `now`, or `None` if it is not. The build has
    /// folded everything up to its position by the rules of an earlier plan.
    pub(super) async fn stale_since(
        &self,
        (name, module): (&str, &Arc<Module>),
        build: &Build,
        now: &Arc<Plan>,
    ) -> Result<Option<Box<str>>, Error> {
        let passed = FoldedRange::Position(build.position);
        if let Some(judged) = build.plan {
            return self
                .stale_between((name, module), (judged, now), |_| passed)
                .await;
        }
        // It is unknown which rules folded the build, so none of them may have changed since it was
        // started.
        for plan in self.plan_of(build).await?..now.number {
            let next = self.plan_at(plan + 1, now).await;
            let reason = match next {
                Ok(next) => {
                    let found = self.stale_between((name, module), (plan, &next), |_| passed);
                    found.await?
                }
                Err(why) => Some(why),
            };
            if reason.is_some() {
                return Ok(reason);
            }
        }
        Ok(None)
    }

    /// Checks an inline build against each plan that came since its last check, and stores the
    /// result. Each append was folded by the rules of its own plan.
    pub(super) async fn judge_inline(
        &self,
        (name, module): (&str, &Arc<Module>),
        build: &Build,
        now: &Arc<Plan>,
    ) -> Result<(), Error> {
        let from = build.plan.unwrap_or_default();
        let mut reason = None;
        if build.stale.is_none() {
            let first = match build.plan {
                Some(plan) => plan,
                None => self.plan_of(build).await?,
            };
            for plan in first..now.number {
                let next = self.plan_at(plan + 1, now).await;
                reason = match next {
                    Ok(next) => {
                        let between = (plan, &next);
                        let found = self.stale_between((name, module), between, FoldedRange::Plan);
                        found.await?
                    }
                    Err(why) => Some(why),
                };
                if reason.is_some() {
                    break;
                }
            }
        }
        let plans = (from, now.number);
        let judging = self.documents.judge(build.id, plans, reason.as_deref());
        judging.await?;
        if let Some(reason) = reason {
            tracing::info!(projection = name, %reason, "an inline build is stale");
            self.notify();
        }
        Ok(())
    }

    /// Returns the plan under which a build was started. Used if the store does not have it.
    async fn plan_of(&self, build: &Build) -> Result<u64, Error> {
        let history = self.registry.history().await?;
        let before = history.iter().rev();
        let mut before = before.filter(|it| it.activated_at <= build.started_at);
        Ok(before.next().map_or(0, |it| it.plan))
    }

    /// Returns the current plan or an earlier one. If it is not known any more, the error says why.
    async fn plan_at(&self, number: u64, now: &Arc<Plan>) -> Result<Arc<Plan>, Box<str>> {
        if number == now.number {
            return Ok(Arc::clone(now));
        }
        let plan = self.registry.plan_at(number).await;
        plan.map_err(|error| format!("plan {number} can't be read any more: {error}").into())
    }

    /// Returns why events that a build has folded under one plan would be folded differently under
    /// the next one.
    async fn stale_between(
        &self,
        (name, module): (&str, &Arc<Module>),
        (from, to): (u64, &Arc<Plan>),
        passed: impl Fn(u64) -> FoldedRange,
    ) -> Result<Option<Box<str>>, Error> {
        let Some(definition) = module.projection(name).filter(|_| from != to.number) else {
            return Ok(None);
        };
        let before = match self.plan_at(from, to).await {
            Ok(before) => before,
            Err(why) => return Ok(Some(why)),
        };
        let (before, now) = (sources(&before, definition), sources(to, definition));
        if before.is_same(&now) {
            return Ok(None);
        }
        let stored = self.types.types().await?;
        let moved = moved(&before, &now, &stored);
        let moved = self.passed(moved, passed(from)).await?;
        let is_alike = !moved.is_empty() && moved.iter().all(ChangedForm::is_alike);
        if moved.is_empty()
            || is_alike
                && self
                    .lifts_alike((&before, &now), &moved, passed(from))
                    .await?
        {
            return Ok(None);
        }
        Ok(Some(reason(&moved, to.number)))
    }

    /// Returns the forms of which the build has folded an event.
    async fn passed(
        &self,
        moved: Vec<ChangedForm>,
        passed: FoldedRange,
    ) -> Result<Vec<ChangedForm>, Error> {
        let mut found = Vec::with_capacity(moved.len());
        for moved in moved {
            let oldest = moved.form.oldest.0;
            let is_passed = match passed {
                FoldedRange::Position(position) => oldest <= position,
                FoldedRange::Plan(_) => {
                    let after = Position(oldest.0.saturating_sub(1));
                    let all = Filter::default();
                    let page = self.reader.read_log(after, Direction::Forward, 1, &all);
                    let page = page.await?;
                    page.events.first().is_some_and(|first| passed.has(first))
                }
            };
            if is_passed {
                found.push(moved);
            }
        }
        Ok(found)
    }

    /// Whether stored events of some forms are lifted to the same result under two plans.
    async fn lifts_alike(
        &self,
        (before, now): (&Arc<Sources>, &Arc<Sources>),
        moved: &[ChangedForm],
        passed: FoldedRange,
    ) -> Result<bool, Error> {
        let forms: Vec<TypeUse> = moved.iter().map(|moved| moved.form.clone()).collect();
        let categories: BTreeSet<&str> = forms.iter().map(|form| &*form.category).collect();
        let filter = Filter {
            categories: Some(categories.into_iter().map(Into::into).collect()),
            types: Some(forms.iter().map(|form| form.name.clone()).collect()),
            ..Filter::default()
        };
        let is_wanted = move |event: &RecordedEvent| {
            let mut forms = forms.iter();
            passed.has(event)
                && forms.any(|form| {
                    *form.category == *event.stream.category()
                        && form.name == event.name
                        && form.schema_version == event.schema_version
                })
        };
        let (mut at, mut compared) = (Position(0), 0);
        loop {
            let page = self
                .reader
                .read_log(at, Direction::Forward, LOG_PAGE_MAX, &filter);
            let page = page.await?;
            let events: Vec<Arc<RecordedEvent>> = page
                .events
                .into_iter()
                .filter(&is_wanted)
                .map(Arc::new)
                .collect();
            compared += events.len();
            if compared > COMPARED_MAX {
                return Ok(false);
            }
            let (before, now) = (Arc::clone(before), Arc::clone(now));
            let lifter = Arc::clone(&self.guests.lifter);
            let is_same = blocking(move || -> Result<bool, store::Error> {
                let lift = |sources: &Sources, events| {
                    let lifted = sources.lift_all(&lifter, events);
                    match &lifted.failed {
                        Some(failed) if failed.error.is_of_host() => {
                            Err(store::Error::Unavailable(failed.error.to_string()))
                        }
                        _ => Ok(lifted),
                    }
                };
                let (one, other) = (lift(&before, events.clone())?, lift(&now, events.clone())?);
                // An event that can't be lifted hides those after it.
                let is_whole = one.failed.is_none() && other.failed.is_none();
                if is_whole && is_same(&one, &other) {
                    return Ok(true);
                }
                for event in events {
                    let one = vec![event];
                    if !is_same(&lift(&before, one.clone())?, &lift(&now, one)?) {
                        return Ok(false);
                    }
                }
                Ok(true)
            });
            if !is_same.await?? {
                return Ok(false);
            }
            match page.next {
                Some(next) if !matches!(passed, FoldedRange::Position(last) if next > last) => {
                    at = next
                }
                _ => return Ok(true),
            }
        }
    }
}

fn sources(plan: &Arc<Plan>, definition: &Definition) -> Arc<Sources> {
    Arc::new(Sources::new(plan, definition))
}

/// Whether events that were lifted in two ways look the same to a reader.
fn is_same(
    one: &deploy::Readable<Arc<RecordedEvent>>,
    other: &deploy::Readable<Arc<RecordedEvent>>,
) -> bool {
    let is_same_event = |(one, other): (&Arc<RecordedEvent>, &Arc<RecordedEvent>)| {
        one.position == other.position
            && one.name == other.name
            && one.schema_version == other.schema_version
            && one.body == other.body
    };
    let failed = |readable: &deploy::Readable<_>| readable.failed.as_ref().map(|it| it.position);
    failed(one) == failed(other)
        && one.events.len() == other.events.len()
        && one.events.iter().zip(&other.events).all(is_same_event)
}

/// Describes the changes for operators.
fn reason(moved: &[ChangedForm], plan: u64) -> Box<str> {
    let form = |moved: &ChangedForm| {
        let TypeUse {
            category,
            name,
            schema_version,
            events,
            ..
        } = &moved.form;
        let change = match (&moved.before, &moved.now) {
            (None, _) => "are read now",
            (_, None) => "are not read any more",
            _ => "are read in another way",
        };
        format!("{events} {category} events {name} of version {schema_version} {change}")
    };
    let mut reason = format!("since plan {plan} ");
    let named: Vec<String> = moved.iter().take(NAMED_MAX).map(form).collect();
    reason += &named.join(", ");
    if moved.len() > NAMED_MAX {
        reason += &format!(", and {} other forms", moved.len() - NAMED_MAX);
    }
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason.into()
}
