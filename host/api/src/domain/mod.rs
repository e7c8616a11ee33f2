//! The OpenAPI document of the active domain: typed commands, events and documents.
//!
//! Paths and answers are those of the host's own description, with the names of the active plan in
//! them, so a generated client has a function for each command.

mod components;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::components::{Components, reference};
use self::names::{identifier, percent_encoded, type_name};
use quipu::access::Object;
use quipu::deploy::{Plan, rejections};
use quipu::model::{ContentType, Lifecycle, MessageType};
use quipu::runtime::Manifest;

/// The path of the host's description that executes a command of a category.
pub const EXECUTE: &str = "/v1/domain/{category}/{key}/{command}";
const DOCUMENT: &str = "/v1/views/{projection}/{key}";
const DOCUMENTS: &str = "/v1/views/{projection}";
const LIVE: &str = "/v1/projections/{name}/live/{stream}";

/// Returns the document of a plan, of the categories and projections that `may_show` admits. `host`
/// is the host's own description, as JSON. The order is that of the names, so equal plans have equal
/// documents.
pub fn document(host: &Value, plan: &Plan, may_show: &dyn Fn(Object<'_>) -> bool) -> Value {
    let mut domain = Domain::new(host);
    for (category, _) in plan.readers() {
        if let Some(deployed) = plan.decider(category)
            && may_show(Object::Category(category))
        {
            domain.category(category, deployed.rules.module.manifest());
        }
    }
    for (name, projected) in plan.projections() {
        if may_show(Object::Projection(name)) {
            let is_live = projected.settings.lifecycle == Lifecycle::Live;
            let schema = projected.module.manifest().document_schema(name);
            domain.projection(name, is_live, schema);
        }
    }
    domain.finish(plan.number)
}

struct Domain<'a> {
    host: &'a Value,
    components: Components<'a>,
    paths: Map<String, Value>,
    operations: BTreeSet<String>,
}

impl<'a> Domain<'a> {
    fn new(host: &'a Value) -> Self {
        Self {
            host,
            components: Components::new(&host["components"]["schemas"]),
            paths: Map::new(),
            operations: BTreeSet::new(),
        }
    }

    /// Adds the commands and events of a decider.
    fn category(&mut self, category: &str, manifest: &Manifest) {
        let problem = self.problem(category, manifest);
        for command in sorted(&manifest.commands) {
            if command.content_type != ContentType::Json {
                let note = format!(
                    "command {} of {category} is left out: it takes {}; send it to /v1/streams/{{stream}}/commands",
                    command.name, command.content_type
                );
                self.components.note(note);
                continue;
            }
            self.command(category, command, problem.as_deref());
        }
        for event in sorted(&manifest.events) {
            if event.content_type == ContentType::Json {
                let name = type_name(&[category, event.name.as_str(), "event"]);
                let title = format!("Data of the event {} of {category}.", event.name);
                self.components.declare(&name, &title, &event.json_schema);
            }
        }
    }

    fn command(&mut self, category: &str, command: &MessageType, problem: Option<&str>) {
        let name = command.name.as_str();
        let title = format!("Data of the command {name} of {category}.");
        let base = type_name(&[category, name]);
        let schema = self.components.declare(&base, &title, &command.json_schema);
        let id = self.operation_id(&[category, name]);
        let mut operation = self.host["paths"][EXECUTE]["post"].clone();
        without(&mut operation, &["category", "command"]);
        operation["tags"] = json!([category]);
        operation["operationId"] = id.into();
        operation["summary"] = format!("Executes the command {name} of {category}.").into();
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": reference(&schema)}},
        });
        if let Some((problem, codes)) = problem.and_then(|it| it.split_once(' ')) {
            operation["responses"]["422"] = json!({
                "description": format!("Rejected by the domain, with one of the declared codes: {codes}"),
                "content": {"application/problem+json": {"schema": reference(problem)}},
            });
        }
        let path = format!("/v1/domain/{category}/{{key}}/{}", percent_encoded(name));
        self.paths.insert(path, json!({"post": operation}));
    }

    /// Declares the problem of rejections, if the decider declares codes. Returns its name and the
    /// codes, separated by a space.
    fn problem(&mut self, category: &str, manifest: &Manifest) -> Option<String> {
        let codes = rejections(manifest);
        if codes.is_empty() {
            return None;
        }
        let schemas = &self.host["components"]["schemas"];
        let of = |part: &str| type_name(&[category, part]);
        let code = json!({
            "type": "string", "enum": codes,
            "description": format!("The codes with which {category} declares to reject."),
        });
        let code = self.components.insert(&of("rejection code"), code);
        let mut rejection = schemas["Rejection"].clone();
        // A code that is not declared must not break a client.
        rejection["properties"]["code"] = json!({"anyOf": [reference(&code), {"type": "string"}]});
        let rejection = self.components.insert(&of("rejection"), rejection);
        let mut problem = schemas["Problem"].clone();
        problem["properties"]["rejection"] = reference(&rejection);
        if let Some(required) = problem["required"].as_array_mut() {
            required.push("rejection".into());
        }
        let problem = self.components.insert(&of("problem"), problem);
        let codes: Vec<&str> = codes.into_iter().collect();
        Some(format!("{problem} {}", codes.join(", ")))
    }

    /// Adds the reads of a projection, with the schema of its documents if it declares one.
    fn projection(&mut self, name: &str, is_live: bool, schema: Option<&str>) {
        let reads: &[(&str, &str, &str, &str)] = match is_live {
            true => &[(LIVE, "name", "fold", "Folds the documents of one stream")],
            false => &[
                (DOCUMENTS, "projection", "list", "Reads documents"),
                (DOCUMENT, "projection", "read", "Reads a document"),
            ],
        };
        let document = schema.map(|schema| {
            let title = format!("A document of the projection {name}.");
            let base = type_name(&[name, "document"]);
            self.components.declare(&base, &title, schema)
        });
        for (template, parameter, verb, summary) in reads {
            let mut operation = self.host["paths"][*template]["get"].clone();
            without(&mut operation, &[parameter]);
            operation["tags"] = json!(["views"]);
            operation["operationId"] = self.operation_id(&[verb, name]).into();
            operation["summary"] = format!("{summary} of the projection {name}.").into();
            if let Some(document) = &document {
                let answer = self.answer(name, template, document);
                operation["responses"]["200"]["content"]["application/json"]["schema"] =
                    reference(&answer);
            }
            let path = template.replace(&format!("{{{parameter}}}"), &percent_encoded(name));
            self.paths.insert(path, json!({"get": operation}));
        }
    }

    /// Declares the answer of a read, with documents of the declared schema in it. Returns its name.
    fn answer(&mut self, projection: &str, template: &str, document: &str) -> String {
        let host = &self.host["components"]["schemas"];
        let document = reference(document);
        let named = |part: &str| type_name(&[projection, part]);
        match template {
            LIVE => {
                let mut view = host["LiveView"].clone();
                view["properties"]["documents"]["additionalProperties"] = document;
                self.components.insert(&named("live view"), view)
            }
            DOCUMENT => {
                let mut view = host["DocumentView"].clone();
                view["properties"]["document"] = document;
                self.components.insert(&named("document view"), view)
            }
            _ => {
                let mut entry = host["DocumentEntry"].clone();
                entry["properties"]["document"] = document;
                let entry = self.components.insert(&named("document entry"), entry);
                let mut page = host["DocumentPage"].clone();
                page["properties"]["documents"]["items"] = reference(&entry);
                self.components.insert(&named("document page"), page)
            }
        }
    }

    fn operation_id(&mut self, parts: &[&str]) -> String {
        let base = identifier(parts);
        let id = names::unique(&base, |id| self.operations.contains(id));
        self.operations.insert(id.clone());
        id
    }

    fn finish(mut self, plan: u64) -> Value {
        self.paths.sort_keys_stable();
        let paths = Value::Object(self.paths);
        let (schemas, notes) = self.components.finish(&paths);
        json!({
            "openapi": self.host["openapi"],
            "info": {
                "title": "Quipu domain",
                "description": "The commands, events and documents of the active components. It changes with each activation. /openapi.json describes the host itself.",
                "version": self.host["info"]["version"],
            },
            "x-quipu-plan": plan,
            "x-quipu-notes": notes,
            "paths": paths,
            "components": {"schemas": schemas},
        })
    }
}

/// Sorts the members of an object by name.
trait Sort {
    fn sort_keys_stable(&mut self);
}

impl Sort for Map<String, Value> {
    fn sort_keys_stable(&mut self) {
        let mut members: Vec<_> = std::mem::take(self).into_iter().collect();
        members.sort_by(|one, other| one.0.cmp(&other.0));
        self.extend(members);
    }
}

fn sorted(types: &[MessageType]) -> Vec<&MessageType> {
    let mut types: Vec<&MessageType> = types.iter().collect();
    types.sort_by(|one, other| one.name.cmp(&other.name));
    types
}

/// Removes parameters of the path that have a fixed value now.
fn without(operation: &mut Value, fixed: &[&str]) {
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.retain(|parameter| {
            let is_fixed = fixed.iter().any(|name| parameter["name"] == **name);
            parameter["in"] != "path" || !is_fixed
        });
    }
}
