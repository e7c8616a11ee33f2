//! By what recorded commands are decided again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::deploy::Past;
use crate::fold::Rules;
use crate::model::{Digest, Rejection, StreamId};
use crate::store::Rejected;

/// Who decides again.
#[derive(Debug)]
pub(super) enum Judge {
    /// Those who decided: what each commit's plan had.
    Past(Past),
    /// Those who may decide the next commands, by category; others are left alone.
    Candidate(Candidates),
}

/// Rules by category.
pub(super) type ByCategory = HashMap<Box<str>, Arc<Rules>>;

/// Who may decide, in place of whom.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub rules: ByCategory,
    /// Who decides now.
    pub active: ByCategory,
}

impl Judge {
    /// Whether those decide again who decided.
    pub(super) fn is_past(&self) -> bool {
        matches!(self, Self::Past(_))
    }

    /// Whether what was decided under a plan can be decided again: one that is newer than the
    /// history that was read can't.
    pub(super) fn knows(&self, plan: u64) -> bool {
        match self {
            Self::Past(past) => plan <= past.last(),
            Self::Candidate(_) => true,
        }
    }

    /// Whether the streams of a category are looked at.
    pub(super) fn is_for(&self, category: &str) -> bool {
        match self {
            Self::Past(_) => true,
            Self::Candidate(candidates) => candidates.rules.contains_key(category),
        }
    }

    /// What is to fold the streams of a category from now on, whatever decided on them.
    pub(super) fn rules_to_come(&self, category: &str) -> Option<&Arc<Rules>> {
        match self {
            Self::Past(_) => None,
            Self::Candidate(candidates) => candidates.rules.get(category),
        }
    }

    /// Whether the same is asked of a fresh instance.
    pub(super) fn asks_twice(&self) -> bool {
        !self.is_past()
    }

    /// Who decides now what a candidate is asked for, if somebody does.
    pub(super) fn active(&self, category: &str) -> Option<&Arc<Rules>> {
        match self {
            Self::Past(_) => None,
            Self::Candidate(candidates) => candidates.active.get(category),
        }
    }

    /// The categories that are looked at; none: all of them.
    pub(super) fn categories(&self) -> Option<impl Iterator<Item = &str>> {
        match self {
            Self::Past(_) => None,
            Self::Candidate(candidates) => Some(candidates.rules.keys().map(|name| &**name)),
        }
    }

    /// Whether a rejection is told in the same words.
    pub(super) fn is_same_rejection(&self, recorded: &Rejected, now: &Rejection) -> bool {
        let is_same_message = || recorded.message == Rejected::kept(&now.message);
        recorded.code == Rejected::kept(&now.code) && (!self.is_past() || is_same_message())
    }

    /// What decides a command again that was decided under a plan.
    ///
    /// # Errors
    /// When the commit names something else than its plan had.
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
