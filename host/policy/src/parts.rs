//! Whether a part of something wider is forbidden.

use cedar_policy::{Effect, Policy, PolicySet};
use quipu::access::Object;
use quipu::model::StreamId;
use serde_json::Value;

use super::entities::Target;

/// How parts of a category or of the store are decided.
pub struct Parts {
    /// The policies, without the conditions of what forbids that depend on the resource. Which resources a
    /// wide request reads is not known, so whatever can be forbidden is.
    pub set: PolicySet,
    /// What policies name.
    named: Vec<Target>,
    /// A name that occurs in no policy.
    unnamed: String,
}

impl Parts {
    /// The parts that policies distinguish from others; none when nothing is forbidden.
    ///
    /// # Errors
    /// When Cedar can't write and read its own policies.
    pub fn of(
        text: &str,
        policies: &PolicySet,
        named: Vec<Target>,
    ) -> Result<Option<Self>, String> {
        let (mut set, mut forbids) = (PolicySet::new(), false);
        for policy in policies.policies() {
            let is_forbid = policy.effect() == Effect::Forbid;
            forbids |= is_forbid;
            let policy = match is_forbid {
                true => widened(policy)?,
                false => policy.clone(),
            };
            set.add(policy).map_err(|error| error.to_string())?;
        }
        let mut unnamed = "any".to_owned();
        while text.contains(&unnamed) {
            unnamed.push('x');
        }
        Ok(forbids.then_some(Self {
            set,
            named,
            unnamed,
        }))
    }

    /// The parts of a category or of the store.
    pub fn of_whole(&self, whole: Object<'_>) -> Vec<Target> {
        let mut parts = match whole {
            Object::Store => vec![
                Target::Category(self.unnamed.clone()),
                Target::Projection(self.unnamed.clone()),
                self.stream(&self.unnamed),
            ],
            Object::Category(category) => vec![self.stream(category)],
            Object::Stream(_) | Object::Projection(_) => return Vec::new(),
        };
        for named in &self.named {
            match (named, whole) {
                (Target::Category(category), Object::Store) => {
                    parts.extend([named.clone(), self.stream(category)]);
                }
                (Target::Stream(stream), Object::Store) => {
                    parts.extend([named.clone(), self.stream(stream.category())]);
                }
                (Target::Stream(stream), Object::Category(category))
                    if stream.category() == category =>
                {
                    parts.push(named.clone());
                }
                (Target::Projection(_), Object::Store) => parts.push(named.clone()),
                _ => {}
            }
        }
        parts
    }

    /// A stream of a category that no policy names.
    fn stream(&self, category: &str) -> Target {
        match StreamId::new(&format!("{category}-{}", self.unnamed)) {
            Ok(stream) => Target::Stream(stream),
            Err(_) => Target::Category(category.to_owned()),
        }
    }
}

/// A policy without its conditions that depend on the resource. All conditions of a policy must hold, so
/// without some of them it matches more.
fn widened(policy: &Policy) -> Result<Policy, String> {
    let mut json = policy.to_json().map_err(|error| error.to_string())?;
    if let Some(conditions) = json.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| !condition.to_string().contains("{\"Var\":\"resource\"}"));
    }
    let widened = Policy::from_json(Some(policy.id().clone()), json);
    widened.map_err(|error| error.to_string())
}
