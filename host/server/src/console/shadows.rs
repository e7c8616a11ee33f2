//! The shadow of this host: what it has counted so far, and how it begins and ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::BodyDataStream;
use axum::http::HeaderMap;
use axum::response::Response;
use futures::StreamExt;
use maud::{Markup, html};
use serde_json::json;
use tokio::task::AbortHandle;

use super::act::{self, ActionRequest, Asked, Way};
use super::activations;
use super::judged;
use super::layout::{self, Tab};
use super::text::{Untrusted, encoded, quoted};
use super::visitor::{Visitor, reason_header};
use crate::deed::{DONE, Deed};
use crate::failure::{Failure, Result};
use crate::headers;
use crate::newest::{Kind, NewestRun};
use quipu_api::{ModuleList, ModuleView, RunLine, ShadowView};

/// The page.
const PATH: &str = "/console/shadow";
/// Modules that are listed, the newest first.
const MODULES_MAX: usize = 20;
/// How long a shadow runs if nothing else is chosen.
const SECONDS: &str = "60";

/// The shadow that a page began. It lasts as long as somebody reads its lines.
#[derive(Default)]
pub struct Begun(Mutex<Option<AbortHandle>>);

impl Begun {
    /// Reads the lines until they end, or until the shadow is stopped.
    fn hold(&self, mut lines: BodyDataStream) {
        let reading = tokio::spawn(async move { while let Some(Ok(_)) = lines.next().await {} });
        *self.handle() = Some(reading.abort_handle());
    }

    /// Ends the shadow, if there is one.
    fn stop(&self) {
        if let Some(reading) = self.handle().take() {
            reading.abort();
        }
    }

    fn is_running(&self) -> bool {
        let handle = self.handle();
        handle.as_ref().is_some_and(|it| !it.is_finished())
    }

    fn handle(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The link to the page that begins a shadow.
pub fn start_link(digest: &str) -> Markup {
    html! { a.action href=(act::path("shadow", digest, "start")) { "Let it decide as a shadow\u{2026}" } }
}

pub async fn show(visitor: Visitor) -> Response {
    let body = match visitor.may_deploy_any() {
        Ok(()) => content(&visitor).await,
        Err(why) => layout::hidden("Shadows are", &why),
    };
    visitor.page(Tab::Modules, "Shadow", Ok(body))
}

async fn content(visitor: &Visitor) -> Markup {
    let newest = visitor.app.newest.of(Kind::Shadow);
    let is_running = is_running(newest.as_ref());
    let candidates = match activations::may(visitor) && !is_running {
        true => layout::part("Modules are", candidates(visitor).await),
        false => html! {},
    };
    html! {
        p { "A shadow is a module that decides live commands in addition to the active one, after the callers have been answered. Its decisions are compared with the real ones. Nothing of it is stored." }
        button type="button" data-follow="2" hidden aria-pressed="false" { "Refresh every 2 s" }
        div #refreshed {
            @match &newest {
                Some(run) => (state(run)),
                None => p.note { "No shadow has run on this host since it was started." },
            }
            @if is_running { (stop(visitor)) }
        }
        (candidates)
        (layout::same_as_post(visitor, &format!("quipu shadow FILE --seconds {SECONDS} --url {}", quoted(&visitor.base)), "/v1/shadows", "{\"digest\":\"DIGEST\"}"))
    }
}

fn is_running(newest: Option<&NewestRun>) -> bool {
    newest.is_some_and(|run| run.ended_at.is_none())
}

fn state(run: &NewestRun) -> Markup {
    let by = run.by.as_deref();
    let (state, shadow) = match &run.line {
        RunLine::Shadow(shadow) => (ending(run, shadow), Some(shadow)),
        _ => ("failed", None),
    };
    let facts = [
        ("State", Some(layout::state(state))),
        (
            "Module",
            shadow.map(
                |it| html! { (Untrusted(&it.found.name)) " " (layout::module(&it.found.module)) },
            ),
        ),
        ("Began at", Some(layout::time(&run.began_at.to_string()))),
        ("By", by.map(|by| html! { (Untrusted(by)) })),
        (
            "Ended at",
            run.ended_at.map(|at| layout::time(&at.to_string())),
        ),
        (
            "Decides from position",
            shadow.map(|it| html! { (it.after) }),
        ),
        (
            "Decided up to position",
            shadow.map(|it| html! { (it.found.until) " of " (it.found.head) }),
        ),
        (
            "Not seen, because it could not keep up",
            shadow.map(|it| html! { (it.skipped) }),
        ),
    ];
    html! {
        (layout::facts(&facts))
        @if let RunLine::Problem(problem) = &run.line { (layout::problem(problem)) }
        @if let Some(shadow) = shadow { (judged::show(&shadow.found)) }
    }
}

/// Whether a shadow runs, or why it has ended.
fn ending(run: &NewestRun, shadow: &ShadowView) -> &'static str {
    match (run.ended_at, shadow.ended.as_deref()) {
        (None, _) => "running",
        (Some(_), Some("active")) => "ended: the module became active",
        (Some(_), Some(_)) => "ended: its time is over",
        (Some(_), None) => "ended early",
    }
}

/// How a running shadow is stopped.
fn stop(visitor: &Visitor) -> Markup {
    let is_own = visitor.shared.shadow.is_running();
    html! {
        @if !is_own { p.note { "A program began it. It ends with that program: " code { "quipu shadow" } " ends with Ctrl-C." } }
        @else if activations::may(visitor) { p { a.action href=(act::path("shadow", "running", "stop")) { "Stop\u{2026}" } } }
    }
}

/// The modules that could be shadows.
async fn candidates(visitor: &Visitor) -> Result<Markup> {
    let list = visitor.get::<ModuleList>("/v1/modules").await?;
    let newest = list.modules.iter().rev().filter(|it| !it.active);
    let rows = html! {
        @for it in newest.take(MODULES_MAX) {
            tr {
                td { (layout::module(&it.digest)) }
                td { (layout::or_dash(it.name.as_deref().map(Untrusted))) }
                td { (layout::time(&it.uploaded_at)) }
                td { (start_link(&it.digest)) }
            }
        }
    };
    let columns = ["Module", "Name", "Uploaded at", "Action"];
    Ok(html! {
        h2 { "Begin a shadow" }
        @if list.modules.iter().all(|it| it.active) { p.note { "Every stored module is active. Another one is uploaded by " code { "quipu shadow FILE" } " or " code { "quipu preflight FILE" } "." } }
        @else { (layout::table("Stored modules that are not active", &columns, &rows)) }
    })
}

/// How long the shadow runs that a form is about.
pub fn seconds<'a>(asked: &Asked<'a>) -> &'a str {
    match asked.seconds {
        "" => SECONDS,
        seconds => seconds,
    }
}

/// Begins or stops a shadow.
///
/// # Errors
/// When the reader may not do it, or there is no such module.
pub async fn asked(visitor: &Visitor, asked: &Asked<'_>) -> Result<ActionRequest> {
    activations::check_any(visitor)?;
    match asked.action {
        "start" => starting(visitor, asked).await,
        "stop" => stopping(visitor),
        _ => Err(Failure::bad_request("there is no such action")),
    }
}

async fn starting(visitor: &Visitor, asked: &Asked<'_>) -> Result<ActionRequest> {
    let of_module = format!("/v1/modules/{}", encoded(asked.name));
    let module = visitor.get::<ModuleView>(&of_module).await?;
    activations::check_module(visitor, &module.name)?;
    let seconds: u64 = seconds(asked)
        .parse()
        .map_err(|_| Failure::bad_request("seconds: expected a whole number"))?;
    let active = visitor.app.host.plan().active(&module.name);
    let is_active = active.is_some_and(|active| active.to_string() == module.digest);
    let is_taken = is_running(visitor.app.newest.of(Kind::Shadow).as_ref());
    let file = quoted(&format!("{}.wasm", module.name));
    let wasm = format!("/v1/modules/{}/wasm", encoded(&module.digest));
    let download = layout::curl(visitor, &format!(" -o {file}"), &wasm);
    Ok(ActionRequest {
        title: format!("Begin a shadow: {}", module.name),
        effect: html! {
            p { "From now on the module " (layout::module(&module.digest)) " also decides every command that is accepted or rejected, after the caller has been answered. Nothing of it is stored, and it uses at most a quarter of the time of one processor." }
            p { "It ends when its time is over, when the module becomes active, when somebody stops it here, when your token is revoked, or when this host ends. It goes on when you leave the page." }
            @if is_active { div.hidden-part { p { "The module is active: it decides these commands already." } } }
            @if is_taken { div.hidden-part { p { "A shadow is running, and a host has one at a time: " a href=(PATH) { "the shadow" } } } }
        },
        way: Way::Begin,
        path: "/v1/shadows".to_owned(),
        body: json!({"digest": module.digest, "seconds": seconds}).to_string(),
        before: format!("{download}\n"),
        command: format!("shadow {file} --seconds {seconds}"),
        back: PATH.to_owned(),
        plan: None,
        needs_reason: false,
        is_offered: !is_active && !is_taken,
    })
}

fn stopping(visitor: &Visitor) -> Result<ActionRequest> {
    let newest = visitor.app.newest.of(Kind::Shadow);
    if let Some(RunLine::Shadow(shadow)) = newest.map(|run| run.line) {
        activations::check_module(visitor, &shadow.found.name)?;
    }
    let is_running = visitor.shared.shadow.is_running();
    Ok(ActionRequest {
        title: "Stop the shadow".to_owned(),
        effect: html! {
            @if is_running { p { "The shadow ends now. What it has counted stays on its page until another one begins or this host ends." } }
            @else { p { "No shadow is running that a page of this host began." } }
        },
        way: Way::Stop,
        path: String::new(),
        body: String::new(),
        before: String::new(),
        command: String::new(),
        back: PATH.to_owned(),
        plan: None,
        needs_reason: false,
        is_offered: is_running,
    })
}

/// Begins a shadow, which goes on without the page.
///
/// # Errors
/// The problem with which the host answers.
pub async fn begin(
    visitor: &Visitor,
    path: &str,
    body: String,
    reason: Option<&str>,
) -> Result<()> {
    let lines = visitor.begin(path, body, reason).await?;
    visitor.shared.shadow.hold(lines);
    Ok(())
}

/// Ends the shadow that a page began. The audit records who does it, because the record of the shadow
/// has only who began it.
///
/// # Errors
/// When the reason is not well-formed, or the store fails. The shadow goes on.
pub async fn end(visitor: &Visitor, reason: Option<&str>) -> Result<()> {
    let given = reason.map(reason_header).transpose()?;
    let given: HeaderMap = given.into_iter().collect();
    let reason = headers::reason(&given)?.map(Into::into);
    let shadow = &visitor.shared.shadow;
    if !shadow.is_running() {
        return Ok(());
    }
    let target = ("stop_shadow", "/v1/shadows");
    let deed = Deed::new(
        &visitor.app,
        target,
        visitor.peer(),
        &visitor.caller,
        reason,
    );
    deed.begin().await?;
    shadow.stop();
    deed.record(DONE).await;
    Ok(())
}
