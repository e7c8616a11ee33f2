//! The catalogue of the domain: what the active components take, write and read.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::layout::{self, Tab};
use super::previews;
use super::text::{self, Untrusted, encoded};
use super::visitor::{Answer, Visitor};
use crate::failure::Result;
use quipu_api::{DeploymentList, EventTypeView, ModuleView, SourceView, TypeList};

/// Components that are read.
const MODULES_MAX: usize = 50;
/// The text before the codes in the description of a rejection.
const CODES: &str = "one of the declared codes: ";

/// Which projection reads a category.
type Readers = BTreeMap<Option<String>, BTreeSet<String>>;

pub async fn show(visitor: Visitor) -> Response {
    let body = body(&visitor).await;
    visitor.page(Tab::Domain, "Domain", body)
}

async fn body(visitor: &Visitor) -> Result<Markup> {
    let types = visitor.get::<TypeList>("/v1/types").await?;
    let described = visitor.get::<Value>("/v1/domain/openapi.json").await?;
    let modules = active(visitor).await?;
    let readers = readers(&modules);
    let mut categories: BTreeMap<&str, Vec<&EventTypeView>> = BTreeMap::new();
    for it in &types.types {
        categories.entry(&it.category).or_default().push(it);
    }
    let commands = commands(&described);
    let empty = Vec::new();
    for category in commands.keys() {
        categories.entry(category).or_default();
    }
    Ok(html! {
        @if categories.is_empty() {
            p { "No component is active and no event is stored. Deploy a component: " code { "quipu deploy FILE" } }
        } @else {
            nav aria-label="Categories" { ul.inline { @for name in categories.keys() { li { a href={ "#c-" (encoded(name)) } { (Untrusted(name)) } } } } }
        }
        @for (category, events) in &categories {
            section.category aria-labelledby={ "c-" (encoded(category)) } {
                h2 id={ "c-" (encoded(category)) } { (Untrusted(category)) }
                p { a href={ "/console/streams?category=" (encoded(category)) } { "Streams" } " \u{b7} " a href={ "/console/log?category=" (encoded(category)) } { "Events" } }
                (commands_of(&described, category, commands.get(*category).unwrap_or(&empty)))
                (events_of(&described, category, events))
                (read_by(&readers, category))
            }
        }
        (layout::same_as(visitor, "types", "/v1/domain/openapi.json"))
    })
}

/// The active components.
async fn active(visitor: &Visitor) -> Result<Vec<Answer<ModuleView>>> {
    let history = visitor.get::<DeploymentList>("/v1/deployments").await?;
    let mut newest: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for it in &history.deployments {
        newest.insert(&it.name, Some(&it.digest));
        for other in &it.others {
            newest.insert(&other.name, other.digest.as_deref());
        }
    }
    let digests: BTreeSet<&str> = newest.into_values().flatten().collect();
    let mut modules = Vec::new();
    for digest in digests.into_iter().take(MODULES_MAX) {
        modules.push(visitor.get(&format!("/v1/modules/{digest}")).await?);
    }
    Ok(modules)
}

fn readers(modules: &[Answer<ModuleView>]) -> Readers {
    let mut readers = Readers::new();
    for projection in modules.iter().flat_map(|module| &module.projections) {
        for source in &projection.sources {
            let of = readers.entry(source.category.clone()).or_default();
            of.insert(projection.name.clone());
        }
    }
    readers
}

/// A command: its name, and its operation.
type Command<'a> = (String, &'a Value);

/// The commands of each category, from the description of the domain.
fn commands(described: &Value) -> BTreeMap<&str, Vec<Command<'_>>> {
    let mut commands: BTreeMap<&str, Vec<Command<'_>>> = BTreeMap::new();
    let paths = described["paths"].as_object().into_iter().flatten();
    for (path, item) in paths {
        let operation = &item["post"];
        let category = operation["tags"][0].as_str();
        let (Some(category), Some((_, name))) = (category, path.rsplit_once('/')) else {
            continue;
        };
        commands
            .entry(category)
            .or_default()
            .push((decoded(name), operation));
    }
    commands
}

/// A part of an address as text.
fn decoded(part: &str) -> String {
    let uri = format!("/?n={part}").parse();
    let query = uri
        .ok()
        .and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    let first = query.and_then(|query| query.0.into_iter().next());
    first.map_or_else(|| part.to_owned(), |(_, name)| name)
}

fn commands_of(described: &Value, category: &str, commands: &[Command<'_>]) -> Markup {
    let codes = commands.iter().find_map(|(_, it)| {
        let text = it["responses"]["422"]["description"].as_str()?;
        text.split_once(CODES).map(|(_, codes)| codes)
    });
    html! {
        @if !commands.is_empty() {
            h3 { "Commands" }
            @for (name, operation) in commands {
                @let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                @let preview = html! { a href=(previews::path(&format!("{category}-"), name)) { "Preview" } };
                (schema_of(name, resolved(described, schema), &preview))
            }
        }
        @if let Some(codes) = codes { h3 { "Rejections" } p { code { (Untrusted(codes)) } } }
    }
}

fn events_of(described: &Value, category: &str, events: &[&EventTypeView]) -> Markup {
    html! {
        @if !events.is_empty() { h3 { "Events" } }
        @for it in events {
            @let stored: u64 = it.stored.iter().map(|form| form.events).sum();
            @let title = format!("{}, {} stored", it.r#type, stored);
            (schema_of(&title, event_schema(described, category, &it.r#type), &html! {}))
            @if !it.known { p.note { "No active component names " (Untrusted(&it.r#type)) "." } }
        }
    }
}

fn read_by(readers: &Readers, category: &str) -> Markup {
    let of_category = readers.get(&Some(category.to_owned()));
    let of_all = readers.get(&None);
    let names: BTreeSet<&String> = of_category.into_iter().chain(of_all).flatten().collect();
    html! {
        @if !names.is_empty() {
            h3 { "Read by" }
            ul.inline { @for name in names { li { (layout::link(&layout::projection_path(name), name)) } } }
        }
    }
}

/// A type with its schema, if it declares one, and what can be done with it.
fn schema_of(title: &str, schema: Option<&Value>, link: &Markup) -> Markup {
    let text = schema.filter(|it| it.as_object().is_some_and(|it| !it.is_empty()));
    html! {
        @match text {
            Some(schema) => details.schema { summary { (Untrusted(title)) } (text::json(&schema.to_string(), "quipu types --json")) (link) },
            None => p.schema { (Untrusted(title)) " " span.note { "without a schema" } " " (link) },
        }
    }
}

fn resolved<'a>(described: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    match schema["$ref"].as_str() {
        Some(reference) => described.pointer(reference.strip_prefix('#')?),
        None => Some(schema).filter(|schema| !schema.is_null()),
    }
}

/// The schema of an event: the names of schemas are made of those of category and type.
fn event_schema<'a>(described: &'a Value, category: &str, name: &str) -> Option<&'a Value> {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let wanted = letters(&format!("{category}{name}event"));
    let schemas = described["components"]["schemas"].as_object()?;
    schemas
        .iter()
        .find(|(name, _)| letters(name) == wanted)
        .map(|(_, schema)| schema)
}

/// The events that a projection receives of a category.
pub fn source(source: &SourceView) -> Markup {
    html! {
        @match &source.category { Some(category) => (Untrusted(category)), None => "every category" } ": "
        @if source.events.is_empty() { "every type" }
        @for (number, event) in source.events.iter().enumerate() { @if number > 0 { ", " } (Untrusted(&event.name)) }
    }
}
