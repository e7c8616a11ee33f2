//! A projection event by event: what it makes of a stream.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::layout::{self, Tab};
use super::stream::{differing, may_read};
use super::text::{self, Untrusted, encoded};
use super::views::StreamEvents;
use super::visitor::Visitor;
use crate::failure::Result;
use crate::params::Segments;
use quipu::model::StreamId;

/// Documents of a step that are shown.
const DOCUMENTS_MAX: usize = 20;

#[derive(Deserialize)]
struct Steps {
    version: u64,
    truncated_before: Option<u64>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    version: u64,
    position: u64,
    #[serde(rename = "type")]
    name: String,
    changes: Vec<Change>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Change {
    key: String,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
}

/// The form that begins, on the page of a projection.
pub fn form(projection: &str, stream: Option<&str>) -> Markup {
    html! {
        form.filters method="get" action=(path(projection)) {
            div { label for="stream" { "Stream" } input #stream name="stream" maxlength="512" required value=[stream]; }
            button type="submit" { "Step through it" }
        }
    }
}

fn path(projection: &str) -> String {
    format!("{}/steps", layout::projection_path(projection))
}

pub async fn show(visitor: Visitor, Segments(name): Segments<String>) -> Response {
    let stream = visitor.text("stream").map(str::to_owned);
    let body = match &stream {
        None => Ok(html! { p.note { "Choose a stream." } }),
        Some(stream) => body(&visitor, &name, stream).await,
    };
    let body = html! {
        p { a href=(layout::projection_path(&name)) { "Back to the projection" } }
        (form(&name, stream.as_deref()))
        (layout::part("Steps are", body))
    };
    visitor.page(
        Tab::Projections,
        &format!("{name}, event by event"),
        Ok(body),
    )
}

async fn body(visitor: &Visitor, name: &str, stream: &str) -> Result<Markup> {
    let at = visitor.number("at")?.unwrap_or(1).max(1);
    let operation = format!(
        "/v1/projections/{}/steps/{}",
        encoded(name),
        encoded(stream)
    );
    let query = format!("{operation}?from={at}&limit=1");
    let answer = visitor.get::<Steps>(&query).await?;
    let first = answer.truncated_before.unwrap_or(1).max(1);
    let here = |at: u64| format!("{}?stream={}&at={at}", path(name), encoded(stream));
    let step = answer.steps.first();
    let at = step.map_or(at, |step| step.version);
    let event = match step {
        Some(step) => event(visitor, stream, step).await,
        None => html! { p.note { "The stream has no event of this version." } },
    };
    let earlier = (at > first).then(|| (here(at - 1), "Event before it"));
    let later = (at < answer.version).then(|| (here(at + 1), "Next event"));
    Ok(html! {
        p.note {
            "Only events of " (layout::stream(stream)) " are folded, by the rules of the active component, and nothing is stored. The stream is at version " (answer.version) "."
            @if first > 1 { " Events before version " (first) " are truncated and not folded." }
        }
        form.slider action=(path(name)) method="get" data-slider {
            input type="hidden" name="stream" value=(stream);
            label for="at" { "Version" }
            input #at name="at" type="number" min=(first) max=(answer.version.max(first)) value=(at) required;
            input type="range" aria-label="Version" min=(first) max=(answer.version.max(first)) value=(at) hidden;
            button type="submit" { "Show" }
        }
        div #refreshed {
            (event)
            (layout::pager(earlier, later))
        }
        (layout::same_as_request(visitor, &query))
    })
}

/// The event of a step, and what it changes.
async fn event(visitor: &Visitor, stream: &str, step: &Step) -> Markup {
    html! {
        h2 { "Event " (step.version) ": " (Untrusted(&step.name)) }
        p { "At position " (layout::position(step.position)) "." }
        (data(visitor, stream, step).await)
        @if let Some(error) = &step.error {
            div.problem { p { strong { "It can't be folded" } } p { (Untrusted(text::cut(error, 4_096).0)) } }
        } @else if step.changes.is_empty() {
            p.note { "The projection does not read this event, or gives it no key." }
        }
        @for change in step.changes.iter().take(DOCUMENTS_MAX) { (changed(change)) }
        @if step.changes.len() > DOCUMENTS_MAX {
            p.note { (step.changes.len() - DOCUMENTS_MAX) " further documents are not shown." }
        }
    }
}

/// The data of the event, if the reader may read them.
async fn data(visitor: &Visitor, stream: &str, step: &Step) -> Markup {
    let is_readable = StreamId::new(stream).is_ok_and(|stream| may_read(visitor, &stream));
    if !is_readable {
        return layout::hidden("The data of the event are", "you may not read them");
    }
    let version = step.version;
    let path = format!(
        "/v1/streams/{}/events?form=stored&from={version}&limit=1",
        encoded(stream)
    );
    let rest_from = format!("quipu event {} --json", step.position);
    match visitor.get::<StreamEvents>(&path).await {
        Ok(page) => html! { @for event in &page.events { (event.data(&rest_from)) } },
        Err(failure) => layout::part("The data of the event are", Err(failure)),
    }
}

fn changed(change: &Change) -> Markup {
    let none = RawValue::NULL;
    let (before, after) = (
        change.before.as_deref().unwrap_or(none),
        change.after.as_deref().unwrap_or(none),
    );
    html! {
        h3 { "Document " (Untrusted(text::cut(&change.key, 512).0)) }
        @match (&change.before, &change.after) {
            (None, None) => p.note { "It is not there before and after the event." },
            (None, Some(after)) => { p.note { "The event makes it." } (text::json(after.get(), "quipu view --live")) },
            (Some(before), None) => { p.note { "The event removes it. Before:" } (text::json(before.get(), "quipu view --live")) },
            (Some(_), Some(_)) => { (differing(before, after)) details { summary { "The document after the event" } (text::json(after.get(), "quipu view --live")) } },
        }
    }
}
