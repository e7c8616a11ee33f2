//! Computes which modules served each category under each past plan.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::plan::{Plan, categories, compose, named, read};
use super::{Error, Registry, since};
use crate::fold::Rules;
use crate::model::Digest;
use crate::runtime::Module;
use crate::store::{Deployment, ProjectionPlan};

/// The deciders of every plan, with the steps for their events.
#[derive(Debug, Default)]
pub struct Past {
    /// By category, ordered by plan.
    served: HashMap<Box<str>, Vec<Served>>,
    /// The last plan.
    last: u64,
}

/// The rules that served a category from a plan on.
#[derive(Debug)]
struct Served {
    from: u64,
    rules: Option<Arc<Rules>>,
}

impl Past {
    /// Returns the rules that decided the commands of a category under a plan. `None` if it had no
    /// decider.
    pub fn rules(&self, category: &str, plan: u64) -> Option<&Arc<Rules>> {
        let served = self.served.get(category)?;
        let begun = served.partition_point(|served| served.from <= plan);
        served[..begun].last()?.rules.as_ref()
    }

    /// The last plan in the history.
    pub fn last(&self) -> u64 {
        self.last
    }

    fn serve(&mut self, category: Box<str>, plan: u64, rules: Option<Rules>) {
        let served = self.served.entry(category).or_default();
        let before = served.last().and_then(|served| served.rules.as_ref());
        if before.map(|rules| rules.fold) != rules.as_ref().map(|rules| rules.fold) {
            served.push(Served {
                from: plan,
                rules: rules.map(Arc::new),
            });
        }
    }
}

impl Registry {
    /// Returns the rules of every plan in the store's history.
    ///
    /// # Errors
    /// When a module is not in the store, or can no longer be loaded.
    pub async fn past(&self) -> Result<Past, Error> {
        let mut past = Past::default();
        let mut modules: HashMap<Digest, Arc<Module>> = HashMap::new();
        let mut active: BTreeMap<Box<str>, Arc<Module>> = BTreeMap::new();
        for deployment in self.history().await? {
            let before = categories(&active);
            for (name, digest) in deployment.members() {
                let Some(digest) = digest else {
                    active.remove(name);
                    continue;
                };
                let module = match modules.entry(digest) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(self.module(digest).await?),
                };
                active.insert(name.into(), Arc::clone(module));
            }
            let aliases = deployment.projections.aliases.as_ref().map(read);
            for category in categories(&active).union(&before) {
                let (chain, decider) = compose(&active, category)?;
                let names = named(decider.as_ref(), aliases.as_ref(), category, &chain);
                let rules = decider.map(|module| Rules::new(module, chain, names, Vec::new()));
                past.serve(category.clone(), deployment.plan, rules);
            }
            past.last = deployment.plan;
        }
        Ok(past)
    }

    /// Returns the current plan or an earlier one by its number.
    ///
    /// # Errors
    /// When a module is not in the store, or can no longer be loaded.
    pub async fn plan_at(&self, number: u64) -> Result<Arc<Plan>, Error> {
        if let Some(plan) = self.plan.recent(number) {
            return Ok(plan);
        }
        let history = self.history().await?;
        let plan = Arc::new(self.composed(&history, number, &Plan::default()).await?);
        self.plan.keep(Arc::clone(&plan));
        Ok(plan)
    }

    /// Builds the plan with a number from the history. Parts that have not changed since the known
    /// plan are taken from it.
    pub(super) async fn composed(
        &self,
        history: &[Deployment],
        number: u64,
        known: &Plan,
    ) -> Result<Plan, Error> {
        let history = || history.iter().filter(|it| it.plan <= number);
        let newest: BTreeMap<&str, Option<Digest>> =
            history().flat_map(Deployment::members).collect();
        let mut active = BTreeMap::new();
        for (name, digest) in newest {
            if let Some(digest) = digest {
                active.insert(name.into(), self.module(digest).await?);
            }
        }
        let nothing = ProjectionPlan::default();
        let projections = history()
            .next_back()
            .map_or(&nothing, |last| &last.projections);
        let inline = self.inline_modules(projections).await?;
        let projections = (projections, &inline);
        Ok(Plan::of(
            number,
            active,
            since(history()),
            projections,
            known,
        )?)
    }
}
