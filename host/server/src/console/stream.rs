//! A stream: its events and rejections, its state at any version, and what each event changed.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::value::RawValue;

use super::history::Page;
use super::layout::{self, Tab};
use super::previews;
use super::text::{self, Untrusted, encoded, quoted};
use super::views::{self, Rejections, State, StreamEvents};
use super::visitor::{Answer, Visitor};
use crate::failure::Result;
use crate::params::Segments;
use crate::request::away;
use quipu::access::{Action, Object};
use quipu::model::StreamId;
use quipu_api::Code;
use quipu_api::json_diff::differences;

/// Events of one page.
const EVENTS: usize = 50;

pub async fn show(visitor: Visitor, Segments(stream): Segments<String>) -> Response {
    let body = body(&visitor, &stream).await;
    visitor.page(Tab::Streams, &stream, body)
}

async fn body(visitor: &Visitor, stream: &str) -> Result<Markup> {
    let from = visitor.number("from")?;
    let from_part = from.map_or_else(String::new, |it| format!("&from={it}"));
    let name = encoded(stream);
    let path = format!("/v1/streams/{name}/events?direction=backward&limit={EVENTS}{from_part}");
    let (page, why) = views::lifted_or_stored::<StreamEvents>(visitor, &path).await?;
    let (chosen, at) = Chosen::of(visitor, stream, page.version).await?;
    let first = page
        .truncated_before
        .map_or(0, |before| before.saturating_sub(1));
    let history = history(visitor, stream, &page, from).await;
    let here = layout::stream_path(stream);
    let as_module = as_module(chosen.module);
    let newer = from.map(|_| (here.clone(), "Newest events"));
    let older = page.next.map(|next| {
        (
            format!("{here}?from={next}&at={at}{as_module}"),
            "Older events",
        )
    });
    let facts = [
        ("Version", Some(html! { (page.version) })),
        (
            "Category",
            category(stream)
                .map(|it| layout::link(&format!("/console/streams?category={}", encoded(it)), it)),
        ),
        (
            "Truncated",
            page.truncated_before
                .map(|it| html! { "events before version " (it) " are hidden" }),
        ),
    ];
    Ok(html! {
        (layout::facts(&facts))
        section aria-labelledby="state" {
            h2 #state { "State" }
            (slider(stream, at, (first, page.version), chosen.module))
            (chosen.form(stream))
            div #refreshed { (state(visitor, stream, at, chosen.module).await) }
            p { a href=(previews::path(stream, "")) { "Preview a command" } ": what it would lead to now" }
        }
        h2 { "Events" }
        (views::not_lifted(why.as_deref()))
        (history)
        (layout::pager(newer, older))
        (layout::same_as(visitor, &format!("stream {} --backward", quoted(stream)), &path))
    })
}

/// How the reader wants the state.
struct Chosen<'a> {
    time: Option<&'a str>,
    /// Another module than the active one, which renders it.
    module: Option<&'a str>,
}

impl<'a> Chosen<'a> {
    /// What the reader chose, and the version of the state: a version that is named, that at a time
    /// that is named, or the last one.
    async fn of(visitor: &'a Visitor, stream: &str, last: u64) -> Result<(Self, u64)> {
        let chosen = Self {
            time: visitor.text("time"),
            module: visitor.text("module"),
        };
        let at = match (visitor.number("at")?, chosen.time) {
            (Some(at), _) => at,
            (None, None) => last,
            (None, Some(time)) => {
                let at = format!("at_time={}", encoded(time));
                read_state(visitor, stream, &at, chosen.module)
                    .await?
                    .version
            }
        };
        Ok((chosen, at))
    }

    fn form(&self, stream: &str) -> Markup {
        html! {
            form.slider action=(layout::stream_path(stream)) method="get" {
                label for="time" { "At a time" }
                input #time name="time" type="text" value=(self.time.unwrap_or("")) placeholder="2026-01-31T12:00:00Z";
                label for="module" { "as the module" }
                input #module name="module" type="text" value=(self.module.unwrap_or("")) placeholder="first digits of its digest";
                button type="submit" { "Show" }
            }
        }
    }
}

/// The part of a stream's id before the first `-`.
pub fn category(stream: &str) -> Option<&str> {
    stream.split_once('-').map(|(category, _)| category)
}

/// The part of an address that names a module.
fn as_module(module: Option<&str>) -> String {
    module.map_or_else(String::new, |it| format!("&module={}", encoded(it)))
}

fn slider(stream: &str, at: u64, (first, last): (u64, u64), module: Option<&str>) -> Markup {
    let here = layout::stream_path(stream);
    let module =
        html! { @if let Some(it) = module { input type="hidden" name="module" value=(it); } };
    html! {
        form.slider action=(here) method="get" data-slider {
            label for="at" { "Version" }
            input #at name="at" type="number" min=(first) max=(last) value=(at) required;
            input type="range" aria-label="Version" min=(first) max=(last) value=(at) hidden;
            (module)
            button type="submit" { "Show" }
        }
        form.slider action={ (here) "/diff" } method="get" {
            label for="one" { "Compare version" }
            input #one name="one" type="number" min=(first) max=(last) value=(at.saturating_sub(1).max(first)) required;
            label for="other" { "with" }
            input #other name="other" type="number" min=(first) max=(last) value=(at) required;
            (module)
            button type="submit" { "Compare" }
        }
    }
}

/// The state at a version, and what its event changed.
async fn state(visitor: &Visitor, stream: &str, at: u64, module: Option<&str>) -> Markup {
    let shown = match state_at(visitor, stream, at, module).await {
        Ok(shown) => shown,
        Err(failure) if failure.0.code == Code::UnknownCategory.as_str() => {
            return html! { p.note { "No active component decides this category, so its streams have no state." } };
        }
        Err(failure) => return layout::part("The state is", Err(failure)),
    };
    let before = match at.checked_sub(1) {
        // Before the oldest event that is left there may be no state.
        Some(before) => state_at(visitor, stream, before, module).await.ok(),
        None => None,
    };
    html! {
        h3 { "At version " (shown.version) }
        p.note { "As rendered by module " (layout::module(&shown.module)) "." }
        (text::json(shown.state.get(), &state_command(stream, at, module)))
        @if let Some(before) = before {
            h3 { "Changed by event " (at) }
            (compared_by(visitor, &before.state, &shown.state))
        }
    }
}

fn state_command(stream: &str, at: u64, module: Option<&str>) -> String {
    let module = module.map_or_else(String::new, |it| format!(" --module {}", quoted(it)));
    format!(
        "quipu stream {} --state --at-version {at}{module} --json",
        quoted(stream)
    )
}

async fn state_at(
    visitor: &Visitor,
    stream: &str,
    at: u64,
    module: Option<&str>,
) -> Result<Answer<State>> {
    read_state(visitor, stream, &format!("at_version={at}"), module).await
}

/// The state at a version or a time.
async fn read_state(
    visitor: &Visitor,
    stream: &str,
    at: &str,
    module: Option<&str>,
) -> Result<Answer<State>> {
    let name = encoded(stream);
    let path = format!("/v1/streams/{name}/state?{at}{}", as_module(module));
    visitor.get(&path).await
}

/// A table of differences between states. Those of masked values can't be seen.
fn compared_by(visitor: &Visitor, before: &RawValue, after: &RawValue) -> Markup {
    match visitor.is_masked() && before.get() == after.get() {
        true => html! { p.note { "The form does not differ. Masked values are not compared." } },
        false => differing(before, after),
    }
}

/// A table of differences.
pub fn differing(before: &RawValue, after: &RawValue) -> Markup {
    let bytes = before.get().len() + after.get().len();
    let (found, has_more) = away(bytes, || differences(before, after));
    let value = |value: Option<&str>| match value {
        Some(value) => {
            let (begin, rest) = text::cut(value, 2_048);
            html! { code { (Untrusted(begin)) @if rest > 0 { "\u{2026}" } } }
        }
        None => html! { span.none { "not there" } },
    };
    let rows = html! {
        @for it in &found {
            tr {
                td { code { @if it.place.is_empty() { "(all of it)" } @else { (Untrusted(text::cut(&it.place, 512).0)) } } }
                td.wide { del { (value(it.before)) } }
                td.wide { ins { (value(it.after)) } }
            }
        }
    };
    html! {
        @if found.is_empty() { p.note { "Nothing differs." } }
        @else { (layout::table("Differences", &["Place", "Before", "After"], &rows)) }
        @if has_more { p.note { "Further differences are not shown." } }
    }
}

/// The events of a page, and the rejections between them.
async fn history(
    visitor: &Visitor,
    stream: &str,
    page: &StreamEvents,
    from: Option<u64>,
) -> Markup {
    let rejected = rejected(visitor, stream).await;
    let page = Page {
        events: &page.events,
        rejections: rejected.iter().flat_map(|page| &page.rejections).collect(),
        from,
        next: page.next,
    };
    page.show()
}

/// The last rejections of a stream.
async fn rejected(visitor: &Visitor, stream: &str) -> Option<Answer<Rejections>> {
    // What the reader may not see is not asked for: a denial would be recorded.
    let id = StreamId::new(stream).ok()?;
    if !may_read(visitor, &id) {
        return None;
    }
    let path = format!("/v1/rejections?limit=100&stream={}", encoded(stream));
    visitor.get(&path).await.ok()
}

pub async fn diff(visitor: Visitor, Segments(stream): Segments<String>) -> Response {
    let body = compared(&visitor, &stream).await;
    visitor.page(Tab::Streams, &stream, body)
}

async fn compared(visitor: &Visitor, stream: &str) -> Result<Markup> {
    let other = visitor.number("other")?.unwrap_or(0);
    let one = visitor.number("one")?.unwrap_or(other.saturating_sub(1));
    let module = visitor.text("module");
    let before = state_at(visitor, stream, one, module).await?;
    let after = state_at(visitor, stream, other, module).await?;
    let url = quoted(&visitor.base);
    let command = |at: u64| format!("{} --url {url}", state_command(stream, at, module));
    let name = encoded(stream);
    let curl = |at: u64| {
        let path = format!(
            "/v1/streams/{name}/state?at_version={at}{}",
            as_module(module)
        );
        layout::curl(visitor, "", &path)
    };
    Ok(html! {
        p { a href=(layout::state_path(stream, other, module)) { "Back to the stream" } }
        (chosen_versions(stream, (one, other), module))
        h2 { "From version " (one) " to version " (other) }
        p.note { "As rendered by module " (layout::module(&after.module)) "." }
        (compared_by(visitor, &before.state, &after.state))
        (layout::same_as_lines(&[
            format!("diff <({}) <({})", command(one), command(other)),
            curl(one),
            curl(other),
        ]))
    })
}

/// The form of a comparison.
fn chosen_versions(stream: &str, (one, other): (u64, u64), module: Option<&str>) -> Markup {
    html! {
        form.slider action={ (layout::stream_path(stream)) "/diff" } method="get" {
            label for="one" { "Compare version" }
            input #one name="one" type="number" min="0" value=(one) required;
            label for="other" { "with" }
            input #other name="other" type="number" min="0" value=(other) required;
            label for="module" { "as the module" }
            input #module name="module" type="text" value=(module.unwrap_or("")) placeholder="first digits of its digest";
            button type="submit" { "Compare" }
        }
    }
}

/// Whether the reader may read the payloads of a stream, without a denial in the audit.
pub fn may_read(visitor: &Visitor, stream: &StreamId) -> bool {
    may(visitor, Action::ReadPayload, stream)
}

/// Whether the reader may read a stream, perhaps with masked payloads.
pub fn may_find(visitor: &Visitor, stream: &StreamId) -> bool {
    may(visitor, Action::Read, stream) || may_read(visitor, stream)
}

fn may(visitor: &Visitor, action: Action, stream: &StreamId) -> bool {
    let rules = visitor.app.options.rules.current();
    let checked = rules.check(&visitor.caller, action, Object::Stream(stream));
    checked.is_ok()
}
