//! Actions: each names its effect before it happens, and is the same request as at the interface.

use axum::extract::Request;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::activations;
use super::layout::{self, Tab};
use super::proposals;
use super::shadows;
use super::sign_in::form;
use super::text::{Untrusted, encoded, quoted};
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use quipu::access::{Action, Object};
use quipu_api::ProjectionView;

/// What is done to a projection, and what it does to it.
const PROJECTION: [(&str, &str, &str); 7] = [
    (
        "pause",
        "Pause",
        "It folds nothing until it is resumed. Its documents stay readable as they are; an inline projection continues.",
    ),
    (
        "resume",
        "Resume",
        "It continues, also after a stop, with the event at which it stopped.",
    ),
    (
        "rebuild",
        "Rebuild",
        "Its documents are folded from scratch in a second build. Readers receive the documents of the active build until the rebuild has caught up; then it takes over by itself.",
    ),
    (
        "switch",
        "Switch to the rebuild",
        "The rebuild becomes active, even with missing documents. The active build is stored as the previous one.",
    ),
    (
        "rollback",
        "Go back to the previous build",
        "The previous build becomes active and catches up from where it is.",
    ),
    (
        "cancel",
        "Cancel the rebuild",
        "The rebuild and its documents are removed. The active build stays.",
    ),
    (
        "retry-parked",
        "Retry parked events",
        "The parked events of each document or stream are folded again in order, up to the first that fails again.",
    ),
];

/// What is done to a proposal, and what it does to it.
const PROPOSAL: [(&str, &str, &str); 2] = [
    (
        "approve",
        "Approve",
        "The command is executed in your name, on the state that the stream has now. If the domain rejects it now, the rejection is the result.",
    ),
    ("deny", "Deny", "The command will never be executed."),
];

/// What a form asks for.
#[derive(Deserialize)]
struct Form {
    what: String,
    name: String,
    action: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    allow: String,
    #[serde(default)]
    seconds: String,
    /// The plan that the page showed.
    #[serde(default)]
    plan: String,
}

/// What a reader asks for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub what: &'a str,
    pub name: &'a str,
    pub action: &'a str,
    /// Kinds of objections that don't block an activation, with commas between them.
    pub allow: &'a str,
    /// How long a shadow runs.
    pub seconds: &'a str,
    /// Whether the effect is shown, and nothing is done.
    pub is_shown: bool,
}

/// How an action is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a request that is answered when it is done.
    Request,
    /// By a request that begins a shadow.
    Begin,
    /// By ending the request that began it.
    Stop,
}

/// An action that is known, and where it leads.
pub struct ActionRequest {
    pub title: String,
    pub effect: Markup,
    pub way: Way,
    /// The path of the operation.
    pub path: String,
    /// The body of the request: JSON, or nothing.
    pub body: String,
    /// Commands that come before the one that does it.
    pub before: String,
    pub command: String,
    pub back: String,
    /// The plan that it is about; none if it does not depend on the plan.
    pub plan: Option<u64>,
    pub needs_reason: bool,
    /// Whether the host would do it now.
    pub is_offered: bool,
}

/// The actions on a projection.
pub fn projection_links(it: &ProjectionView) -> Markup {
    html! {
        h2 { "Actions" }
        ul.inline {
            @for (action, label, _) in PROJECTION {
                @if is_possible(it, action) { li { a.action href=(path("projection", &it.name, action)) { (label) "\u{2026}" } } }
            }
        }
    }
}

fn is_possible(it: &ProjectionView, action: &str) -> bool {
    let has = |role: &str| it.builds.iter().any(|build| build.role == role);
    match action {
        "pause" => !it.paused && !it.builds.is_empty(),
        "resume" => it.paused || it.builds.iter().any(|build| build.state == "stopped"),
        "rebuild" => it.deployed.is_some() && it.lifecycle != "live",
        "switch" => it
            .builds
            .iter()
            .any(|build| build.role == "next" && build.state == "ready"),
        "cancel" => has("next"),
        "rollback" => has("previous"),
        "retry-parked" => it.builds.iter().any(|build| build.parked > 0),
        _ => false,
    }
}

/// The decisions on a proposal that are possible.
pub fn proposal_links(number: u64, is_possible: impl Fn(&str) -> bool) -> Markup {
    let number = number.to_string();
    html! {
        h2 { "Decide" }
        ul.inline {
            @for (action, label, _) in PROPOSAL {
                @if is_possible(action) { li { a.action href=(path("proposal", &number, action)) { (label) "\u{2026}" } } }
            }
        }
    }
}

/// The address of the page before an action.
pub fn path(what: &str, name: &str, action: &str) -> String {
    format!(
        "/console/act?what={what}&name={}&action={action}",
        encoded(name)
    )
}

/// The page before an action.
pub async fn confirm(visitor: Visitor) -> Response {
    let confirmation = async {
        let given = |name| visitor.text(name).unwrap_or_default();
        let asked = Asked {
            what: given("what"),
            name: given("name"),
            action: given("action"),
            allow: given("allow"),
            seconds: given("seconds"),
            is_shown: true,
        };
        let action_request = ActionRequest::of(&visitor, &asked).await?;
        Ok((
            action_request.title.clone(),
            action_request.shown(&visitor, &asked),
        ))
    };
    match confirmation.await {
        Ok((title, body)) => visitor.page(Tab::None, &title, Ok(body)),
        Err(failure) => visitor.page(Tab::None, "Action", Err(failure)),
    }
}

/// Does it.
pub async fn perform(visitor: Visitor, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let done = async {
        visitor.check_origin(&parts)?;
        let form: Form = form(&parts, body).await?;
        let asked = Asked {
            what: &form.what,
            name: &form.name,
            action: &form.action,
            allow: &form.allow,
            seconds: &form.seconds,
            is_shown: false,
        };
        let action_request = ActionRequest::of(&visitor, &asked).await?;
        action_request.check_plan(&form.plan)?;
        let reason = Some(form.reason.trim()).filter(|reason| !reason.is_empty());
        let (path, body) = (&action_request.path, action_request.body.clone());
        match action_request.way {
            Way::Request => drop(visitor.post::<Value>(path, body, reason).await?),
            Way::Begin => shadows::begin(&visitor, path, body, reason).await?,
            Way::Stop => shadows::end(&visitor, reason).await?,
        }
        Ok::<_, Failure>(Redirect::to(&action_request.back).into_response())
    };
    match done.await {
        Ok(response) => response,
        Err(failure) => visitor.page(Tab::None, "It was not done", Err(failure)),
    }
}

impl ActionRequest {
    async fn of(visitor: &Visitor, asked: &Asked<'_>) -> Result<Self> {
        match asked.what {
            "projection" => Self::on_projection(visitor, asked.name, asked.action).await,
            "proposal" => Self::on_proposal(visitor, asked.name, asked.action).await,
            "module" => activations::activate(visitor, asked).await,
            "deployment" => activations::roll_back(visitor, asked).await,
            "shadow" => shadows::asked(visitor, asked).await,
            _ => Err(Failure::bad_request("there is no such action")),
        }
    }

    async fn on_projection(visitor: &Visitor, name: &str, action: &str) -> Result<Self> {
        let known = PROJECTION.iter().find(|(known, ..)| *known == action);
        let (_, label, effect) =
            known.ok_or_else(|| Failure::bad_request("there is no such action"))?;
        check(visitor, Action::Project, Object::Projection(name))?;
        let operation = format!("/v1/projections/{}", encoded(name));
        let it = visitor.get::<ProjectionView>(&operation).await?;
        let counts = it.main_build().map(|build| (build.documents, build.parked));
        let (documents, parked) = counts.unwrap_or_default();
        Ok(Self {
            title: format!("{label}: {name}"),
            effect: html! {
                p { (effect) }
                p { "The projection is " (layout::state(&it.state)) " and has " (layout::count(documents, "document", "documents")) ", " (layout::count(parked, "parked event", "parked events")) "." }
            },
            way: Way::Request,
            path: format!("{operation}/{action}"),
            body: String::new(),
            before: String::new(),
            command: format!("projection {} {action}", quoted(name)),
            back: layout::projection_path(name),
            plan: None,
            needs_reason: false,
            is_offered: true,
        })
    }

    async fn on_proposal(visitor: &Visitor, number: &str, action: &str) -> Result<Self> {
        let known = PROPOSAL.iter().find(|(known, ..)| *known == action);
        let (_, label, effect) =
            known.ok_or_else(|| Failure::bad_request("there is no such action"))?;
        let it = proposals::read(visitor, number).await?;
        proposals::may_decide(visitor, &it)
            .map_err(|why| Failure::new(quipu_api::Code::Forbidden, why))?;
        let number = it.number;
        let rest_from = format!("quipu proposal show {number} --json");
        Ok(Self {
            title: format!("{label}: proposal {number}"),
            effect: html! {
                p { (effect) }
                p {
                    "The proposal is " (layout::state(&it.state)) ". Its command is " (Untrusted(&it.command)) " on " (layout::stream(&it.stream))
                    @if let Some(by) = &it.proposed_by { ", proposed by " (Untrusted(by)) } "."
                }
                (it.payload(&rest_from))
                h2 { "Effect, when it was proposed" }
                (it.effect(&rest_from))
            },
            way: Way::Request,
            path: format!("/v1/proposals/{number}/{action}"),
            body: String::new(),
            before: String::new(),
            command: format!("proposal {action} {number}"),
            back: proposals::path(number),
            plan: None,
            needs_reason: action == "deny",
            is_offered: true,
        })
    }

    /// Checks that the plan is the one that the page showed. A form that is sent twice would undo its
    /// own roll-back, and an old page shows another effect than the one that it would have now.
    fn check_plan(&self, shown: &str) -> Result<()> {
        let Some(now) = self.plan.filter(|_| !shown.is_empty()) else {
            return Ok(());
        };
        let shown: u64 = shown
            .parse()
            .map_err(|_| Failure::bad_request("plan: expected a whole number"))?;
        if shown == now {
            return Ok(());
        }
        let detail = format!(
            "the page showed the effect under plan {shown}, and plan {now} is active now; reload the \
             page before you decide"
        );
        Err(Failure::new(quipu_api::Code::Conflict, detail))
    }

    fn shown(&self, visitor: &Visitor, asked: &Asked<'_>) -> Markup {
        let (header, flag) = match self.needs_reason {
            true => (" -H 'Quipu-Reason: WHY'", " --reason WHY"),
            false => ("", ""),
        };
        let json = match self.body.as_str() {
            "" => String::new(),
            body => format!(" -H 'Content-Type: application/json' -d {}", quoted(body)),
        };
        let curl = layout::curl(visitor, &format!(" -X POST{header}{json}"), &self.path);
        let command = format!(
            "{}quipu {}{flag} --url {}",
            self.before,
            self.command,
            quoted(&visitor.base)
        );
        html! {
            (self.effect)
            @if self.is_offered { (self.form(asked)) }
            @if self.way != Way::Stop {
                h2 { "The same as a command" }
                pre tabindex="0" role="group" aria-label="Commands" { code { (Untrusted(&command)) "\n" (Untrusted(&curl)) } }
            }
        }
    }

    fn form(&self, asked: &Asked<'_>) -> Markup {
        html! {
            form.confirm action="/console/act" method="post" {
                input type="hidden" name="what" value=(asked.what);
                input type="hidden" name="name" value=(asked.name);
                input type="hidden" name="action" value=(asked.action);
                @if let Some(plan) = self.plan { input type="hidden" name="plan" value=(plan); }
                @if !asked.allow.is_empty() { input type="hidden" name="allow" value=(asked.allow); }
                @if self.way == Way::Begin {
                    label for="seconds" { "Seconds" }
                    input #seconds name="seconds" type="number" min="1" max="86400" required value=(shadows::seconds(asked));
                }
                label for="reason" { "Reason" @if !self.needs_reason { ", for the audit" } }
                input #reason name="reason" maxlength="1000" required[self.needs_reason] autocomplete="off";
                button type="submit" { "Do it" }
                a href=(self.back) { "Leave it" }
            }
        }
    }
}

/// Whether the reader may do it, without a denial in the audit.
///
/// # Errors
/// Why it may not.
pub fn check(visitor: &Visitor, action: Action, object: Object<'_>) -> Result<()> {
    let rules = visitor.app.options.rules.current();
    let checked = rules.check(&visitor.caller, action, object);
    checked.map_err(|why| Failure::new(quipu_api::Code::Forbidden, why))
}
