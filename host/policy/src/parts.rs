//! Whether a part of something wider is forbidden, or could be permitted.

use cedar_policy::{Effect, Policy, PolicySet};
use quipu::access::{Action, Object};
use quipu::model::StreamId;
use serde_json::{Value, json};

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

    /// The parts of a category or of the store that an action concerns.
    pub fn of_whole(&self, whole: Object<'_>, action: Action) -> Vec<Target> {
        use Action::{Deploy, Operate, Read, ReadPayload, Subscribe, View};
        match (action, whole) {
            (Deploy, Object::Store) => self.modules(),
            (Operate | Read | ReadPayload | Subscribe | View, _) => self.read(whole),
            _ => Vec::new(),
        }
    }

    fn modules(&self) -> Vec<Target> {
        let named = self.named.iter();
        let named = named.filter(|it| matches!(it, Target::Module(_)));
        let unnamed = Target::Module(self.unnamed.clone());
        named.cloned().chain([unnamed]).collect()
    }

    /// What reads a category or the store reads all of these.
    fn read(&self, whole: Object<'_>) -> Vec<Target> {
        let mut parts = match whole {
            Object::Store => vec![
                Target::Category(self.unnamed.clone()),
                Target::Projection(self.unnamed.clone()),
                self.stream(&self.unnamed),
            ],
            Object::Category(category) => vec![self.stream(category)],
            Object::Stream(_) | Object::Projection(_) | Object::Module(_) => return Vec::new(),
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

/// The policies for a module whose name is not known yet. What could be permitted for some module is
/// permitted, and only what is forbidden for all modules is forbidden. What is forbidden for the store
/// is so for its modules.
///
/// # Errors
/// When Cedar can't write and read its own policies.
pub fn of_any_module(policies: &PolicySet) -> Result<PolicySet, String> {
    let mut set = PolicySet::new();
    for policy in policies.policies() {
        let mut json = policy.to_json().map_err(|error| error.to_string())?;
        let (is_permit, scope) = (
            policy.effect() == Effect::Permit,
            json["resource"].to_string(),
        );
        let is_for_all = scope.contains("\"All\"") || scope.contains("\"Store\"");
        let has_condition = json["conditions"].to_string().contains(RESOURCE);
        let counts = match is_permit {
            true => is_for_all || scope.contains("\"Module\""),
            false => is_for_all && !has_condition,
        };
        if !counts {
            continue;
        }
        json["resource"] = json!({"op": "All"});
        without_conditions(&mut json);
        let policy = Policy::from_json(Some(policy.id().clone()), json);
        let policy = policy.map_err(|error| error.to_string())?;
        set.add(policy).map_err(|error| error.to_string())?;
    }
    Ok(set)
}

/// How conditions name the resource.
const RESOURCE: &str = "{\"Var\":\"resource\"}";

/// A policy without its conditions that depend on the resource. All conditions of a policy must hold, so
/// without some of them it matches more.
fn widened(policy: &Policy) -> Result<Policy, String> {
    let mut json = policy.to_json().map_err(|error| error.to_string())?;
    without_conditions(&mut json);
    let widened = Policy::from_json(Some(policy.id().clone()), json);
    widened.map_err(|error| error.to_string())
}

/// Removes the conditions that depend on the resource.
fn without_conditions(policy: &mut Value) {
    if let Some(conditions) = policy.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| !condition.to_string().contains(RESOURCE));
    }
}
