//! Rules about the JSON Schemas that a decider declares, tried on what it decided in scenarios.

use quipu::model::MessageType;
use quipu::runtime::Module;

use super::rules::{COMMAND_SCHEMAS, EVENT_SCHEMAS};
use super::{Findings, Rule};
use crate::scenario::play::{Accepted, History};
use crate::schemas::{Schemas, is_declared};

pub(super) fn check(findings: &mut Findings, module: &Module, histories: &[&History]) {
    let manifest = module.manifest();
    let commands = Schemas::new(&manifest.commands);
    let events = Schemas::new(&manifest.events);
    each_accepted(
        findings,
        module,
        &COMMAND_SCHEMAS,
        &manifest.commands,
        histories,
        |accepted| command(&commands, accepted),
    );
    each_accepted(
        findings,
        module,
        &EVENT_SCHEMAS,
        &manifest.events,
        histories,
        |accepted| written(&events, accepted),
    );
}

/// Tries a rule on every accepted command, if one of these types has a schema.
fn each_accepted(
    findings: &mut Findings,
    module: &Module,
    rule: &'static Rule,
    types: &[MessageType],
    histories: &[&History],
    tried: impl Fn(&Accepted) -> Result<(), String>,
) {
    if !types.iter().any(is_declared) {
        return;
    }
    if histories.iter().all(|history| history.accepted.is_empty()) {
        let why = "no scenario has an accepted command for it; name a file of scenarios";
        return findings.not_tried(module, rule, why);
    }
    let mut results = histories.iter().flat_map(|history| {
        let results = history.accepted.iter().map(&tried);
        results.map(move |result| {
            result.map_err(|error| format!("stream key {}: {error}", history.key))
        })
    });
    findings.add(module, rule, results.find(Result::is_err).unwrap_or(Ok(())));
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
