//! A policy: from its text to decisions.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

use cedar_policy::{
    Authorizer, Context, Decision as Said, PolicyId, PolicySet, Request, Schema, ValidationMode,
    Validator,
};
use quipu::access::{Action, Caller, Denied as DeniedByGrant, Object, Role};

use super::entities::{self, Pair, SCHEMA, Target};
use super::mistake::Mistake;
use super::parts::{self, Parts};

/// Longest text of a policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;
/// How many decisions are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The policy of a host, with the roles.
pub struct Policy {
    /// The text, without the roles.
    text: String,
    set: PolicySet,
    authorizer: Authorizer,
    /// What people call the policies.
    names: HashMap<PolicyId, String>,
    /// Decisions about streams of a category can differ.
    asks_for_streams: bool,
    /// How parts of something wider are decided; none when nothing is forbidden.
    parts: Option<Parts>,
    /// How a module is decided whose name is not known yet.
    any_module: PolicySet,
    remembered: RwLock<Remembered>,
}

#[derive(Default)]
struct Remembered {
    by_caller: HashMap<(u64, Action, Kind), HashMap<Box<str>, bool>>,
    number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Store,
    Category,
    Stream,
    Projection,
    Module,
}

/// What a policy says of a request, and which rules say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub is_allowed: bool,
    /// `role client`, or the `@id` of a policy, or its number in the file. Empty when nothing permits
    /// it.
    pub rules: Vec<String>,
    /// Why a rule could not be evaluated. Then the request is denied.
    pub failed: Vec<String>,
}

/// Why an action is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The lists of the grant do not reach it.
    #[error(transparent)]
    Grant(#[from] DeniedByGrant),
    /// A policy forbids it.
    #[error("the policy forbids it: {0}")]
    Forbidden(String),
    /// A policy forbids a part of what the request reads.
    #[error(
        "the policy forbids a part of what this reads ({0}); name a category, a stream or a projection that it does not forbid"
    )]
    Part(String),
    /// A policy forbids some modules.
    #[error("the policy forbids it for some modules ({0}); name one that it does not forbid")]
    Modules(String),
    /// Nothing permits it.
    #[error("neither the role {0} nor the policy allows {1} on it")]
    NotPermitted(Role, Action),
    /// The policy can't decide.
    #[error("the policy can't decide: {0}")]
    Failed(String),
}

impl Policy {
    /// Reads a policy. The mistakes that come with it are warnings.
    ///
    /// # Errors
    /// When it has mistakes, or is too long.
    pub fn parse(text: &str) -> Result<(Self, Vec<Mistake>), Vec<Mistake>> {
        if text.len() > POLICY_BYTES_MAX {
            let why = format!("the policy is longer than {POLICY_BYTES_MAX} bytes");
            return Err(vec![plain(why)]);
        }
        let own: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
            let mistakes = errors.iter().map(|error| Mistake::of(text, error, false));
            mistakes.collect::<Vec<_>>()
        })?;
        if own.num_of_templates() > 0 {
            let why = "a policy with ?principal or ?resource is a template; name them".to_owned();
            return Err(vec![plain(why)]);
        }
        let warnings = validate(text, &own)?;
        let named = named(&own)?;
        let json = own.clone().to_json();
        let json = json.map_err(|error| vec![plain(error.to_string())])?;
        let json = json.to_string();
        let asks_for_streams = json.contains("\"Stream\"") || json.contains("\"key\"");
        let mut names: HashMap<_, _> = own
            .policies()
            .map(|it| (it.id().clone(), name(it)))
            .collect();
        check_ids(&own)?;
        let mut set = own;
        for (role, policy) in role_policies() {
            let id = PolicyId::new(format!("role {role}"));
            let parsed = cedar_policy::Policy::parse(Some(id.clone()), policy);
            let added = parsed
                .map_err(|error| error.to_string())
                .and_then(|policy| set.add(policy).map_err(|error| error.to_string()));
            added.map_err(|why| vec![plain(why)])?;
            names.insert(id.clone(), id.to_string());
        }
        let parts = Parts::of(text, &set, named);
        let any_module = parts::of_any_module(&set);
        let policy = Self {
            text: text.to_owned(),
            parts: parts.map_err(|why| vec![plain(why)])?,
            any_module: any_module.map_err(|why| vec![plain(why)])?,
            set,
            authorizer: Authorizer::new(),
            names,
            asks_for_streams,
            remembered: RwLock::default(),
        };
        Ok((policy, warnings))
    }

    /// Returns why a caller may not do something; `Ok` if it may. Decisions are remembered where they
    /// depend on nothing but the caller, the action and the category, the projection or the module.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, caller: &Caller, action: Action, object: Object<'_>) -> Result<(), Denied> {
        let (Some(grant), Some(id)) = (caller.grant(), caller.id()) else {
            return Ok(());
        };
        grant.reaches(object)?;
        let (kind, name) = kind(object);
        let is_same_for_all = kind != Kind::Stream || !self.asks_for_streams;
        let key = (id, action, kind);
        if is_same_for_all && self.remembered(key, name) {
            return Ok(());
        }
        let decision = self.decide(caller, action, object);
        decision.into_result(grant.role, action)?;
        self.check_parts(caller, action, object)?;
        if kind == Kind::Module {
            self.check_any_module(caller, action)?;
        }
        if is_same_for_all {
            self.remember(key, name);
        }
        Ok(())
    }

    /// Returns why a caller may do something with no module; `Ok` if it may with one, perhaps. Rules
    /// whose conditions are about the module permit it here, because its name is not known yet.
    ///
    /// # Errors
    /// When it may with none.
    pub fn check_any_module(&self, caller: &Caller, action: Action) -> Result<(), Denied> {
        let Some(grant) = caller.grant() else {
            return Ok(());
        };
        grant.reaches(Object::Store)?;
        // The rules ask for no name here.
        let any = (caller, action, Object::Module(""));
        let decision = self.decide_by(&self.any_module, any);
        decision.into_result(grant.role, action)
    }

    /// What reads a whole category or store reads all of its streams, and what deploys to the store
    /// deploys all modules. It is denied if one of them is forbidden.
    fn check_parts(
        &self,
        caller: &Caller,
        action: Action,
        object: Object<'_>,
    ) -> Result<(), Denied> {
        let Some(parts) = &self.parts else {
            return Ok(());
        };
        for part in parts.of_whole(object, action) {
            let decision = self.decide_by(&parts.set, (caller, action, part.object()));
            if !decision.is_allowed && !decision.rules.is_empty() {
                let rules = decision.rules.join(", ");
                return Err(match part {
                    Target::Module(_) => Denied::Modules(rules),
                    _ => Denied::Part(rules),
                });
            }
        }
        Ok(())
    }

    /// The text, without the roles.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the policies and the roles say, whatever the lists of the grant are.
    pub fn decide(&self, caller: &Caller, action: Action, object: Object<'_>) -> Decision {
        self.decide_by(&self.set, (caller, action, object))
    }

    fn decide_by(
        &self,
        set: &PolicySet,
        (caller, action, object): (&Caller, Action, Object<'_>),
    ) -> Decision {
        let input = entities::action(action)
            .and_then(|action| Ok((action, Pair::of(caller, object)?)))
            .and_then(|(action, pair)| {
                let (who, what) = (pair.caller.clone(), pair.object.clone());
                let request = Request::new(who, action, what, Context::empty(), None);
                Ok((request.map_err(|error| error.to_string())?, pair))
            });
        let (request, pair) = match input {
            Ok(input) => input,
            Err(why) => {
                return Decision {
                    is_allowed: false,
                    rules: Vec::new(),
                    failed: vec![why],
                };
            }
        };
        let answer = self.authorizer.is_authorized(&request, set, &pair.entities);
        let diagnostics = answer.diagnostics();
        let failed: Vec<_> = diagnostics.errors().map(ToString::to_string).collect();
        let mut rules: Vec<_> = diagnostics.reason().map(|id| self.name(id)).collect();
        rules.sort();
        Decision {
            // A rule that fails may be one that forbids.
            is_allowed: answer.decision() == Said::Allow && failed.is_empty(),
            rules,
            failed,
        }
    }

    /// How many policies the text has.
    pub fn len(&self) -> usize {
        self.names.len() - role_policies().count()
    }

    /// Whether the text has no policy.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn name(&self, id: &PolicyId) -> String {
        self.names.get(id).cloned().unwrap_or_default()
    }

    fn remembered(&self, key: (u64, Action, Kind), name: &str) -> bool {
        let remembered = self.remembered.read();
        let remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        let of_caller = remembered.by_caller.get(&key);
        of_caller.is_some_and(|names| names.contains_key(name))
    }

    fn remember(&self, key: (u64, Action, Kind), name: &str) {
        let remembered = self.remembered.write();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        if remembered.number >= REMEMBERED_MAX {
            *remembered = Remembered::default();
        }
        remembered.number += 1;
        let of_caller = remembered.by_caller.entry(key).or_default();
        of_caller.insert(name.into(), true);
    }
}

impl Decision {
    fn into_result(self, role: Role, action: Action) -> Result<(), Denied> {
        if self.is_allowed {
            return Ok(());
        }
        Err(match (self.failed.is_empty(), self.rules.is_empty()) {
            (false, _) => Denied::Failed(self.failed.join("; ")),
            (true, false) => Denied::Forbidden(self.rules.join(", ")),
            (true, true) => Denied::NotPermitted(role, action),
        })
    }
}

/// What the policies name, if it can exist.
fn named(set: &PolicySet) -> Result<Vec<Target>, Vec<Mistake>> {
    let (mut targets, mut mistakes) = (Vec::new(), Vec::new());
    for policy in set.policies() {
        for literal in policy.entity_literals() {
            let (kind, id) = (literal.type_name().to_string(), literal.id().unescaped());
            let target = match &*kind {
                "Role" => id.parse::<Role>().map(|_| None),
                "Store" => id.parse::<Target>().map(Some),
                "Category" => format!("category/{id}").parse().map(Some),
                "Stream" => format!("stream/{id}").parse().map(Some),
                "Projection" => format!("projection/{id}").parse().map(Some),
                "Module" => format!("module/{id}").parse().map(Some),
                _ => Ok(None),
            };
            match target {
                Ok(target) => targets.extend(target),
                Err(error) => {
                    mistakes.push(plain(format!("{}: {kind}::{id:?}: {error}", name(policy))));
                }
            }
        }
    }
    match mistakes.is_empty() {
        true => Ok(targets),
        false => Err(mistakes),
    }
}

/// No two policies have the same `@id`.
fn check_ids(set: &PolicySet) -> Result<(), Vec<Mistake>> {
    let mut seen = HashSet::new();
    let ids = set.policies().filter_map(|policy| policy.annotation("id"));
    let twice = ids.filter(|id| !seen.insert((*id).to_owned()));
    let mistakes: Vec<_> = twice
        .map(|id| plain(format!("two policies have the id {id:?}")))
        .collect();
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(mistakes),
    }
}

fn kind(object: Object<'_>) -> (Kind, &str) {
    match object {
        Object::Store => (Kind::Store, ""),
        Object::Category(name) => (Kind::Category, name),
        Object::Stream(stream) => (Kind::Stream, stream.category()),
        Object::Projection(name) => (Kind::Projection, name),
        Object::Module(name) => (Kind::Module, name),
    }
}

fn plain(why: String) -> Mistake {
    Mistake {
        line: None,
        why,
        is_warning: false,
    }
}

fn validate(text: &str, set: &PolicySet) -> Result<Vec<Mistake>, Vec<Mistake>> {
    let schema: Schema = SCHEMA
        .parse()
        .map_err(|error: cedar_policy::CedarSchemaError| vec![plain(error.to_string())])?;
    let result = Validator::new(schema).validate(set, ValidationMode::Strict);
    let errors: Vec<_> = result
        .validation_errors()
        .map(|error| Mistake::of(text, error, false))
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let warnings = result.validation_warnings();
    Ok(warnings
        .map(|warning| Mistake::of(text, warning, true))
        .collect())
}

/// The `@id` of a policy, or its number in the file from 1 on.
fn name(policy: &cedar_policy::Policy) -> String {
    if let Some(id) = policy.annotation("id") {
        return id.to_owned();
    }
    let id = policy.id().to_string();
    let number = id
        .strip_prefix("policy")
        .and_then(|it| it.parse::<usize>().ok());
    number.map_or(id, |number| format!("policy {}", number + 1))
}

fn role_policies() -> impl Iterator<Item = (Role, String)> {
    Role::ALL.iter().filter_map(|role| {
        let allowed = Action::ALL.iter().filter(|action| role.allows(**action));
        let allowed: Vec<_> = allowed.map(|it| format!("Action::\"{it}\"")).collect();
        let actions = allowed.join(", ");
        (!allowed.is_empty()).then(|| {
            let text =
                format!("permit (principal in Role::\"{role}\", action in [{actions}], resource);");
            (*role, text)
        })
    })
}

/// The roles, as policies.
pub fn roles() -> String {
    role_policies().fold(String::new(), |mut text, (role, policy)| {
        _ = writeln!(text, "@id(\"role {role}\")\n{policy}\n");
        text
    })
}

#[cfg(test)]
mod tests;
