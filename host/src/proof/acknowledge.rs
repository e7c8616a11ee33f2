//! Findings that an operator has acknowledged. They are counted, but do not fail a run.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::Error;
use super::name::FindingName;
use super::prover::Prover;
use super::reassemble::Whole;
use super::replay::{Lane, failed, is_of_the_stream};
use super::report::{DocumentFinding, Finding, Kind, Verified, Weight};
use super::state_cache::States;
use crate::fold::Rules;
use crate::model::{Context, Invalid, Mismatch, Position, REASON_BYTES_MAX, StreamId, Version};
use crate::store::{
    self, ACKNOWLEDGED_MAX, ACKNOWLEDGED_PAGE_MAX, Acknowledgement, AcknowledgementStore, Direction,
};

/// The names that were acknowledged when a run started.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    names: HashSet<Box<str>>,
}

impl Acknowledged {
    /// Returns the weight of a finding with this name.
    pub(super) fn weight(&self, name: &FindingName) -> Weight {
        match self.names.contains(name.as_str()) {
            true => Weight::Acknowledged,
            false => Weight::Open,
        }
    }
}

impl Prover {
    /// Acknowledges a finding by its name, and replaces an earlier acknowledgement of it. The
    /// finding need not exist: only the form of the name is checked.
    ///
    /// # Errors
    /// When the name, the reason or `by` is not well-formed, the maximum number of acknowledgements
    /// is stored, or the store fails.
    pub async fn acknowledge(
        &self,
        finding: &str,
        reason: &str,
        by: Option<&str>,
    ) -> Result<Acknowledgement, Error> {
        let finding: FindingName = finding.parse()?;
        let found = reason.len();
        if !(1..=REASON_BYTES_MAX).contains(&found) {
            return Err(Error::Invalid(Invalid(format!(
                "a reason has 1 to {REASON_BYTES_MAX} bytes, this one has {found}"
            ))));
        }
        if reason.trim().is_empty() || reason.chars().any(char::is_control) {
            let why = "a reason is one line of text, without control characters";
            return Err(Error::Invalid(Invalid(why.to_owned())));
        }
        let by = Context {
            principal: by.map(Into::into),
            ..Context::default()
        };
        let by = by.checked()?.principal;
        let acknowledgement = Acknowledgement {
            finding: finding.as_str().into(),
            reason: reason.into(),
            at: self.clock.now(),
            by: by.as_deref().map(Into::into),
        };
        let store = &self.acknowledgements;
        match store.acknowledge(&acknowledgement).await? {
            true => Ok(acknowledgement),
            false => Err(Error::TooManyAcknowledged(ACKNOWLEDGED_MAX)),
        }
    }

    /// Withdraws an acknowledgement.
    ///
    /// # Errors
    /// When the finding is not acknowledged, the name is not well-formed, or the store fails.
    pub async fn withdraw(&self, finding: &str) -> Result<(), Error> {
        let name: FindingName = finding.parse()?;
        match self.acknowledgements.withdraw(name.as_str()).await? {
            true => Ok(()),
            false => Err(Error::NotAcknowledged(name)),
        }
    }

    /// Lists up to `limit` acknowledgements, at most 1,000, sorted by name, after the given name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn acknowledged(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Acknowledgement>, Error> {
        Ok(self.acknowledgements.acknowledged(after, limit).await?)
    }

    /// Starts a verification. No other run can start until it is dropped.
    ///
    /// # Errors
    /// When a run is under way, or the store fails.
    pub async fn begin(&self) -> Result<Run<'_>, Error> {
        let Ok(guard) = self.under_way.try_lock() else {
            return Err(Error::UnderWay);
        };
        Ok(Run {
            prover: self,
            acknowledged: acknowledged_names(&*self.acknowledgements, |_| true).await?,
            _guard: guard,
        })
    }

    /// Returns the acknowledged names that apply to a candidate: those of `fold` and `order`
    /// findings, because they are about the log itself. Other acknowledgements do not apply,
    /// because such findings would be about the candidate's own decisions.
    pub(super) async fn acknowledged_of_log(&self) -> Result<Arc<Acknowledged>, Error> {
        let of_log = |name: &str| {
            let kind = name.split_once(':').map(|(kind, _)| kind);
            kind == Some(Kind::Fold.as_str()) || kind == Some(Kind::Order.as_str())
        };
        acknowledged_names(&*self.acknowledgements, of_log).await
    }
}

/// Reads the names of acknowledged findings that `takes` selects.
pub(super) async fn acknowledged_names(
    acknowledgements: &dyn AcknowledgementStore,
    takes: impl Fn(&str) -> bool,
) -> Result<Arc<Acknowledged>, Error> {
    let mut names = HashSet::new();
    let mut after: Option<Box<str>> = None;
    loop {
        let page = acknowledgements.acknowledged(after.as_deref(), ACKNOWLEDGED_PAGE_MAX);
        let page = page.await?;
        let Some(last) = page.last() else {
            return Ok(Arc::new(Acknowledged { names }));
        };
        after = Some(last.finding.clone());
        let taken = page.into_iter().map(|it| it.finding);
        names.extend(taken.filter(|name| takes(name)));
    }
}

/// A verification. No other run can start on this host while it exists.
pub struct Run<'a> {
    pub(super) prover: &'a Prover,
    pub(super) acknowledged: Arc<Acknowledged>,
    _guard: MutexGuard<'a, ()>,
}

impl Run<'_> {
    /// Adds a document that differs from what it should be.
    pub fn find_document(
        &self,
        verified: &mut Verified,
        (projection, mismatch, key): (&str, Mismatch, &str),
        position: Position,
        text: String,
    ) {
        let name = FindingName::of_document(projection, mismatch, key);
        verified.find_document(DocumentFinding {
            weight: self.acknowledged.weight(&name),
            name,
            projection: projection.into(),
            key: key.into(),
            mismatch,
            position,
            text,
        });
    }
}

impl Lane {
    /// Adds a finding.
    pub(super) fn find(&mut self, mut finding: Finding) {
        finding.weight = self.acknowledged.weight(&finding.name);
        self.verified.find(finding);
    }

    /// Adds a finding about a commit whose stream can't be folded up to there. The finding names
    /// the first version that can't be folded, no matter at which commit that was noticed.
    pub(super) fn find_fold(
        &mut self,
        mut finding: Finding,
        rules: Option<&Arc<Rules>>,
        whole: &Whole,
    ) -> Result<(), store::Error> {
        let last = whole
            .events
            .last()
            .map_or(finding.version, |last| last.version);
        let mut fresh = States::new(self.source.clone());
        let first = match rules {
            Some(rules) => fresh.first_unfoldable(rules, &finding.stream, last),
            None => Ok(None),
        };
        if let Some(first) = first.map_err(failed)? {
            let mut events = whole.events.iter();
            let known = events.find(|event| event.version == first);
            let position = match known.map(|event| event.position) {
                Some(position) => Some(position),
                None => self.position(&finding.stream, first)?,
            };
            // Events before the mark of a truncated stream can't be read by version.
            finding.position = position.unwrap_or(finding.position);
            finding.version = first;
        }
        self.find_located(finding)
    }

    /// Does the same for a rejection that was made at a version.
    pub(super) fn find_fold_before(
        &mut self,
        mut finding: Finding,
        rules: &Arc<Rules>,
    ) -> Result<(), store::Error> {
        let mut fresh = States::new(self.source.clone());
        let first = fresh.first_unfoldable(rules, &finding.stream, finding.version);
        if let Some(first) = first.map_err(failed)? {
            finding.version = first;
        }
        self.find_located(finding)
    }

    fn find_located(&mut self, mut finding: Finding) -> Result<(), store::Error> {
        let (stream, version) = (&finding.stream, finding.version);
        finding.name = FindingName::at(Kind::Fold, stream, version);
        finding.weight = self.acknowledged.weight(&finding.name);
        if finding.weight == Weight::Open
            && let Some(active) = self.judge.active(stream.category())
        {
            let mut fresh = States::new(self.source.clone());
            let can_fold = fresh.can_fold(active, stream, version);
            if !can_fold.map_err(failed)? {
                finding.weight = Weight::Shared;
            }
        }
        self.verified.find(finding);
        Ok(())
    }

    fn position(
        &self,
        stream: &StreamId,
        version: Version,
    ) -> Result<Option<Position>, store::Error> {
        let reader = &self.source.reader;
        let reading = reader.read_stream(stream, version, Direction::Forward, 1);
        match self.source.runtime.block_on(reading) {
            Ok(page) => {
                let mut events = page.into_iter().flat_map(|page| page.events);
                let found = events.find(|event| event.version == version);
                Ok(found.map(|event| event.position))
            }
            // Reading the page fails at a damaged event, and the finding is about that event.
            Err(error) if is_of_the_stream(&error.clone().into()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
