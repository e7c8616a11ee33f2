//! The list of streams.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::text::encoded;
use super::views::Streams;
use super::visitor::Visitor;
use crate::failure::Result;

/// Streams of one page.
const STREAMS: usize = 100;
const ARCHIVED: [(&str, &str); 3] = [
    ("without", "without archived ones"),
    ("with", "with archived ones"),
    ("only", "only archived ones"),
];

pub async fn show(visitor: Visitor) -> Response {
    let body = list(&visitor).await;
    let body = html! {
        (form(&visitor))
        (layout::part("Streams are", body))
    };
    visitor.page(Tab::Streams, "Streams", Ok(body))
}

fn form(visitor: &Visitor) -> Markup {
    let archived = visitor.text("archived").unwrap_or("without");
    html! {
        form.filters method="get" action="/console/streams" {
            div { label for="category" { "Category" } input #category name="category" maxlength="200" value=[visitor.text("category")]; }
            div {
                label for="archived" { "Archived" }
                select #archived name="archived" {
                    @for (value, label) in ARCHIVED { option value=(value) selected[value == archived] { (label) } }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

async fn list(visitor: &Visitor) -> Result<Markup> {
    let mut query = format!("limit={STREAMS}");
    for name in ["category", "archived", "after"] {
        if let Some(value) = visitor.text(name) {
            query += &format!("&{name}={}", encoded(value));
        }
    }
    let page = visitor
        .get::<Streams>(&format!("/v1/streams?{query}"))
        .await?;
    let next = page.next.as_ref().map(|after| {
        let filters = ["category", "archived"]
            .iter()
            .filter_map(|name| Some(format!("&{name}={}", encoded(visitor.text(name)?))));
        let filters: String = filters.collect();
        (
            format!("/console/streams?after={}{filters}", encoded(after)),
            "Next page",
        )
    });
    let rows = html! {
        @for it in &page.streams {
            tr {
                td { (layout::stream(&it.stream)) }
                td.number { (it.version) }
                td { (layout::time(&it.recorded_at)) }
                td {
                    @if let Some(at) = &it.archived_at { "archived at " (layout::time(at)) " " }
                    @if let Some(before) = it.truncated_before { "truncated before version " (before) }
                }
            }
        }
    };
    Ok(html! {
        @if page.streams.is_empty() { p.note { "There are no such streams." } }
        @else { (layout::table("Streams", &["Stream", "Version", "Last event", "Marks"], &rows)) }
        (layout::pager(None, next))
        (layout::same_as(visitor, "streams", &format!("/v1/streams?{query}")))
    })
}
