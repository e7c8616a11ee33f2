//! Since when each part of the plan stands.

use std::collections::HashMap;

use super::ProjectionPlan;

/// In a list of categories: every one of them.
const EVERY: &str = "";

/// The plan, and since when each of its parts stands.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The plan's number.
    pub plan: u64,
    /// By category: the plan that last changed its decider, its upcasters or the inline
    /// projections that take its events; under the empty name, those of every category.
    pub categories: HashMap<String, u64>,
}

impl Parts {
    /// Whether a decision about this category under `plan` is out of date.
    pub fn have_moved(&self, category: &str, plan: u64) -> bool {
        [category, EVERY].into_iter().any(|part| {
            let changed = self.categories.get(part);
            changed.is_some_and(|changed| *changed > plan)
        })
    }

    /// Takes an activation in: the new plan.
    pub fn activate(&mut self, categories: &[String], projections: &ProjectionPlan) -> u64 {
        self.activated(self.plan + 1, categories, projections);
        self.plan
    }

    /// Takes in an activation that led to a plan.
    pub fn activated(&mut self, plan: u64, categories: &[String], projections: &ProjectionPlan) {
        self.plan = plan;
        for category in categories.iter().chain(&projections.categories) {
            self.categories.insert(category.clone(), plan);
        }
    }
}
