//! Tests of a policy.

use std::collections::BTreeMap;

use quipu::access::{Action, Caller, Grant, Identified, Role};
use quipu::model::Invalid;
use serde::Deserialize;

use super::Policy;
use super::entities::Target;

/// A file of tests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// The tests.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
}

/// A test: who does what, and whether that is allowed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of the caller.
    #[serde(default = "somebody")]
    pub caller: String,
    /// Its role.
    #[serde(default = "nobody")]
    pub role: Role,
    /// The categories that limit it.
    #[serde(default)]
    pub categories: Vec<String>,
    /// The projections that limit it.
    #[serde(default)]
    pub projections: Vec<String>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// What it does.
    pub action: Action,
    /// What it does that to: store, category/NAME, stream/ID, projection/NAME or module/NAME.
    pub on: String,
    /// `allow` or `deny`.
    pub expect: Expected,
}

/// What a test expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It is allowed.
    Allow,
    /// It is denied.
    Deny,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it ended as expected.
    pub is_passed: bool,
    /// What happened: `allowed by role client`, or why it is denied.
    pub what: String,
}

fn somebody() -> String {
    "somebody".to_owned()
}

fn nobody() -> Role {
    Role::Nobody
}

impl Case {
    /// Runs the test.
    ///
    /// # Errors
    /// When the test is malformed.
    pub fn run(&self, policy: &Policy) -> Result<Outcome, Invalid> {
        let on: Target = self.on.parse()?;
        let caller = Caller::identified(Identified {
            name: self.caller.clone(),
            grant: Grant {
                categories: self.categories.clone(),
                projections: self.projections.clone(),
                ..Grant::of(self.role)
            },
            attributes: self.attributes.clone(),
            expires_at: None,
        })?;
        let checked = policy.check(&caller, self.action, on.object());
        let is_allowed = checked.is_ok();
        let what = match checked {
            Ok(()) => {
                let decision = policy.decide(&caller, self.action, on.object());
                format!("allowed by {}", decision.rules.join(", "))
            }
            Err(denied) => denied.to_string(),
        };
        Ok(Outcome {
            is_passed: is_allowed == (self.expect == Expected::Allow),
            what,
        })
    }
}
