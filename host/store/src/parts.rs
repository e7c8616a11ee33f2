//! The plan under which each of its parts was last changed.

use std::collections::HashMap;

use super::ProjectionPlan;

/// In a list of categories: means every category.
const EVERY: &str = "";

/// The plan, and for each of its parts the plan that last changed it.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The plan's number.
    pub plan: u64,
    /// By category: the plan that last changed its decider, its upcasters or the inline projections
    /// that take its events; under the empty name, the inline projections that take events of every
    /// category.
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

    /// Applies an activation, and returns the new plan.
    pub fn activate(&mut self, categories: &[String], projections: &ProjectionPlan) -> u64 {
        self.activated(self.plan + 1, categories, projections);
        self.plan
    }

    /// Applies an activation that led to a plan.
    pub fn activated(&mut self, plan: u64, categories: &[String], projections: &ProjectionPlan) {
        self.plan = plan;
        for category in categories.iter().chain(&projections.categories) {
            self.categories.insert(category.clone(), plan);
        }
    }
}
