//! The catalogue of the domain: what the active components take, write and read.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::described::{self, CommandType, Described};
use super::layout::{self, Tab};
use super::previews;
use super::text::{self, Untrusted, encoded};
use super::visitor::{Answer, Visitor};
use crate::failure::Result;
use quipu_api::{DeploymentList, EventTypeView, ModuleView, SourceView, TypeList};

/// Components that are read.
const MODULES_MAX: usize = 50;

/// Which projection reads a category.
type Readers = BTreeMap<Option<String>, BTreeSet<String>>;

pub async fn show(visitor: Visitor) -> Response {
    let body = body(&visitor).await;
    visitor.page(Tab::Domain, "Domain", body)
}

async fn body(visitor: &Visitor) -> Result<Markup> {
    let types = visitor.get::<TypeList>("/v1/types").await?;
    let described = Described::of(visitor).await?;
    let modules = active(visitor).await?;
    let readers = readers(&modules);
    let mut categories: BTreeMap<&str, Vec<&EventTypeView>> = BTreeMap::new();
    for it in &types.types {
        categories.entry(&it.category).or_default().push(it);
    }
    let commands = described.commands();
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
                @if let Some(commands) = commands.get(category) { (commands_of(category, commands)) }
                (events_of(&described, category, events))
                (read_by(&described, &readers, category))
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

fn commands_of(category: &str, commands: &[CommandType<'_>]) -> Markup {
    html! {
        h3 { "Commands" }
        @for command in commands {
            @let preview = html! { a href=(previews::path(&format!("{category}-"), &command.name)) { "Preview" } };
            (schema_of(&command.name, command.schema, &preview))
        }
        @if let Some(codes) = described::codes(commands) { h3 { "Rejections" } p { code { (Untrusted(codes)) } } }
    }
}

fn events_of(described: &Described, category: &str, events: &[&EventTypeView]) -> Markup {
    html! {
        @if !events.is_empty() { h3 { "Events" } }
        @for it in events {
            @let stored: u64 = it.stored.iter().map(|form| form.events).sum();
            @let title = format!("{}, {} stored", it.r#type, stored);
            (schema_of(&title, described.event(category, &it.r#type), &html! {}))
            @if !it.known { p.note { "No active component names " (Untrusted(&it.r#type)) "." } }
        }
    }
}

fn read_by(described: &Described, readers: &Readers, category: &str) -> Markup {
    let of_category = readers.get(&Some(category.to_owned()));
    let of_all = readers.get(&None);
    let names: BTreeSet<&String> = of_category.into_iter().chain(of_all).flatten().collect();
    html! {
        @if !names.is_empty() {
            h3 { "Read by" }
            @for name in names {
                @let link = layout::link(&layout::projection_path(name), "Projection");
                (schema_of(name, described.document(name), &link))
            }
        }
    }
}

/// A type with its schema, if it declares one, and what can be done with it.
fn schema_of(title: &str, schema: Option<&Value>, link: &Markup) -> Markup {
    html! {
        @match schema {
            Some(schema) => details.schema { summary { (Untrusted(title)) } (text::json(&schema.to_string(), "quipu types --json")) (link) },
            None => p.schema { (Untrusted(title)) " " span.note { "without a schema" } " " (link) },
        }
    }
}

/// The events that a projection receives of a category.
pub fn source(source: &SourceView) -> Markup {
    html! {
        @match &source.category { Some(category) => (Untrusted(category)), None => "every category" } ": "
        @if source.events.is_empty() { "every type" }
        @for (number, event) in source.events.iter().enumerate() { @if number > 0 { ", " } (Untrusted(&event.name)) }
    }
}
