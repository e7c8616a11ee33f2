//! Checks a component against the contract of guests.
//!
//! A host trusts a guest with nothing, but a guest that breaks the contract is slow, loses its
//! snapshots or can't be swapped. Each [`Rule`] names the section of the documentation that explains
//! it. Rules about histories are tried on those of scenarios.

mod decider;
mod garbage;
mod readers;
mod rules;
mod schemas;

pub use rules::{RULES, Rule};

use std::fmt;
use std::path::PathBuf;

use quipu::runtime::{Module, Runtime};
use serde::Serialize;

use crate::Components;
use crate::scenario::play::{self, History};
use crate::scenario::{Scenario, Scenarios};

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// A few cuts of each history, for every change of a source file.
    Short,
    /// Every cut, and thousands of aggregates.
    Full,
}

/// What was found about one rule.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Name of the component.
    pub component: String,
    /// The rule.
    #[serde(flatten)]
    pub rule: &'static Rule,
    /// How the component breaks it.
    pub broken: Option<String>,
    /// Why it could not be tried, or not on everything.
    pub not_tried: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { name, text, page } = self.rule;
        let component = &self.component;
        match (&self.broken, &self.not_tried) {
            (Some(broken), _) => {
                write!(
                    f,
                    "{component} breaks {name}: {broken}\n  rule: {text} ({page})"
                )
            }
            (None, Some(why)) => write!(f, "{component} {name}: not tried: {why}"),
            (None, None) => write!(f, "{component} keeps {name}"),
        }
    }
}

/// The findings about some components, in the order of the rules.
struct Findings(Vec<Finding>);

impl Findings {
    /// Records the result of trying a rule. The first error of a rule counts.
    fn add(&mut self, module: &Module, rule: &'static Rule, result: Result<(), String>) {
        self.push(module, rule, result.err(), None);
    }

    fn not_tried(&mut self, module: &Module, rule: &'static Rule, why: &str) {
        self.push(module, rule, None, Some(why.to_owned()));
    }

    fn push(
        &mut self,
        module: &Module,
        rule: &'static Rule,
        broken: Option<String>,
        not_tried: Option<String>,
    ) {
        self.0.push(Finding {
            component: module.manifest().name.clone(),
            rule,
            broken,
            not_tried,
        });
    }
}

/// Checks loaded components against every rule but [`loads`](RULES).
pub fn conform(
    runtime: &Runtime,
    components: &Components,
    scenarios: &[Scenarios],
    depth: Depth,
) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let scenarios: Vec<&Scenario> = scenarios.iter().flat_map(|file| &file.scenarios).collect();
    let played = scenarios.iter().map(|it| play::histories(components, it));
    let histories: Vec<History> = played.filter_map(Result::ok).flatten().collect();
    for module in components.modules() {
        readers::describes(&mut findings, runtime, module);
        if module.has_decider() {
            let is_its = |it: &&History| it.module.digest() == module.digest();
            let own: Vec<&History> = histories.iter().filter(is_its).collect();
            decider::check(&mut findings, module, &own, depth);
            garbage::check(&mut findings, module, &own);
            schemas::check(&mut findings, module, &own);
        }
        readers::check(&mut findings, module, components, &scenarios);
    }
    findings.0
}

/// Checks a component's file. If a host would refuse it, that is the only finding.
///
/// # Errors
/// When the file can't be read.
pub fn conform_file(
    runtime: &Runtime,
    file: &PathBuf,
    scenarios: &[Scenarios],
    depth: Depth,
) -> Result<Vec<Finding>, crate::Error> {
    match Components::load(runtime, std::slice::from_ref(file)) {
        Ok(components) => {
            let mut findings = conform(runtime, &components, scenarios, depth);
            for module in components.modules() {
                findings.insert(
                    0,
                    Finding {
                        component: module.manifest().name.clone(),
                        rule: &rules::LOADS,
                        broken: None,
                        not_tried: None,
                    },
                );
            }
            Ok(findings)
        }
        Err(crate::Error::Refused { path, refused }) => Ok(vec![Finding {
            component: path.display().to_string(),
            rule: &rules::LOADS,
            broken: Some(refused.to_string()),
            not_tried: None,
        }]),
        Err(error) => Err(error),
    }
}
