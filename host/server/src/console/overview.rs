//! Whether all is well, and what is wrong first.

use std::sync::Arc;

use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::charts;
use super::findings::{Finding, Known};
use super::layout::{self, Tab};
use super::rates::{self, Series};
use super::recent::Counts;
use super::text::Untrusted;
use super::views::{self, Log};
use super::visitor::{Answer, Visitor};
use crate::failure::{Failure, Result};
use crate::newest::Kind;
use quipu::access::Action;
use quipu::app::Figures;
use quipu_api::{
    BuildView, CheckView, DeploymentList, ProjectionList, ProjectionView, RunLine, VerifiedView,
};

/// Events that are shown.
const EVENTS: usize = 8;
const CERTIFICATE: &str = "quipu_certificate_expiry_timestamp_seconds";
/// The most findings that are shown.
const FINDINGS_MAX: usize = 50;

/// What was read for the page. A part that the reader may not read is an error.
struct Parts {
    checks: Vec<CheckView>,
    log: Result<Log>,
    projections: Result<Vec<ProjectionView>>,
    deployments: Result<DeploymentList>,
    metrics: std::result::Result<String, Failure>,
    figures: Option<Arc<Figures>>,
    /// What happened in the last minutes.
    recent: Counts,
    /// The newest verification of this host that has a result.
    verified: Option<Box<VerifiedView>>,
}

pub async fn show(visitor: Visitor) -> Response {
    let parts = Parts::read(&visitor).await;
    let text = parts.metrics.as_deref().unwrap_or_default();
    let metrics = rates::series(text);
    let body = html! {
        button type="button" data-follow="5" hidden aria-pressed="false" { "Refresh every 5 s" }
        div #refreshed { (content(&visitor, &parts, &metrics)) }
        (layout::same_as(&visitor, "status", "/v1/status"))
    };
    visitor.page(Tab::Overview, "Overview", Ok(body))
}

fn content(visitor: &Visitor, parts: &Parts, metrics: &[Series<'_>]) -> Markup {
    html! {
        (sentence(&parts.findings(metrics)))
        @if parts.is_empty() { (next_command()) }
        (figures(visitor, parts, metrics))
        @if parts.metrics.is_ok() { (charts::show(&visitor.app, &visitor.shared)) }
        h2 { "Projections" }
        (layout::part("Projections are", parts.projections_table(metrics)))
        h2 { "Newest events" }
        @match &parts.log {
            Ok(log) if log.events.is_empty() => p.note { "The log is empty." },
            Ok(log) => { (views::events("Newest events", &log.events)) p { a href="/console/log" { "The whole log" } } },
            Err(failure) => { (layout::hidden("Events are", &failure.0.detail)) (reach(visitor)) },
        }
    }
}

impl Parts {
    async fn read(visitor: &Visitor) -> Self {
        let checks = match visitor.get::<Value>("/readyz").await {
            Ok(ready) => serde_json::from_value(ready["checks"].clone()).unwrap_or_default(),
            Err(failure) => match failure.0.checks {
                Some(checks) => checks,
                None => vec![CheckView {
                    name: "host".to_owned(),
                    is_ready: false,
                    fault: Some(failure.0.detail),
                    restarts: 0,
                    cause: None,
                }],
            },
        };
        // What the reader may not do is not asked for: a denial would be recorded.
        let newest = format!("/v1/events?direction=backward&form=stored&limit={EVENTS}");
        let log = match visitor
            .may(Action::Read)
            .or_else(|_| visitor.may(Action::ReadPayload))
        {
            Ok(()) => visitor.get::<Log>(&newest).await.map(Answer::into_value),
            Err(why) => Err(denied(why)),
        };
        let (projections, deployments) = match visitor.may(Action::Read) {
            Ok(()) => (
                visitor
                    .get::<ProjectionList>("/v1/projections")
                    .await
                    .map(|it| it.into_value().projections),
                visitor
                    .get::<DeploymentList>("/v1/deployments")
                    .await
                    .map(Answer::into_value),
            ),
            Err(why) => (Err(denied(why.clone())), Err(denied(why))),
        };
        let mut recent = visitor.shared.recent.rise();
        let (metrics, figures) = match visitor.may(Action::Observe) {
            Ok(()) => (
                visitor.get_text("/metrics").await,
                visitor.app.sampler.sample(&visitor.app.host).await.figures,
            ),
            Err(why) => {
                // Whether the host is ready, everybody may know.
                recent = Counts {
                    restarts: recent.restarts,
                    ..Counts::default()
                };
                (Err(denied(why)), None)
            }
        };
        Self {
            checks,
            log,
            projections,
            deployments,
            metrics,
            figures,
            recent,
            verified: verified(visitor),
        }
    }

    fn is_empty(&self) -> bool {
        let has_events = self.log.as_ref().is_ok_and(|log| log.head == 0);
        let has_deployments = self
            .deployments
            .as_ref()
            .is_ok_and(|it| it.deployments.is_empty());
        has_events && has_deployments
    }

    fn findings(&self, metrics: &[Series<'_>]) -> Vec<Finding> {
        let first = self.deployments.as_ref().ok();
        let first = first.and_then(|list| list.deployments.first());
        let known = Known {
            now: Timestamp::now(),
            checks: &self.checks,
            recent: &self.recent,
            figures: self.figures.as_deref(),
            projections: self.projections.as_deref().unwrap_or_default(),
            certificate_expires_s: rates::one(metrics, CERTIFICATE, None),
            verified: self.verified.as_deref(),
            used_since: first.and_then(|it| it.activated_at.parse().ok()),
        };
        known.findings()
    }

    fn projections_table(&self, metrics: &[Series<'_>]) -> Result<Markup> {
        let projections = match &self.projections {
            Ok(projections) => projections,
            Err(failure) => return Err(Failure(failure.0.clone())),
        };
        if projections.is_empty() {
            return Ok(html! { p.note { "There are no projections." } });
        }
        let columns = [
            "Projection",
            "State",
            "Lag in events",
            "Lag in time",
            "Parked",
            "Documents",
        ];
        let rows = html! {
            @for it in projections {
                @let build = it.main_build();
                tr {
                    td { (layout::link(&layout::projection_path(&it.name), &it.name)) }
                    td { (layout::state(&it.state)) }
                    td.number { (layout::or_dash(build.map(|it| it.lag))) }
                    td.number { (layout::or_dash(lag_seconds(metrics, &it.name).map(seconds))) }
                    td.number { (parked(build)) }
                    td.number { (layout::or_dash(build.map(|it| it.documents))) }
                }
            }
        };
        Ok(layout::table("Projections", &columns, &rows))
    }
}

fn parked(build: Option<&BuildView>) -> u64 {
    build.map_or(0, |build| build.parked)
}

/// How long the oldest event that is not folded has been in the log; none during a first build.
pub fn lag_seconds(metrics: &[Series<'_>], projection: &str) -> Option<f64> {
    let label = Some(("projection", projection));
    rates::one(metrics, "quipu_projection_lag_seconds", label)
}

/// A time in words.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.5 => "0 s".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// The newest verification of this host, if the reader may see what it found.
fn verified(visitor: &Visitor) -> Option<Box<VerifiedView>> {
    visitor.may(Action::Operate).ok()?;
    match visitor.app.newest.of(Kind::Verification)?.line {
        RunLine::Verified(verified) => Some(verified),
        _ => None,
    }
}

fn denied(why: String) -> Failure {
    Failure::new(quipu_api::Code::Forbidden, why)
}

fn whole(number: f64) -> u64 {
    // It is a counter, and the page only shows it.
    number.max(0.0) as u64
}

fn sentence(findings: &[Finding]) -> Markup {
    html! {
        @if findings.is_empty() {
            p.verdict.good { "All is well." }
        } @else {
            p.verdict.bad { (layout::count(findings.len() as u64, "thing needs", "things need")) " attention." }
            ol.findings {
                @for finding in findings.iter().take(FINDINGS_MAX) { li { (finding.text) } }
                @if findings.len() > FINDINGS_MAX { li { "and " (findings.len() - FINDINGS_MAX) " more" } }
            }
        }
    }
}

/// What somebody with an empty store does next.
fn next_command() -> Markup {
    html! {
        section.next {
            h2 { "The store is empty" }
            p { "Make a project of a guest, and let a host run it while you edit:" }
            pre tabindex="0" role="group" aria-label="Commands" { code { "quipu new account --lang rust\ncd account\nquipu dev" } }
            p { "Or deploy a component to this host, and send it a command:" }
            pre tabindex="0" role="group" aria-label="Commands" { code { "quipu deploy account.wasm\nquipu execute account-1 open '{\"owner\":\"ann\"}'" } }
        }
    }
}

fn figures(visitor: &Visitor, parts: &Parts, metrics: &[Series<'_>]) -> Markup {
    let commands = rates::sum(metrics, "quipu_commands_total", None);
    let events = rates::sum(metrics, "quipu_events_appended_total", None);
    let rate = match metrics.is_empty() {
        true => None,
        false => visitor.shared.rates.add(rates::Counts { commands, events }),
    };
    let last = parts
        .deployments
        .as_ref()
        .ok()
        .and_then(|list| list.deployments.last());
    let plan = parts.deployments.as_ref().ok().map(|list| list.plan);
    let head = parts.log.as_ref().ok().map(|log| log.head);
    let now = Timestamp::now().as_second() as f64;
    // Without measurements nothing is known.
    let age = |name| {
        let last = rates::last(metrics, name);
        (!metrics.is_empty()).then(|| match last {
            Some(at) => html! { (seconds((now - at).max(0.0))) " ago" },
            None => html! { "never, as far as the store knows" },
        })
    };
    let per_second = |value: f64| format!("{value:.1} per second");
    let facts = [
        ("Head of the log", head.map(|head| html! { (head) })),
        (
            "Commands",
            (!metrics.is_empty()).then(|| html! {
                (whole(commands)) " since the start"
                @if let Some((rate, over)) = &rate { ", " (per_second(rate.commands)) " over " (seconds(over.as_secs_f64())) }
            }),
        ),
        (
            "Events appended",
            (!metrics.is_empty()).then(|| html! {
                (whole(events)) " since the start"
                @if let Some((rate, _)) = &rate { ", " (per_second(rate.events)) }
            }),
        ),
        ("Plan", plan.map(|plan| html! { (plan) })),
        (
            "Last deployment",
            last.map(|it| html! {
                a href={ "/console/deployments/" (it.plan) } { (Untrusted(&it.name)) } " at " (layout::time(&it.activated_at))
                @if let Some(by) = &it.activated_by { " by " (Untrusted(by)) }
            }),
        ),
        (
            "Size of the store",
            rates::one(metrics, "quipu_store_size_bytes", None).map(|it| html! { (bytes(whole(it))) }),
        ),
        ("Last backup", age("quipu_backup_last_success_timestamp_seconds")),
        ("Last verified", age("quipu_verify_last_success_timestamp_seconds")),
        ("Version", Some(html! { (env!("CARGO_PKG_VERSION")) })),
    ];
    html! {
        h2 { "Figures" }
        (layout::facts(&facts))
        @if let Err(failure) = &parts.metrics { (layout::hidden("Measurements are", &failure.0.detail)) }
    }
}

/// A number of bytes for people.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        it if it >= 10 << 30 => format!("{} GiB", it >> 30),
        it if it >= 10 << 20 => format!("{} MiB", it >> 20),
        it if it >= 10 << 10 => format!("{} KiB", it >> 10),
        it => format!("{it} bytes"),
    }
}

/// Where a reader gets who may read only a part of the store.
fn reach(visitor: &Visitor) -> Markup {
    let Some(grant) = visitor.caller.grant() else {
        return html! {};
    };
    html! {
        @if !grant.categories.is_empty() || !grant.projections.is_empty() {
            p { "This token reaches:" }
            ul {
                @for it in &grant.categories { li { "category " (layout::link(&format!("/console/streams?category={}", super::text::encoded(it)), it)) } }
                @for it in &grant.projections { li { "projection " (layout::link(&layout::projection_path(it), it)) } }
            }
        }
    }
}
