//! Rules about what a component says of itself, its steps and its projections.

use std::sync::Arc;

use quipu::runtime::{Module, Runtime};

use super::Findings;
use super::rules::{DESCRIBES, DOCUMENT_SCHEMAS, DOCUMENTS, EXPORTS, LIFTING, PURE_DOCUMENTS};
use crate::Components;
use crate::scenario::Scenario;
use crate::scenario::play::{self, Calls, Repeated};
use crate::schemas::DocumentSchemas;

/// Exports with which components that are made from JavaScript and from Python start their
/// language's engine.
const OF_ENGINES: [&str; 2] = ["init", "exports"];
/// How often a component is asked to describe itself.
const ASKED: usize = 3;

pub(super) fn describes(findings: &mut Findings, runtime: &Runtime, module: &Arc<Module>) {
    let extra = module.other_exports().iter().map(String::as_str);
    let extra: Vec<&str> = extra.filter(|name| !OF_ENGINES.contains(name)).collect();
    let exports = match extra.is_empty() {
        true => Ok(()),
        false => Err(format!("it also exports {}", extra.join(", "))),
    };
    findings.add(module, &EXPORTS, exports);
    let result = match runtime.describes_alike(module, ASKED) {
        Ok(true) => Ok(()),
        Ok(false) => Err("its manifest, steps or projections differ at another call".to_owned()),
        Err(refused) => Err(format!("at another call: {refused}")),
    };
    findings.add(module, &DESCRIBES, result);
}

pub(super) fn check(
    findings: &mut Findings,
    module: &Arc<Module>,
    components: &Components,
    scenarios: &[&Scenario],
) {
    let has_steps = !module.steps().is_empty();
    let has_projections = !module.projections().is_empty();
    if !has_steps && !has_projections {
        return;
    }
    let schemas = DocumentSchemas::new(module.manifest());
    let (mut lifting, mut documents, mut pure) = (Ok(()), Ok(()), Ok(()));
    let mut matching = Ok(());
    for scenario in scenarios {
        let fail = |text: &str| Err(format!("scenario {:?}: {text}", scenario.name));
        let few = match play::once(components, scenario, Calls::Few) {
            Ok(few) => few,
            Err(error) => {
                lifting = lifting.and(fail(&error));
                continue;
            }
        };
        let checked = schemas.check(&few.documents);
        matching = matching.and(checked.or_else(|error| fail(&error)));
        match play::repeats(components, scenario) {
            Ok(Repeated { lifted, documents }) => {
                if !lifted {
                    lifting =
                        lifting.and(fail("the same events are lifted differently a second time"));
                }
                if !documents {
                    pure = pure.and(fail("the same events give other documents a second time"));
                }
            }
            Err(error) => lifting = lifting.and(fail(&error)),
        }
        let many = play::once(components, scenario, Calls::Many);
        if !many.is_ok_and(|many| many.documents == few.documents) {
            documents = documents.and(fail("each event in a call of its own gives others"));
        }
    }
    let is_tried = !scenarios.is_empty();
    let why = "there is no scenario; name a file of scenarios";
    if module.manifest().document_schemas().next().is_some() {
        let mut untried = schemas.unsupported;
        untried.extend((!is_tried).then(|| why.to_owned()));
        let untried = (!untried.is_empty()).then(|| untried.join("\n"));
        findings.push(module, &DOCUMENT_SCHEMAS, matching.err(), untried);
    }
    let tried = [
        (has_steps, &LIFTING, lifting),
        (has_projections, &DOCUMENTS, documents),
        (has_projections, &PURE_DOCUMENTS, pure),
    ];
    for (_, rule, result) in tried.into_iter().filter(|(has, ..)| *has) {
        match is_tried {
            true => findings.add(module, rule, result),
            false => findings.not_tried(module, rule, why),
        }
    }
}
