//! Activations and roll-backs: what becomes active in place of what, and what the preflight finds.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::act::{self, ActionRequest, Asked, Way};
use super::judged;
use super::layout;
use super::text::{Untrusted, encoded, quoted};
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use quipu::access::{Action, Object};
use quipu_api::{Code, DeploymentList, DeploymentView, ModuleView, PreflightView, RunLine};

/// The part of a request's time that the preflight of a page has.
const TIME_PART: u32 = 3;

/// The link to the page that activates a stored module.
pub fn activate_link(digest: &str) -> Markup {
    html! { a.action href=(act::path("module", digest, "activate")) { "Activate\u{2026}" } }
}

/// The link to the page that rolls a component back.
pub fn roll_back_link(name: &str) -> Markup {
    html! { p { a.action href=(act::path("deployment", name, "rollback")) { "Roll back\u{2026}" } } }
}

/// Whether a reader may activate modules, or some of them, without a denial in the audit.
pub fn may(visitor: &Visitor) -> bool {
    visitor.acts() && visitor.may_deploy_any().is_ok()
}

/// Whether a reader may deploy a module, without a denial in the audit.
///
/// # Errors
/// Why it may not.
pub fn check_module(visitor: &Visitor, name: &str) -> Result<()> {
    act::check(visitor, Action::Deploy, Object::Module(name)).map_err(|mut failure| {
        failure.0.detail = format!("module {name}: {}", failure.0.detail);
        failure
    })
}

/// Whether a reader may deploy any module, without a denial in the audit.
///
/// # Errors
/// Why it may not.
pub fn check_any(visitor: &Visitor) -> Result<()> {
    let checked = visitor.may_deploy_any();
    checked.map_err(|why| Failure::new(Code::Forbidden, why))
}

/// Whether a preflight comes first, and what it lets pass.
struct Check {
    is_skipped: bool,
    allow: Vec<String>,
}

impl Check {
    fn of(asked: &Asked<'_>, checked: &str, unchecked: &str) -> Result<Self> {
        let is_skipped = asked.action == unchecked;
        if !is_skipped && asked.action != checked {
            return Err(Failure::bad_request("there is no such action"));
        }
        let kinds = asked.allow.split(',').filter(|kind| !kind.is_empty());
        Ok(Self {
            is_skipped,
            allow: kinds.map(ToOwned::to_owned).collect(),
        })
    }

    /// Adds it to the body of a request.
    fn add_to(&self, body: &mut Value) {
        if self.is_skipped {
            body["preflight"] = "skip".into();
        } else if !self.allow.is_empty() {
            body["allow"] = self.allow.as_slice().into();
        }
    }

    fn flags(&self) -> String {
        if self.is_skipped {
            return " --no-preflight".to_owned();
        }
        let allowed = self.allow.iter();
        allowed
            .map(|kind| format!(" --allow {}", quoted(kind)))
            .collect()
    }
}

/// A component before and after.
struct Change {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

/// Activates a stored module.
///
/// # Errors
/// When the reader may not do it, or there is no such module.
pub async fn activate(visitor: &Visitor, asked: &Asked<'_>) -> Result<ActionRequest> {
    check_any(visitor)?;
    let check = Check::of(asked, "activate", "activate-unchecked")?;
    let plan = visitor.app.host.plan().number;
    let of_module = format!("/v1/modules/{}", encoded(asked.name));
    let module = visitor.get::<ModuleView>(&of_module).await?;
    check_module(visitor, &module.name)?;
    let digest = module.digest.clone();
    let effect = match asked.is_shown {
        false => None,
        true => {
            let history = visitor.get::<DeploymentList>("/v1/deployments").await?;
            let change = Change {
                before: active(&history, &module.name).map(ToOwned::to_owned),
                name: module.name.clone(),
                after: Some(digest.clone()),
            };
            let unchecked = act::path("module", &digest, "activate-unchecked");
            let offer = Offer::of(visitor, &check, std::slice::from_ref(&digest)).await;
            Some(Effect {
                says: "From one position of the log on, the module decides everything of its categories. No command fails because of that. Its projections are built, or rebuilt next to the running build.",
                changes: vec![change],
                unchecked,
                offer,
            })
        }
    };
    let mut body = json!({"digest": digest});
    check.add_to(&mut body);
    let file = quoted(&format!("{}.wasm", module.name));
    let wasm = format!("/v1/modules/{}/wasm", encoded(&digest));
    let download = layout::curl(visitor, &format!(" -o {file}"), &wasm);
    Ok(ActionRequest {
        title: format!("Activate: {}", module.name),
        is_offered: effect.as_ref().is_none_or(|it| it.offer.is_offered()),
        effect: effect.map_or_else(|| html! {}, |it| it.shown(asked)),
        way: Way::Request,
        path: "/v1/deployments".to_owned(),
        body: body.to_string(),
        before: format!("{download}\n"),
        command: format!("deploy {file}{}", check.flags()),
        back: "/console/modules".to_owned(),
        plan: Some(plan),
        needs_reason: check.is_skipped && visitor.caller.name().is_some(),
    })
}

/// Activates the previous module of a name.
///
/// # Errors
/// When the reader may not do it, or there is no previous module.
pub async fn roll_back(visitor: &Visitor, asked: &Asked<'_>) -> Result<ActionRequest> {
    let name = asked.name;
    check_module(visitor, name)?;
    let check = Check::of(asked, "rollback", "rollback-unchecked")?;
    let plan = visitor.app.host.plan().number;
    let effect = match asked.is_shown {
        false => None,
        true => {
            let (changes, digests) = previous(visitor, name).await?;
            let unchecked = act::path("deployment", name, "rollback-unchecked");
            let offer = Offer::of(visitor, &check, &digests).await;
            Some(Effect {
                says: "What was active before becomes active in a new plan. Names that came with the same release become inactive. Commands continue meanwhile.",
                changes,
                unchecked,
                offer,
            })
        }
    };
    let mut body = json!({});
    check.add_to(&mut body);
    let has_body = body != json!({});
    Ok(ActionRequest {
        title: format!("Roll back: {name}"),
        is_offered: effect.as_ref().is_none_or(|it| it.offer.is_offered()),
        effect: effect.map_or_else(|| html! {}, |it| it.shown(asked)),
        way: Way::Request,
        path: format!("/v1/deployments/{}/rollback", encoded(name)),
        body: if has_body {
            body.to_string()
        } else {
            String::new()
        },
        before: String::new(),
        command: format!("rollback {}{}", quoted(name), check.flags()),
        back: "/console/modules".to_owned(),
        plan: Some(plan),
        needs_reason: visitor.caller.name().is_some(),
    })
}

/// What a rollback changes, and the modules that it activates.
async fn previous(visitor: &Visitor, name: &str) -> Result<(Vec<Change>, Vec<String>)> {
    let history = visitor.get::<DeploymentList>("/v1/deployments").await?;
    let release = visitor.app.host.release_before(name).await?;
    let release = release.ok_or_else(|| {
        let detail = format!("under the name {name:?} no other module was active before");
        Failure::new(Code::ModuleNotFound, detail)
    })?;
    let before = |name: &str| active(&history, name).map(ToOwned::to_owned);
    let (mut changes, mut digests) = (Vec::new(), Vec::new());
    for digest in &release.digests {
        let digest = digest.to_string();
        let path = format!("/v1/modules/{digest}");
        let module = visitor.get::<ModuleView>(&path).await?;
        changes.push(Change {
            before: before(&module.name),
            name: module.name.clone(),
            after: Some(digest.clone()),
        });
        digests.push(digest);
    }
    changes.extend(release.retired.iter().map(|name| Change {
        before: before(name),
        name: name.clone(),
        after: None,
    }));
    Ok((changes, digests))
}

/// The module that is active under a name.
fn active<'a>(history: &'a DeploymentList, name: &str) -> Option<&'a str> {
    let of = |it: &'a DeploymentView| match it.name == name {
        true => Some(Some(&*it.digest)),
        false => {
            let other = it.others.iter().find(|other| other.name == name);
            other.map(|other| other.digest.as_deref())
        }
    };
    history.deployments.iter().rev().find_map(of).flatten()
}

/// Whether the page offers the activation.
enum Offer {
    /// Nothing is checked.
    Unchecked,
    Found(Box<PreflightView>),
    /// The preflight has no result.
    Failed(Failure),
}

impl Offer {
    async fn of(visitor: &Visitor, check: &Check, digests: &[String]) -> Self {
        if check.is_skipped {
            return Self::Unchecked;
        }
        let time = visitor.app.options.request_time_max / TIME_PART;
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let body = json!({"digests": digests, "allow": check.allow, "time_ms": time_ms});
        match visitor.run("/v1/preflights", body.to_string()).await {
            Ok(RunLine::Preflight(found)) => Self::Found(found),
            Ok(_) => Self::Failed(Failure::internal(&"a preflight has no result")),
            Err(failure) => Self::Failed(failure),
        }
    }

    fn is_offered(&self) -> bool {
        match self {
            Self::Unchecked => true,
            Self::Found(found) => found.passes,
            Self::Failed(_) => false,
        }
    }
}

/// What an activation would do.
struct Effect {
    says: &'static str,
    changes: Vec<Change>,
    /// The page of the same action without a preflight.
    unchecked: String,
    offer: Offer,
}

impl Effect {
    fn shown(&self, asked: &Asked<'_>) -> Markup {
        let module = |digest: &Option<String>| {
            html! {
                @match digest { Some(digest) => (layout::module(digest)), None => span.none { "nothing" } }
            }
        };
        let rows = html! {
            @for it in &self.changes {
                tr {
                    td { (Untrusted(&it.name)) }
                    td { (module(&it.before)) }
                    td { (module(&it.after)) }
                }
            }
        };
        let columns = ["Component", "Active now", "Active after it"];
        html! {
            p { (self.says) }
            (layout::table("What becomes active", &columns, &rows))
            @match &self.offer {
                Offer::Unchecked => div.hidden-part { p { "Without a preflight, nobody knows which decisions change. The module may fail to read stored events." } },
                Offer::Failed(failure) => {
                    (layout::problem(&failure.0))
                    p { "There is no result of a preflight, so it is not offered here. " (self.unchecked_link()) }
                }
                Offer::Found(found) => (self.report(found, asked)),
            }
        }
    }

    fn report(&self, found: &PreflightView, asked: &Asked<'_>) -> Markup {
        html! {
            @if found.passes { p.verdict.good { "The preflight passes." } }
            @else { p.verdict.bad { "The preflight does not pass: the host would refuse it." } }
            p.note {
                (layout::count(found.events, "event", "events")) ", up to position " (found.until) " of " (found.head) ", under plan " (found.plan) ". "
                @if found.until < found.head { "The time limit of this page came before the end of the log. " }
                "The activation makes a preflight of its own first."
            }
            @if !found.passes {
                p { "What you can do: " }
                ul {
                    @for kind in blocking(found) { li { a href=(allowing(asked, kind)) { "Let objections of the kind " code { (Untrusted(kind)) } " pass" } } }
                    li { (self.unchecked_link()) }
                }
            }
            (judged::show(found))
        }
    }

    fn unchecked_link(&self) -> Markup {
        html! { a.action href=(self.unchecked) { "Do it without a preflight\u{2026}" } }
    }
}

/// The kinds of objections that block, each once.
fn blocking(found: &PreflightView) -> Vec<&str> {
    let blocking = found.objections.iter().filter(|it| it.blocks);
    let mut kinds: Vec<&str> = blocking.map(|it| &*it.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The same page with one more kind of objection that passes.
fn allowing(asked: &Asked<'_>, kind: &str) -> String {
    let path = act::path(asked.what, asked.name, asked.action);
    let allow = match asked.allow {
        "" => kind.to_owned(),
        allow => format!("{allow},{kind}"),
    };
    format!("{path}&allow={}", encoded(&allow))
}
