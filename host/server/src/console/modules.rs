//! Modules, and the history of the plan.

use axum::response::Response;
use maud::{Markup, html};

use super::activations::{self, activate_link, roll_back_link};
use super::judged;
use super::layout::{self, Tab};
use super::overview::bytes;
use super::shadows;
use super::text::{Untrusted, encoded, quoted};
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use crate::params::Segments;
use quipu_api::{
    Code, DeploymentList, DeploymentView, ModuleList, ModuleView, SummaryView, TypeView,
};

/// Activations of one page.
const DEPLOYMENTS: usize = 100;

pub async fn list(visitor: Visitor) -> Response {
    let body = lists(&visitor).await;
    visitor.page(Tab::Modules, "Modules and deployments", body)
}

async fn lists(visitor: &Visitor) -> Result<Markup> {
    let modules = visitor.get::<ModuleList>("/v1/modules").await?;
    let history = visitor.get::<DeploymentList>("/v1/deployments").await?;
    let active: Vec<_> = history.deployments.iter().filter(|it| it.active).collect();
    let row = |it: &DeploymentView| {
        html! {
            tr {
                td.number { a href={ "/console/deployments/" (it.plan) } { (it.plan) } }
                td { (Untrusted(&it.name)) @if !it.others.is_empty() { " and " (layout::count(it.others.len() as u64, "other", "others")) } }
                td { (layout::module(&it.digest)) }
                td { (layout::time(&it.activated_at)) }
                td { (layout::or_dash(it.activated_by.as_deref().map(Untrusted))) }
                td { (verdict(it.preflight.as_ref())) }
                td { @if it.active { (layout::state("active")) } }
            }
        }
    };
    let columns = [
        "Plan",
        "Component",
        "Module",
        "Activated at",
        "By",
        "Preflight",
        "State",
    ];
    let may_activate = activations::may(visitor);
    let stored = html! {
        @for it in modules.modules.iter().rev() {
            tr {
                td { (layout::module(&it.digest)) }
                td { (layout::or_dash(it.name.as_deref().map(Untrusted))) }
                td { (layout::time(&it.uploaded_at)) }
                td.number { (bytes(it.bytes)) }
                td { @if it.active { (layout::state("active")) } @else if may_activate { (activate_link(&it.digest)) } }
            }
        }
    };
    Ok(html! {
        h2 { "Active plan: " (history.plan) }
        @if active.is_empty() { p { "Nothing is active. Deploy a component: " code { "quipu deploy FILE" } } }
        @else { (layout::table("Active components", &columns, &html! { @for it in active { (row(it)) } })) }
        h2 { "History" }
        @if history.deployments.is_empty() { p.note { "Nothing was ever activated." } }
        @else {
            (layout::table("Deployments", &columns, &html! { @for it in history.deployments.iter().rev().take(DEPLOYMENTS) { (row(it)) } }))
            @if history.deployments.len() > DEPLOYMENTS { p.note { "Older deployments are not shown." } }
        }
        p { a href="/console/shadow" { "Shadow" } ", a module that decides live commands without effect" }
        h2 { "Stored modules" }
        @if modules.modules.is_empty() { p.note { "No module is stored." } }
        @else { (layout::table("Modules", &["Module", "Name", "Uploaded at", "Size", "State"], &stored)) }
        (layout::same_as(visitor, "deployments", "/v1/deployments"))
    })
}

fn verdict(preflight: Option<&SummaryView>) -> Markup {
    html! {
        @match preflight {
            None => span.none { "none" },
            Some(it) if it.passes && it.objections.is_empty() => { "passed, " (it.same) " of " (it.decided) " decisions the same" },
            Some(it) if it.passes => { "passed with " (layout::count(it.objections.len() as u64, "objection", "objections")) },
            Some(_) => "overridden",
        }
    }
}

pub async fn deployment(visitor: Visitor, Segments(plan): Segments<u64>) -> Response {
    let body = of_plan(&visitor, plan).await;
    visitor.page(Tab::Modules, &format!("Deployment of plan {plan}"), body)
}

async fn of_plan(visitor: &Visitor, plan: u64) -> Result<Markup> {
    let history = visitor.get::<DeploymentList>("/v1/deployments").await?;
    let found = history.deployments.iter().find(|it| it.plan == plan);
    let missing = || Failure::new(Code::NotFound, format!("there is no plan {plan}"));
    let it = found.ok_or_else(missing)?;
    let facts = [
        ("Component", Some(html! { (Untrusted(&it.name)) })),
        ("Module", Some(layout::module(&it.digest))),
        ("Activated at", Some(layout::time(&it.activated_at))),
        (
            "By",
            it.activated_by.as_ref().map(|by| html! { (Untrusted(by)) }),
        ),
        (
            "Active",
            Some(html! { (if it.active { "yes" } else { "no, replaced by a later plan" }) }),
        ),
    ];
    Ok(html! {
        (layout::facts(&facts))
        @if !it.others.is_empty() {
            h2 { "In the same plan" }
            ul {
                @for other in &it.others {
                    li { (Untrusted(&other.name)) ": " @match &other.digest { Some(digest) => (layout::module(digest)), None => "not active any more" } }
                }
            }
        }
        h2 { "Preflight" }
        @match &it.preflight { Some(preflight) => (report(preflight)), None => p { "It was activated without one." } }
        @if !it.projections.is_empty() {
            h2 { "Projections" }
            ul { @for (name, settings) in &it.projections { li { (layout::link(&layout::projection_path(name), name)) ": " (Untrusted(&settings.lifecycle)) ", on error " (Untrusted(&settings.on_error)) } } }
        }
        @if it.active && activations::may(visitor) { (roll_back_link(&it.name)) }
        (layout::same_as(visitor, &format!("deployments {}", quoted(&it.name)), &format!("/v1/deployments/{}", encoded(&it.name))))
    })
}

fn report(it: &SummaryView) -> Markup {
    let facts = [
        (
            "Result",
            Some(html! { (if it.passes { "passed" } else { "objected, and was overridden" }) }),
        ),
        (
            "Checked",
            Some(
                html! { "the log up to position " (it.until) " of " (it.head) ", under plan " (it.plan) },
            ),
        ),
        (
            "Decided again",
            Some(
                html! { (layout::count(it.decided, "command", "commands")) ", " (it.same) " with the same result" },
            ),
        ),
    ];
    html! {
        (layout::facts(&facts))
        (judged::objections(&it.objections))
    }
}

pub async fn show(visitor: Visitor, Segments(digest): Segments<String>) -> Response {
    let body = module(&visitor, &digest).await;
    visitor.page(Tab::Modules, "Module", body)
}

async fn module(visitor: &Visitor, digest: &str) -> Result<Markup> {
    let path = format!("/v1/modules/{}", encoded(digest));
    let it = visitor.get::<ModuleView>(&path).await?;
    let listed =
        |texts: &[String]| (!texts.is_empty()).then(|| html! { (Untrusted(&texts.join(", "))) });
    let facts = [
        ("Name", Some(html! { (Untrusted(&it.name)) })),
        ("Version", Some(html! { (Untrusted(&it.version)) })),
        ("World", Some(html! { (Untrusted(&it.world)) })),
        ("Digest", Some(html! { code { (Untrusted(&it.digest)) } })),
        ("Size", Some(html! { (bytes(it.bytes)) })),
        ("Exports", listed(&it.exports)),
        ("Imports", listed(&it.imports)),
        ("Signed by", listed(&it.signed_by)),
    ];
    let projections = html! {
        @for projection in &it.projections {
            tr {
                td { (layout::link(&layout::projection_path(&projection.name), &projection.name)) }
                td.number { (projection.version) }
                td { @for source in &projection.sources { p { (super::domain::source(source)) } } }
                td { @for index in &projection.indexes { p { code { (Untrusted(&index.name)) } " " (Untrusted(&index.kind)) } } }
            }
        }
    };
    let active = visitor.app.host.plan().active(&it.name);
    let is_active = active.is_some_and(|active| active.to_string() == it.digest);
    Ok(html! {
        (layout::facts(&facts))
        @if !is_active && activations::may(visitor) { p { (activate_link(&it.digest)) " " (shadows::start_link(&it.digest)) } }
        @if !it.commands.is_empty() { h2 { "Commands" } (types("Commands", &it.commands)) }
        @if !it.events.is_empty() { h2 { "Events" } (types("Events", &it.events)) }
        @if !it.steps.is_empty() {
            h2 { "Upcaster steps" }
            ul {
                @for step in &it.steps {
                    li { (Untrusted(&step.category)) ": " (Untrusted(&step.from.r#type)) " v" (step.from.schema_version) " becomes "
                        @if step.to.is_empty() { "nothing" }
                        @for (number, to) in step.to.iter().enumerate() { @if number > 0 { ", " } (Untrusted(&to.r#type)) " v" (to.schema_version) }
                    }
                }
            }
        }
        @if !it.projections.is_empty() {
            h2 { "Projections" }
            (layout::table("Projections", &["Projection", "Version", "Events", "Indexes"], &projections))
        }
        (layout::same_as(visitor, &format!("events --module {}", quoted(&it.digest)), &path))
    })
}

fn types(name: &str, types: &[TypeView]) -> Markup {
    let rows = html! {
        @for it in types {
            tr {
                td { (Untrusted(&it.name)) }
                td.number { (it.schema_version) }
                td { (Untrusted(&it.aliases.join(", "))) }
                td { (Untrusted(&it.content_type)) }
            }
        }
    };
    layout::table(
        name,
        &["Type", "Schema version", "Older names", "Content"],
        &rows,
    )
}
