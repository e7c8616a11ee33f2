//! The log, newest events first.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::text::{encoded, quoted};
use super::views::{self, Log};
use super::visitor::Visitor;
use crate::failure::Result;

/// Events of one page.
const EVENTS: usize = 50;
/// Filters: name of the parameter, and label.
pub const FILTERS: [(&str, &str); 4] = [
    ("category", "Category"),
    ("type", "Type"),
    ("prefix", "Prefix of the stream"),
    ("tag", "Tag"),
];

pub async fn show(visitor: Visitor) -> Response {
    let list = list(&visitor).await;
    let live = format!(
        "/console/log/live?{}",
        filters(&visitor, &FILTERS).0.trim_start_matches('&')
    );
    // Older pages do not grow.
    let is_newest = visitor.text("before").is_none() && list.is_ok();
    let body = html! {
        form.filters method="get" action="/console/log" {
            @for (name, label) in FILTERS {
                div { label for={ "f-" (name) } { (label) } input id={ "f-" (name) } name=(name) maxlength="512" value=[visitor.text(name)]; }
            }
            button type="submit" { "Show" }
            @if is_newest { button type="button" data-live=(live) hidden aria-pressed="false" { "Follow live" } }
        }
        @if is_newest { p #live-status.note role="status" {} }
        div #refreshed { (layout::part("Events are", list)) }
    };
    visitor.page(Tab::Log, "Log", Ok(body))
}

/// The filters that the reader chose, as a query and as flags of the command line.
pub fn filters(visitor: &Visitor, all: &[(&str, &str)]) -> (String, String) {
    let (mut filters, mut flags) = (String::new(), String::new());
    for (name, _) in all {
        if let Some(value) = visitor.text(name) {
            filters += &format!("&{name}={}", encoded(value));
            flags += &format!(" --{name} {}", quoted(value));
        }
    }
    (filters, flags)
}

async fn list(visitor: &Visitor) -> Result<Markup> {
    let (filters, flags) = filters(visitor, &FILTERS);
    let before = visitor.number("before")?;
    let after = before.map_or_else(String::new, |it| format!("&after={it}"));
    let path = format!("/v1/events?direction=backward&limit={EVENTS}{after}{filters}");
    let (page, why) = views::lifted_or_stored::<Log>(visitor, &path).await?;
    let newest = before.map(|_| {
        (
            format!("/console/log?{}", filters.trim_start_matches('&')),
            "Newest events",
        )
    });
    let older = page.next.map(|next| {
        (
            format!("/console/log?before={next}{filters}"),
            "Older events",
        )
    });
    Ok(html! {
        (views::not_lifted(why.as_deref()))
        p.note { "The last position of the log is " (page.head) "." }
        @if page.events.is_empty() { p.note { "No event on this page matches." } }
        // Events that are to come have their place, too.
        @if !page.events.is_empty() || before.is_none() { (views::events("Events", &page.events)) }
        (layout::pager(newest, older))
        (layout::same_as(visitor, &format!("events{flags}"), &path))
    })
}
