//! Selects the modules that re-decide recorded commands.

use std::collections::HashMap;
use std::sync::Arc;

use crate::deploy::Past;
use crate::fold::Rules;
use crate::model::{Digest, Rejection, StreamId};
use crate::store::Rejected;

/// The modules that re-decide recorded commands.
#[derive(Debug)]
pub(super) enum Judge {
    /// The modules that made the decisions: those of each commit's plan.
    Past(Past),
    /// The candidates, by category. Other categories are not checked.
    Candidate(Candidates),
}

/// Rules by category.
pub(super) type ByCategory = HashMap<Box<str>, Arc<Rules>>;

/// The candidates, and the active modules they would replace.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub rules: ByCategory,
    /// The rules that decide now.
    pub active: ByCategory,
}

impl Judge {
    /// Whether commands are re-decided by the modules that decided them.
    pub(super) fn is_past(&self) -> bool {
        matches!(self, Self::Past(_))
    }

    /// Whether a decision under a plan can be repeated. It can't if the plan is newer than the
    /// history that was read.
    pub(super) fn knows(&self, plan: u64) -> bool {
        match self {
            Self::Past(past) => plan <= past.last(),
            Self::Candidate(_) => true,
        }
    }

    /// Whether the streams of a category are checked.
    pub(super) fn is_for(&self, category: &str) -> bool {
        match self {
            Self::Past(_) => true,
            Self::Candidate(candidates) => candidates.rules.contains_key(category),
        }
    }

    /// Returns the candidate rules that would fold the streams of a category, even if other rules
    /// decided their events.
    pub(super) fn rules_to_come(&self, category: &str) -> Option<&Arc<Rules>> {
        match self {
            Self::Past(_) => None,
            Self::Candidate(candidates) => candidates.rules.get(category),
        }
    }

    /// Whether decisions are repeated in a new instance.
    pub(super) fn asks_twice(&self) -> bool {
        !self.is_past()
    }

    /// Returns the active rules that a candidate would replace, if there are any.
    pub(super) fn active(&self, category: &str) -> Option<&Arc<Rules>> {
        match self {
            Self::Past(_) => None,
            Self::Candidate(candidates) => candidates.active.get(category),
        }
    }

    /// Returns the categories that are checked. `None` means all of them.
    pub(super) fn categories(&self) -> Option<impl Iterator<Item = &str>> {
        match self {
            Self::Past(_) => None,
            Self::Candidate(candidates) => Some(candidates.rules.keys().map(|name| &**name)),
        }
    }

    /// Whether two rejections have the same code. During verification, the messages must be equal
    /// too.
    pub(super) fn is_same_rejection(&self, recorded: &Rejected, now: &Rejection) -> bool {
        let is_same_message = || recorded.message == Rejected::text_to_store(&now.message);
        recorded.code == Rejected::text_to_store(&now.code)
            && (!self.is_past() || is_same_message())
    }

    /// Returns the rules that re-decide a command which was decided under a plan.
    ///
    /// # Errors
    /// When the commit names another module than its plan had.
    pub(super) fn rules(
        &self,
        stream: &StreamId,
        plan: u64,
        module: Digest,
    ) -> Result<Arc<Rules>, String> {
        let category = stream.category();
        let past = match self {
            Self::Past(past) => past,
            Self::Candidate(candidates) => {
                let rules = candidates.rules.get(category).map(Arc::clone);
                return rules.ok_or_else(|| format!("nothing is to decide {category}"));
            }
        };
        let named = module.short();
        if plan > past.last() {
            let last = past.last();
            return Err(format!("it names plan {plan}; the last one is {last}"));
        }
        let Some(rules) = past.rules(category, plan) else {
            return Err(format!(
                "it names module {named}; under plan {plan} nothing decided {category}"
            ));
        };
        if rules.module.digest() != module {
            let served = rules.module.digest().short();
            return Err(format!(
                "it names module {named}; under plan {plan} module {served} decided {category}"
            ));
        }
        Ok(Arc::clone(rules))
    }
}
