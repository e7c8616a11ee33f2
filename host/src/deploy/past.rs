//! What served each category under each plan that there was.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::plan::{categories, compose};
use super::{Error, Registry};
use crate::fold::Rules;
use crate::model::Digest;
use crate::runtime::Module;

/// The deciders of every plan, with the steps that events took to them.
#[derive(Debug, Default)]
pub struct Past {
    /// By category, in order of the plan.
    served: HashMap<Box<str>, Vec<Served>>,
    /// The last plan.
    last: u64,
}

/// What served a category from a plan on.
#[derive(Debug)]
struct Served {
    from: u64,
    rules: Option<Arc<Rules>>,
}

impl Past {
    /// What decided the commands of a category under a plan; none when nothing did.
    pub fn rules(&self, category: &str, plan: u64) -> Option<&Arc<Rules>> {
        let served = self.served.get(category)?;
        let begun = served.partition_point(|served| served.from <= plan);
        served[..begun].last()?.rules.as_ref()
    }

    /// The last plan that the history has.
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
    /// The rules of every plan in the store's history.
    ///
    /// # Errors
    /// When a module of it is not in the store, or can't be loaded any more.
    pub async fn past(&self) -> Result<Past, Error> {
        let mut past = Past::default();
        let mut modules: HashMap<Digest, Arc<Module>> = HashMap::new();
        let mut active: BTreeMap<Box<str>, Arc<Module>> = BTreeMap::new();
        for deployment in self.history().await? {
            let module = match modules.entry(deployment.digest) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.module(deployment.digest).await?),
            };
            active.insert(deployment.name.as_str().into(), Arc::clone(module));
            for category in categories(&active) {
                let (chain, decider) = compose(&active, &category)?;
                let rules = decider.map(|module| Rules::new(module, chain, Vec::new()));
                past.serve(category, deployment.plan, rules);
            }
            past.last = deployment.plan;
        }
        Ok(past)
    }
}
