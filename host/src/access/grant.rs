//! What a caller may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Category, Invalid, StreamId};

/// Most categories, and most projections, that a grant lists.
pub const LISTED_MAX: usize = 100;

/// Declares an enumeration whose values have names.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident $what:literal { $($(#[$each:meta])* $value:ident $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$each])* #[serde(rename = $name)] $value,)*
        }

        impl $type {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value,)*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = Invalid;

            fn from_str(name: &str) -> Result<Self, Invalid> {
                let found = Self::ALL.iter().find(|it| it.as_str() == name);
                found.copied().ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|it| it.as_str()).collect();
                    Invalid(format!("{name:?} is no {}: {}", $what, known.join(", ")))
                })
            }
        }
    };
}

named! {
    /// What a request does.
    Action "action" {
        /// Shows what there is: streams, types, components, deployments, projections.
        Read "read",
        /// Shows the contents of events, states and rejected commands.
        ReadPayload "read-payload",
        /// Executes commands.
        Command "command",
        /// Proposes commands, which somebody else approves.
        Propose "propose",
        /// Appends events without a decision.
        Append "append",
        /// Works with named subscriptions.
        Subscribe "subscribe",
        /// Reads documents of projections.
        View "view",
        /// Uploads, activates and rolls back components.
        Deploy "deploy",
        /// Gives orders to projections.
        Project "project",
        /// Archives, restores and truncates streams.
        Archive "archive",
        /// Exports, imports, verifies and takes snapshots.
        Operate "operate",
        /// Reads status and metrics.
        Observe "observe",
        /// Makes and revokes tokens, and reads the audit.
        Admin "admin",
    }
}

named! {
    /// A set of actions.
    Role "role" {
        /// Reads everything.
        Viewer "viewer",
        /// An agent: reads everything, and proposes commands.
        Proposer "proposer",
        /// An application: executes commands, appends, reads and subscribes.
        Client "client",
        /// A developer: a client that also deploys components and manages projections.
        Author "author",
        /// Runs the store: everything but commands, appends and tokens.
        Operator "operator",
        /// Everything.
        Admin "admin",
        /// Reads status and metrics, nothing else.
        Scraper "scraper",
        /// Nothing but what the policy permits.
        Nobody "none",
    }
}

impl Role {
    /// Returns whether the role allows an action.
    pub fn allows(self, action: Action) -> bool {
        use Action::{
            Append, Archive, Command, Deploy, Observe, Operate, Project, Propose, Read,
            ReadPayload, Subscribe, View,
        };
        match self {
            Self::Viewer => matches!(action, Read | ReadPayload | View | Observe),
            Self::Proposer => matches!(action, Read | ReadPayload | View | Observe | Propose),
            Self::Client => matches!(
                action,
                Read | ReadPayload | View | Subscribe | Command | Propose | Append
            ),
            Self::Author => matches!(
                action,
                Read | ReadPayload
                    | View
                    | Subscribe
                    | Command
                    | Propose
                    | Append
                    | Deploy
                    | Project
                    | Observe
            ),
            Self::Operator => matches!(
                action,
                Read | ReadPayload
                    | View
                    | Subscribe
                    | Deploy
                    | Project
                    | Archive
                    | Operate
                    | Observe
            ),
            Self::Admin => true,
            Self::Scraper => action == Observe,
            Self::Nobody => false,
        }
    }
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// The whole store.
    Store,
    /// The streams of a category.
    Category(&'a str),
    /// A stream.
    Stream(&'a StreamId),
    /// A projection and its documents.
    Projection(&'a str),
    /// A component that is uploaded or activated, by the name in its manifest.
    Module(&'a str),
}

/// What a caller may do: the actions of a role, on everything or on what is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Which actions.
    pub role: Role,
    /// Only streams of these categories. A grant that lists categories or projections allows
    /// nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Only these projections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projections: Vec<String>,
    /// Requests per second, in place of the limit that the host has for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// Why an action is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The role does not allow the action.
    #[error("the role {0} does not allow {1}")]
    Role(Role, Action),
    /// The grant is limited to other things.
    #[error("the token does not reach {what} {name:?}")]
    Other {
        /// `the category`, `the projection` or `the module`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The grant is limited, and the action is about the whole store.
    #[error(
        "this is about the whole store, and the token reaches only some categories or \
         projections; name one of them where the request can name one"
    )]
    Whole,
}

impl Grant {
    /// A grant of a role on everything.
    pub fn of(role: Role) -> Self {
        Self {
            role,
            categories: Vec::new(),
            projections: Vec::new(),
            requests_per_second: None,
        }
    }

    /// Returns why the grant does not allow an action; `Ok` if it does.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, action: Action, object: Object<'_>) -> Result<(), Denied> {
        if !self.role.allows(action) {
            return Err(Denied::Role(self.role, action));
        }
        self.reaches(object)
    }

    /// Returns why the lists of the grant do not reach something; `Ok` if they do.
    ///
    /// # Errors
    /// When they do not.
    pub fn reaches(&self, object: Object<'_>) -> Result<(), Denied> {
        if self.categories.is_empty() && self.projections.is_empty() {
            return Ok(());
        }
        let (categories, projections) = (self.categories.as_slice(), self.projections.as_slice());
        let (what, name, listed) = match object {
            Object::Store => return Err(Denied::Whole),
            Object::Category(name) => ("the category", name, categories),
            Object::Stream(stream) => ("the category", stream.category(), categories),
            Object::Projection(name) => ("the projection", name, projections),
            // A grant lists no modules.
            Object::Module(name) => ("the module", name, <&[String]>::default()),
        };
        match listed.iter().any(|one| one == name) {
            true => Ok(()),
            false => Err(Denied::Other {
                what,
                name: name.to_owned(),
            }),
        }
    }

    /// Returns the grant if its members are well-formed.
    ///
    /// # Errors
    /// When a list is too long, a name is not well-formed, or the limit of requests is 0.
    pub fn checked(self) -> Result<Self, Invalid> {
        for (what, listed) in [
            ("categories", &self.categories),
            ("projections", &self.projections),
        ] {
            let found = listed.len();
            if found > LISTED_MAX {
                return Err(Invalid(format!(
                    "a token lists at most {LISTED_MAX} {what}, this one {found}"
                )));
            }
        }
        if self.requests_per_second == Some(0) {
            return Err(Invalid(
                "a token allows at least 1 request per second, this one 0".to_owned(),
            ));
        }
        for name in self.categories.iter().chain(&self.projections) {
            Category::new(name).map_err(|error| Invalid(format!("{name:?}: {error}")))?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse::<Action>().unwrap(), *action);
        }
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), *role);
        }
        let why = "root".parse::<Role>().unwrap_err().to_string();
        assert!(why.contains("viewer, proposer, client"), "{why}");
    }

    #[test]
    fn only_an_admin_makes_tokens_and_a_scraper_only_observes() {
        for role in Role::ALL {
            assert_eq!(role.allows(Action::Admin), *role == Role::Admin, "{role}");
        }
        for action in Action::ALL {
            let is_observed = *action == Action::Observe;
            assert_eq!(Role::Scraper.allows(*action), is_observed, "{action}");
        }
    }

    #[test]
    fn grants_of_earlier_versions_are_read_and_written_as_they_were() {
        let earlier = r#"{"role":"client","categories":["loan"]}"#;
        let grant: Grant = serde_json::from_str(earlier).unwrap();
        assert_eq!(grant.requests_per_second, None);
        assert_eq!(serde_json::to_string(&grant).unwrap(), earlier);
        let limited = |number| Grant {
            requests_per_second: Some(number),
            ..grant.clone()
        };
        assert!(limited(1).checked().is_ok());
        assert!(limited(0).checked().is_err());
    }

    #[test]
    fn a_limited_grant_reaches_only_what_it_lists() {
        let grant = Grant {
            categories: vec!["loan".to_owned()],
            projections: vec!["balances".to_owned()],
            ..Grant::of(Role::Client)
        };
        let may = |action, object| grant.check(action, object).is_ok();
        assert!(may(Action::Command, Object::Category("loan")));
        assert!(!may(Action::Command, Object::Category("loan2")));
        let [loan, coin] = ["loan-1", "coin-1"].map(|id| StreamId::new(id).unwrap());
        assert!(may(Action::Command, Object::Stream(&loan)));
        assert!(!may(Action::Command, Object::Stream(&coin)));
        assert!(!may(Action::Command, Object::Category("balances")));
        assert!(may(Action::View, Object::Projection("balances")));
        assert!(!may(Action::View, Object::Projection("loan")));
        let author = Grant {
            role: Role::Author,
            ..grant.clone()
        };
        let denied = author.check(Action::Deploy, Object::Module("loan"));
        let why = denied.unwrap_err().to_string();
        assert_eq!(why, "the token does not reach the module \"loan\"");
        let whole = Grant::of(Role::Author);
        whole.check(Action::Deploy, Object::Module("loan")).unwrap();
        assert!(!may(Action::ReadPayload, Object::Store));
        assert!(!may(Action::Archive, Object::Category("loan")));
        assert!(
            Grant::of(Role::Client)
                .check(Action::ReadPayload, Object::Store)
                .is_ok()
        );
    }
}
