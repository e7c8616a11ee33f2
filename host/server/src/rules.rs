//! Who may call besides the holders of tokens, and what the policy says. Both can be replaced while the
//! host runs.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quipu::access::{Action, Caller, Object};
use quipu_identity::Identities;
use quipu_policy::Policy;

/// The identities and the policy in force.
pub struct Rules {
    current: RwLock<Arc<InForce>>,
    changes: AtomicU64,
}

/// The identities and the policy of a host.
#[derive(Default)]
pub struct InForce {
    /// Issuers of JSON web tokens, and client certificates.
    pub identities: Identities,
    /// Without a policy only the roles decide.
    pub policy: Option<Policy>,
}

impl Rules {
    /// Rules that are in force from now on.
    pub fn new(rules: InForce) -> Self {
        Self {
            current: RwLock::new(Arc::new(rules)),
            changes: AtomicU64::new(0),
        }
    }

    /// Replaces the rules. Long answers and bodies of named callers that have begun under the others
    /// end: whoever may go on sends the request again.
    pub fn replace(&self, rules: InForce) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(rules);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the rules were replaced.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The rules in force.
    pub fn current(&self) -> Arc<InForce> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

impl InForce {
    /// Whether others come from the same texts.
    pub fn is_same(&self, other: &Self) -> bool {
        let text = |it: &Self| it.policy.as_ref().map(|policy| policy.text().to_owned());
        self.identities.is_same(&other.identities) && text(self) == text(other)
    }

    /// Whether callers can prove who they are without a token of the store. Then everybody has to.
    pub fn know_callers(&self) -> bool {
        self.identities.take_tokens() || self.identities.take_certificates()
    }

    /// Returns why a caller may not do something; `Ok` if it may.
    ///
    /// # Errors
    /// When it may not; the text says why.
    pub fn check(&self, caller: &Caller, action: Action, object: Object<'_>) -> Result<(), String> {
        match &self.policy {
            Some(policy) => {
                let checked = policy.check(caller, action, object);
                checked.map_err(|denied| denied.to_string())
            }
            None => {
                let checked = caller.check(action, object);
                checked.map_err(|denied| denied.to_string())
            }
        }
    }

    /// Returns why a caller may do something with no module; `Ok` if it may with one, perhaps.
    ///
    /// # Errors
    /// When it may with none; the text says why.
    pub fn check_any_module(&self, caller: &Caller, action: Action) -> Result<(), String> {
        match &self.policy {
            Some(policy) => {
                let checked = policy.check_any_module(caller, action);
                checked.map_err(|denied| denied.to_string())
            }
            None => self.check(caller, action, Object::Store),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(InForce::default())
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").finish_non_exhaustive()
    }
}
