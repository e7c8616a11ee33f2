//! One event: as it is stored, as it is read, the command that led to it, and its causes.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::text::{self, Untrusted, encoded};
use super::views::{Command, Event, StreamEvents};
use super::visitor::Visitor;
use crate::failure::Result;
use crate::params::Segments;

/// Versions around an event that are searched for the other events of its commit.
const AROUND: u64 = 50;

pub async fn show(visitor: Visitor, Segments(position): Segments<String>) -> Response {
    let title = format!("Event {position}");
    let body = body(&visitor, &position).await;
    visitor.page(Tab::Log, &title, body)
}

async fn body(visitor: &Visitor, position: &str) -> Result<Markup> {
    let path = format!("/v1/events/{}", encoded(position));
    let event = visitor.get::<Event>(&path).await?;
    let commit = &event.commit;
    let siblings = siblings(visitor, &event).await;
    let first = siblings.first().map_or(event.version, |it| it.0);
    let command = format!("quipu event {} --json", event.position);
    let state = |version| layout::state_path(&event.stream, version, commit.module.as_deref());
    let some = |text: &Option<String>| text.as_ref().map(|it| html! { (Untrusted(it)) });
    let facts = [
        (
            "Type",
            Some(html! { (Untrusted(&event.name)) " v" (event.schema_version) }),
        ),
        ("Stream", Some(layout::stream(&event.stream))),
        (
            "Version",
            Some(html! { a href=(state(event.version)) { (event.version) } }),
        ),
        ("Id", Some(html! { code { (Untrusted(&event.id)) } })),
        ("Recorded at", Some(layout::time(&event.recorded_at))),
        (
            "Tags",
            (!event.tags.is_empty()).then(|| html! { (Untrusted(&event.tags.join(", "))) }),
        ),
        ("Principal", some(&commit.principal)),
        (
            "Command id",
            commit.command_id.as_ref().map(|it| layout::trace(it)),
        ),
        (
            "Module",
            commit.module.as_ref().map(|it| layout::module(it)),
        ),
        ("Plan", Some(html! { (commit.plan) })),
        ("Fuel", commit.fuel.map(|it| html! { (it) })),
        (
            "Correlation id",
            commit.correlation_id.as_ref().map(|it| layout::trace(it)),
        ),
        (
            "Causation id",
            commit.causation_id.as_ref().map(|it| layout::trace(it)),
        ),
        ("Trace context", some(&commit.traceparent)),
    ];
    Ok(html! {
        (layout::facts(&facts))
        p {
            a href=(state(event.version)) { "State after it" } " \u{b7} "
            a href=(state(first.saturating_sub(1))) { "State that its command met" } " \u{b7} "
            a href={ "/console/trace?id=" (encoded(&event.id)) } { "Tree of causes" }
        }
        @if siblings.len() > 1 {
            p {
                "The same commit has " (layout::count(siblings.len() as u64, "event", "events")) ": "
                @for (version, position) in &siblings { "version " (version) " at " (layout::position(*position)) " " }
            }
        }
        h2 { "Data, as stored" }
        (event.data(&command))
        @if event.metadata.get() != "{}" { h2 { "Metadata" } (text::json(event.metadata.get(), &command)) }
        (lifted(&event, &command))
        @if let Some(it) = &event.command { (of_command(it, &command)) }
        (around(event.position))
        (layout::same_as(visitor, &format!("event {}", event.position), &path))
    })
}

/// How readers receive it, if that differs.
fn lifted(event: &Event, command: &str) -> Markup {
    html! {
        @if let Some(why) = &event.not_lifted {
            h2 { "Lifted" }
            div.problem { p { "It can't be lifted: " (Untrusted(why)) } }
        } @else if let Some(parts) = &event.lifted {
            h2 { "Lifted" }
            @if parts.is_empty() { p { "It is dropped: readers do not receive it." } }
            @for it in parts {
                h3 { (Untrusted(&it.name)) " v" (it.schema_version) @if let Some(part) = it.part { ", part " (part) } }
                (it.data(command))
            }
        }
    }
}

fn of_command(it: &Command, command: &str) -> Markup {
    let facts = [
        (
            "Type",
            Some(html! { (Untrusted(&it.name)) " v" (it.schema_version) }),
        ),
        ("Id", Some(html! { code { (Untrusted(&it.id)) } })),
        ("Accepted at", Some(layout::time(&it.accepted_at))),
        ("Seed", Some(html! { code { (Untrusted(&it.seed)) } })),
    ];
    html! {
        h2 { "Command" }
        (layout::facts(&facts))
        (it.data(command))
        @if it.metadata.get() != "{}" { h3 { "Metadata of the command" } (text::json(it.metadata.get(), command)) }
    }
}

fn around(position: u64) -> Markup {
    let earlier = position.checked_sub(1).filter(|it| *it > 0);
    layout::pager(
        Some((
            format!("/console/events/{}", position + 1),
            "Next event of the log",
        )),
        earlier.map(|it| (format!("/console/events/{it}"), "Event before it")),
    )
}

/// Versions and positions of the events of the same commit.
async fn siblings(visitor: &Visitor, event: &Event) -> Vec<(u64, u64)> {
    let Some(id) = &event.commit.command_id else {
        return Vec::new();
    };
    let from = event.version.saturating_sub(AROUND).max(1);
    let limit = 2 * AROUND;
    let name = encoded(&event.stream);
    let path = format!("/v1/streams/{name}/events?form=stored&from={from}&limit={limit}");
    let Ok(page) = visitor.get::<StreamEvents>(&path).await else {
        return Vec::new();
    };
    let same = page
        .events
        .iter()
        .filter(|it| it.commit.command_id.as_ref() == Some(id));
    same.map(|it| (it.version, it.position)).collect()
}
