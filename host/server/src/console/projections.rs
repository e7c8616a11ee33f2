//! Projections: how far they are, what stops them, and what is parked.

use axum::response::Response;
use maud::{Markup, html};

use super::act;
use super::layout::{self, Tab};
use super::overview::{lag_seconds, seconds};
use super::rates;
use super::steps;
use super::text::{self, Untrusted, encoded, quoted};
use super::visitor::Visitor;
use crate::failure::Result;
use crate::params::Segments;
use quipu::access::Action;
use quipu_api::{BuildView, ComparisonView, FailedEventList, ProjectionList, ProjectionView};

/// Parked events of one page.
const PARKED: usize = 50;

pub async fn list(visitor: Visitor) -> Response {
    let body = all(&visitor).await;
    visitor.page(Tab::Projections, "Projections", body)
}

/// The measurements, if the reader may see them.
async fn measured(visitor: &Visitor) -> Option<String> {
    visitor.may(Action::Observe).ok()?;
    visitor.get_text("/metrics").await.ok()
}

async fn all(visitor: &Visitor) -> Result<Markup> {
    let list = visitor.get::<ProjectionList>("/v1/projections").await?;
    let measured = measured(visitor).await;
    let metrics = measured.as_deref().map(rates::series);
    let rows = html! {
        @for it in &list.projections {
            @let build = it.main_build();
            tr {
                td { (layout::link(&layout::projection_path(&it.name), &it.name)) }
                td { (layout::state(&it.state)) @if it.paused { " " (layout::state("paused")) } }
                td { (Untrusted(&it.lifecycle)) }
                td.number { (layout::or_dash(build.map(|it| it.lag))) }
                td.number { (layout::or_dash(metrics.as_ref().and_then(|all| lag_seconds(all, &it.name)).map(seconds))) }
                td.number { (layout::or_dash(build.map(|it| it.parked))) }
                td.number { (layout::or_dash(build.map(|it| it.documents))) }
                td { a href={ (layout::projection_path(&it.name)) "/documents" } { "Documents" } }
            }
        }
    };
    let columns = [
        "Projection",
        "State",
        "Lifecycle",
        "Lag in events",
        "Lag in time",
        "Parked",
        "Documents",
        "Pages",
    ];
    Ok(html! {
        @if list.projections.is_empty() { p { "There are no projections. A component defines them: see " code { "quipu new NAME --kind projection" } } }
        @else { (layout::table("Projections", &columns, &rows)) }
        (layout::same_as(visitor, "projections", "/v1/projections"))
    })
}

pub async fn show(visitor: Visitor, Segments(name): Segments<String>) -> Response {
    let body = one(&visitor, &name).await;
    visitor.page(Tab::Projections, &name, body)
}

async fn one(visitor: &Visitor, name: &str) -> Result<Markup> {
    let path = format!("/v1/projections/{}", encoded(name));
    let it = visitor.get::<ProjectionView>(&path).await?;
    let measured = measured(visitor).await;
    let lag = measured
        .as_deref()
        .and_then(|text| lag_seconds(&rates::series(text), name));
    let facts = [
        ("State", Some(html! { (layout::state(&it.state)) @if it.paused { " " (layout::state("paused")) } })),
        ("Lifecycle", Some(html! { (Untrusted(&it.lifecycle)) ", on error " (Untrusted(&it.on_error)) })),
        (
            "Component",
            it.deployed.as_ref().map(|it| html! { (Untrusted(&it.component)) " " (layout::module(&it.module)) ", definition version " (it.version) }),
        ),
        ("Head of the log", Some(html! { (it.log_head) })),
        ("Lag in time", lag.map(|lag| html! { (seconds(lag)) })),
    ];
    Ok(html! {
        (layout::facts(&facts))
        p { a href={ (layout::projection_path(name)) "/documents" } { "Documents" } }
        @for build in &it.builds { (build_of(build)) }
        @if it.builds.is_empty() { p.note { "It has no build." } }
        @if visitor.acts() { (act::projection_links(&it)) }
        h2 { "Parked events" }
        (layout::part("Parked events are", parked(visitor, name).await))
        @if it.deployed.is_some() {
            h2 { "Event by event" }
            p.note { "What each event of a stream changes in the documents." }
            (steps::form(name, None))
        }
        (layout::same_as(visitor, &format!("projection {}", quoted(name)), &path))
    })
}

fn build_of(build: &BuildView) -> Markup {
    let number = |number: u64| Some(html! { (number) });
    let facts = [
        ("State", Some(layout::state(&build.state))),
        ("Position", number(build.position)),
        ("Lag in events", number(build.lag)),
        ("Documents", number(build.documents)),
        ("Parked", number(build.parked)),
        ("Skipped", number(build.skipped)),
        ("Definition version", number(build.version.into())),
        ("Module", Some(layout::module(&build.module))),
        ("Begun at", Some(layout::time(&build.started_at))),
        (
            "Folded by",
            Some(html! { (if build.owned { "a host" } else { "no host now" }) }),
        ),
        (
            "Remaining",
            build
                .remaining_ms
                .map(|ms| html! { (seconds(ms as f64 / 1_000.0)) }),
        ),
        (
            "Stale",
            build.stale.as_ref().map(|why| html! { (Untrusted(why)) }),
        ),
        (
            "Waits",
            build.waits.as_ref().map(|why| html! { (Untrusted(why)) }),
        ),
    ];
    html! {
        h2 { (match build.role.as_str() { "active" => "Active build", "next" => "Rebuild", _ => "Previous build" }) }
        (layout::facts(&facts))
        @if let Some(trouble) = &build.trouble {
            div.problem {
                p { strong { (if trouble.stopped { "It stopped, and waits for an operator" } else { "It is retried" }) } " after " (layout::count(trouble.attempts.into(), "attempt", "attempts")) ", since " (layout::time(&trouble.since)) }
                p { (Untrusted(text::cut(&trouble.error, 4_096).0)) }
                @if let Some(position) = trouble.position { p { "Event " (layout::position(position)) @if let Some(stream) = &trouble.stream { " in " (layout::stream(stream)) } } }
            }
        }
        @if let Some(comparison) = &build.comparison { (compared(comparison)) }
    }
}

fn compared(it: &ComparisonView) -> Markup {
    let rows = html! {
        @for example in &it.examples {
            tr {
                td { (Untrusted(&example.key)) }
                td.wide { code { (Untrusted(example.active.as_deref().unwrap_or("not there"))) } }
                td.wide { code { (Untrusted(example.next.as_deref().unwrap_or("not there"))) } }
            }
        }
    };
    html! {
        h3 { "Compared with the active build" }
        p {
            (layout::count(it.same, "document is", "documents are")) " the same, " (it.different) " differ, "
            (it.only_active) " only in the active build, " (it.only_next) " only in the rebuild"
            @if !it.complete { "; not all documents were compared" } "."
        }
        @if !it.examples.is_empty() { (layout::table("Documents that differ", &["Key", "Active", "Rebuild"], &rows)) }
    }
}

async fn parked(visitor: &Visitor, name: &str) -> Result<Markup> {
    let cursor = visitor
        .text("cursor")
        .map(|it| format!("&cursor={}", encoded(it)));
    let path = format!(
        "/v1/projections/{}/parked?limit={PARKED}{}",
        encoded(name),
        cursor.unwrap_or_default()
    );
    let page = visitor.get::<FailedEventList>(&path).await?;
    let here = layout::projection_path(name);
    let older = page
        .next
        .as_ref()
        .map(|it| (format!("{here}?cursor={}", encoded(it)), "Next page"));
    let rows = html! {
        @for it in &page.events {
            tr {
                td.number { (layout::position(it.position)) }
                td {
                    @if let Some(key) = &it.document { "document " (layout::link(&document_path(name, key), key)) }
                    @if let Some(stream) = &it.stream { "stream " (layout::stream(stream)) }
                }
                td { (layout::time(&it.at)) }
                td.number { (it.attempts) }
                td.wide { @match &it.error { Some(error) => (Untrusted(text::cut(error, 2_048).0)), None => span.none { "waits for the event before it" } } }
            }
        }
    };
    Ok(html! {
        @if page.events.is_empty() { p.note { "No event is parked." } }
        @else {
            (layout::table("Parked events", &["Position", "Of", "Parked at", "Attempts", "Error"], &rows))
            p { "After a fix, retry them: " code { "quipu projection " (Untrusted(&quoted(name))) " retry-parked" } }
        }
        (layout::pager(None, older))
    })
}

/// The address of a document.
pub fn document_path(projection: &str, key: &str) -> String {
    format!(
        "{}/documents?key={}",
        layout::projection_path(projection),
        encoded(key)
    )
}
