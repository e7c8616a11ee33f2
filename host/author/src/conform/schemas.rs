//! Rules about the JSON Schemas that a decider declares, tried on what it decided in scenarios.

use quipu::runtime::Module;

use super::rules::{COMMAND_SCHEMAS, EVENT_SCHEMAS};
use super::{Findings, Rule};
use crate::scenario::play::{Accepted, History};
use crate::schemas::{Schemas, is_declared};

pub(super) fn check(findings: &mut Findings, module: &Module, histories: &[&History]) {
    let manifest = module.manifest();
    if manifest.commands.iter().any(is_declared) {
        let schemas = Schemas::new(&manifest.commands);
        let unsupported = schemas.unsupported(&manifest.name, "command");
        let tried = |accepted: &Accepted| command(&schemas, accepted);
        let rule = &COMMAND_SCHEMAS;
        each_accepted(findings, module, rule, unsupported, histories, tried);
    }
    if manifest.events.iter().any(is_declared) {
        let schemas = Schemas::new(&manifest.events);
        let unsupported = schemas.unsupported(&manifest.name, "event");
        let tried = |accepted: &Accepted| written(&schemas, accepted);
        let rule = &EVENT_SCHEMAS;
        each_accepted(findings, module, rule, unsupported, histories, tried);
    }
}

/// Tries a rule on every accepted command. `untried` names the schemas that can't be checked.
fn each_accepted(
    findings: &mut Findings,
    module: &Module,
    rule: &'static Rule,
    mut untried: Vec<String>,
    histories: &[&History],
    tried: impl Fn(&Accepted) -> Result<(), String>,
) {
    if histories.iter().all(|history| history.accepted.is_empty()) {
        let why = "no scenario has an accepted command for it; name a file of scenarios";
        untried.push(why.to_owned());
    }
    let mut results = histories.iter().flat_map(|history| {
        let results = history.accepted.iter().map(&tried);
        results.map(move |result| {
            result.map_err(|error| format!("stream key {}: {error}", history.key))
        })
    });
    let broken = results.find_map(Result::err);
    let not_tried = (!untried.is_empty()).then(|| untried.join("\n"));
    findings.push(module, rule, broken, not_tried);
}

fn command(schemas: &Schemas, accepted: &Accepted) -> Result<(), String> {
    let command = &accepted.command;
    let checked = schemas.check(&command.name, command.schema_version, &command.body);
    checked.map_err(|mismatch| {
        let name = &command.name;
        format!("an accepted command {name} does not match its schema: {mismatch}")
    })
}

fn written(schemas: &Schemas, accepted: &Accepted) -> Result<(), String> {
    for event in &accepted.events {
        let checked = schemas.check(&event.name, event.schema_version, &event.body);
        checked.map_err(|mismatch| {
            let (name, of) = (&event.name, &accepted.command.name);
            format!("event {name} of command {of} does not match its schema: {mismatch}")
        })?;
    }
    Ok(())
}
