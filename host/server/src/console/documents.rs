//! Documents of a projection, by key and by index.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::projections::document_path;
use super::text::{self, Untrusted, encoded, quoted};
use super::views::{Document, Documents};
use super::visitor::Visitor;
use crate::failure::Result;
use crate::params::Segments;

/// Documents of one page.
const DOCUMENTS: usize = 50;

pub async fn show(visitor: Visitor, Segments(name): Segments<String>) -> Response {
    let title = format!("Documents of {name}");
    let body = match visitor.text("key") {
        Some(key) => one(&visitor, &name, key).await,
        None => list(&visitor, &name).await,
    };
    let body = html! {
        p { (layout::link(&layout::projection_path(&name), "The projection")) }
        (form(&visitor, &name))
        (layout::part("Documents are", body))
    };
    visitor.page(Tab::Projections, &title, Ok(body))
}

fn form(visitor: &Visitor, name: &str) -> Markup {
    html! {
        form.filters method="get" action={ (layout::projection_path(name)) "/documents" } {
            div { label for="key" { "Key" } input #key name="key" maxlength="1024" value=[visitor.text("key")]; }
            div { label for="where" { "Condition, as status=open" } input #where name="where" maxlength="1024" value=[visitor.text("where")]; }
            div { label for="order" { "Order by index" } input #order name="order" maxlength="200" value=[visitor.text("order")]; }
            button type="submit" { "Show" }
        }
    }
}

async fn one(visitor: &Visitor, name: &str, key: &str) -> Result<Markup> {
    let path = format!("/v1/views/{}/{}", encoded(name), encoded(key));
    let it = visitor.get::<Document>(&path).await?;
    let command = format!("view {} {}", quoted(name), quoted(key));
    let facts = [
        ("Key", Some(html! { (Untrusted(&it.key)) })),
        ("Change", Some(html! { (it.change) })),
        (
            "Includes events up to",
            it.position.map(|it| html! { (it) }),
        ),
        (
            "Stale",
            it.stale
                .then(|| html! { "it may differ from the result of a rebuild" }),
        ),
    ];
    Ok(html! {
        (layout::facts(&facts))
        @if let Some(parked) = &it.parked {
            div.problem {
                p { (layout::count(parked.events, "event is", "events are")) " parked for this document, from position " (layout::position(parked.first_position)) " on." }
                @if let Some(error) = &parked.error { p { (Untrusted(text::cut(error, 4_096).0)) } }
            }
        }
        (text::json(it.document.get(), &format!("quipu {command} --json")))
        (layout::same_as(visitor, &command, &path))
    })
}

async fn list(visitor: &Visitor, name: &str) -> Result<Markup> {
    let (mut query, mut flags) = (format!("limit={DOCUMENTS}"), String::new());
    let mut filters = String::new();
    for parameter in ["where", "order"] {
        if let Some(value) = visitor.text(parameter) {
            filters += &format!("&{parameter}={}", encoded(value));
            flags += &format!(" --{parameter} {}", quoted(value));
        }
    }
    query += &filters;
    if let Some(cursor) = visitor.text("cursor") {
        query += &format!("&cursor={}", encoded(cursor));
    }
    let path = format!("/v1/views/{}?{query}", encoded(name));
    let page = visitor.get::<Documents>(&path).await?;
    let here = format!("{}/documents", layout::projection_path(name));
    let next = page.next.as_ref().map(|it| {
        (
            format!("{here}?cursor={}{filters}", encoded(it)),
            "Next page",
        )
    });
    let rows = html! {
        @for it in &page.documents {
            tr {
                td { (layout::link(&document_path(name, &it.key), &it.key)) }
                td.wide { (text::preview(it.document.get())) }
                td.number { (it.change) }
            }
        }
    };
    Ok(html! {
        p.note {
            "They include events up to position " (page.position) "."
            @if page.parked > 0 { " Events are parked for " (layout::count(page.parked, "document or stream", "documents and streams")) "." }
        }
        @if page.documents.is_empty() { p { "No document on this page." } }
        @else { (layout::table("Documents", &["Key", "Document", "Change"], &rows)) }
        (layout::pager(None, next))
        (layout::same_as(visitor, &format!("view {}{flags}", quoted(name)), &path))
    })
}
