//! Who calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::grant::{Action, Denied, Grant, Object};
use super::tokens::{Issued, Token, check_name};
use crate::model::{Invalid, Timestamp};

/// Numbers callers.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Somebody who calls.
#[derive(Clone, Default)]
pub struct Caller {
    /// None where everybody may do everything.
    who: Option<Who>,
}

#[derive(Clone)]
enum Who {
    Token(Arc<Token>),
    Identified(Arc<Proved>),
}

struct Proved {
    number: u64,
    name: Arc<str>,
    identified: Identified,
}

/// Somebody who proved in another way than with a token of the store who it is.
#[derive(Debug, Clone)]
pub struct Identified {
    /// Its calls are recorded under this name.
    pub name: String,
    /// What it may do.
    pub grant: Grant,
    /// What else is known of it. Policies can ask for it.
    pub attributes: BTreeMap<String, String>,
    /// From when on it is refused; none for never.
    pub expires_at: Option<Timestamp>,
}

impl Caller {
    /// Somebody who proved who it is.
    ///
    /// # Errors
    /// When the name or the grant is not well-formed.
    pub fn identified(identified: Identified) -> Result<Self, Invalid> {
        check_name(&identified.name)?;
        let grant = identified.grant.checked()?;
        let proved = Proved {
            number: Self::number(),
            name: (&*identified.name).into(),
            identified: Identified {
                grant,
                ..identified
            },
        };
        Ok(Self {
            who: Some(Who::Identified(Arc::new(proved))),
        })
    }

    pub(super) fn with(token: &Arc<Token>) -> Self {
        Self {
            who: Some(Who::Token(Arc::clone(token))),
        }
    }

    /// A number that no other caller of this process has.
    pub(super) fn number() -> u64 {
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// A number that no caller with another name, grant or attributes has; none for a caller who may
    /// do everything.
    pub fn id(&self) -> Option<u64> {
        self.who.as_ref().map(|who| match who {
            Who::Token(token) => token.number,
            Who::Identified(proved) => proved.number,
        })
    }

    /// Its name; none for a caller who did not say who it is.
    pub fn name(&self) -> Option<Arc<str>> {
        self.who.as_ref().map(|who| match who {
            Who::Token(token) => Arc::clone(&token.name),
            Who::Identified(proved) => Arc::clone(&proved.name),
        })
    }

    /// What it may do; none for everything.
    pub fn grant(&self) -> Option<&Grant> {
        self.who.as_ref().map(|who| match who {
            Who::Token(token) => &token.issued.grant,
            Who::Identified(proved) => &proved.identified.grant,
        })
    }

    /// Its token, without the secret.
    pub fn token(&self) -> Option<&Issued> {
        self.as_token().map(|token| &token.issued)
    }

    pub(super) fn as_token(&self) -> Option<&Arc<Token>> {
        match &self.who {
            Some(Who::Token(token)) => Some(token),
            _ => None,
        }
    }

    /// What else is known of it.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let identified = match &self.who {
            Some(Who::Identified(proved)) => Some(&proved.identified.attributes),
            _ => None,
        };
        let pairs = identified.into_iter().flatten();
        pairs.map(|(name, value)| (&**name, &**value))
    }

    /// From when on it is refused; none for never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self.who.as_ref()? {
            Who::Token(token) => token.issued.stored.expires_at,
            Who::Identified(proved) => proved.identified.expires_at,
        }
    }

    /// Returns why the grant of the caller does not allow something; `Ok` if it does.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, action: Action, object: Object<'_>) -> Result<(), Denied> {
        match self.grant() {
            Some(grant) => grant.check(action, object),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    fn identified(name: &str) -> Result<Caller, Invalid> {
        Caller::identified(Identified {
            name: name.to_owned(),
            grant: Grant::of(Role::Viewer),
            attributes: BTreeMap::from([("customer".to_owned(), "7".to_owned())]),
            expires_at: None,
        })
    }

    #[test]
    fn a_caller_has_a_name_that_can_be_stored() {
        let caller = identified("corp:ann").unwrap();
        assert_eq!(caller.name().as_deref(), Some("corp:ann"));
        assert_eq!(caller.attributes().collect::<Vec<_>>(), [("customer", "7")]);
        assert!(caller.token().is_none());
        for name in ["", " ann", "ann\n", &"a".repeat(201)] {
            assert!(identified(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn no_two_callers_have_the_same_id() {
        let (one, two) = (identified("ann").unwrap(), identified("ann").unwrap());
        assert_ne!(one.id(), two.id());
        assert_eq!(one.id(), one.clone().id());
        assert_eq!(Caller::default().id(), None);
    }
}
