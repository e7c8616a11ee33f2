//! Proposals: commands that wait until somebody approves or denies them.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::act;
use super::layout::{self, Tab};
use super::previews::{Preview, not_executed};
use super::stream::may_read;
use super::text::{self, Untrusted, encoded, quoted};
use super::views::StreamEvents;
use super::visitor::Visitor;
use crate::failure::Result;
use crate::params::Segments;
use crate::proposals::is_own;
use quipu::access::{Action, Object};
use quipu::model::StreamId;
use quipu_api::Expected;

/// Proposals of one page. One has up to 128 KiB.
const PROPOSALS: usize = 50;
/// Values of the filter, and labels. Only the first two are those of the interface.
const STATES: [(&str, &str); 7] = [
    ("open", "open"),
    ("all", "all"),
    ("executed", "executed"),
    ("failed", "failed"),
    ("approved", "approved, and not executed yet"),
    ("denied", "denied"),
    ("expired", "expired"),
];

#[derive(Deserialize)]
struct Proposals {
    proposals: Vec<Proposal>,
    next: Option<u64>,
}

/// A proposal as the interface shows it. Nothing in it was written by this program.
#[derive(Deserialize)]
pub struct Proposal {
    pub number: u64,
    pub state: String,
    pub stream: String,
    command_id: String,
    pub command: String,
    schema_version: u32,
    content_type: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
    metadata: Box<RawValue>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    expected_version: Option<Expected>,
    note: Option<String>,
    proposed_at: String,
    pub proposed_by: Option<String>,
    expires_at: String,
    effect: Effect,
    decided_at: Option<String>,
    decided_by: Option<String>,
    reason: Option<String>,
    result: Option<Outcome>,
}

#[derive(Deserialize)]
struct Effect {
    module: String,
    plan: u64,
    version: u64,
    events: Vec<EffectEvent>,
}

#[derive(Deserialize)]
pub struct EffectEvent {
    #[serde(rename = "type")]
    name: String,
    schema_version: u32,
    content_type: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
}

#[derive(Deserialize)]
struct Outcome {
    version: Option<u64>,
    code: Option<String>,
    detail: Option<String>,
}

pub fn path(number: u64) -> String {
    format!("/console/proposals/{number}")
}

pub async fn list(visitor: Visitor) -> Response {
    let state = visitor.text("state").unwrap_or("open");
    let body = html! {
        form.filters method="get" action="/console/proposals" {
            div { label for="category" { "Category" } input #category name="category" maxlength="200" value=[visitor.text("category")]; }
            div {
                label for="state" { "State" }
                select #state name="state" {
                    @for (value, label) in STATES { option value=(value) selected[value == state] { (label) } }
                }
            }
            button type="submit" { "Show" }
        }
        (layout::part("Proposals are", listed(&visitor, state).await))
    };
    visitor.page(Tab::Proposals, "Proposals", Ok(body))
}

async fn listed(visitor: &Visitor, state: &str) -> Result<Markup> {
    let category = visitor.text("category");
    let of_category = category.map_or_else(String::new, |it| format!("&category={}", encoded(it)));
    let before = visitor.number("before")?;
    let before = before.map_or_else(String::new, |it| format!("&before={it}"));
    // The interface lists open ones or all; one of another state is picked here.
    let is_open = state == "open";
    let of_state = if is_open { "" } else { "&state=all" };
    let path = format!("/v1/proposals?limit={PROPOSALS}{of_state}{of_category}{before}");
    let page = visitor.get::<Proposals>(&path).await?;
    let is_one_of = |it: &&Proposal| is_open || state == "all" || it.state == state;
    let shown: Vec<&Proposal> = page.proposals.iter().filter(is_one_of).collect();
    let older = page.next.map(|next| {
        let state = encoded(state);
        (
            format!("/console/proposals?state={state}{of_category}&before={next}"),
            "Older proposals",
        )
    });
    let mut command = category.map_or_else(String::new, |it| format!(" {}", quoted(it)));
    if !is_open {
        command += " --all";
    }
    Ok(html! {
        @if shown.is_empty() { p.note { "There is no such proposal on this page." } }
        @else { (table(&shown)) }
        (layout::pager(None, older))
        p.note { "A proposal is a command that is executed only after somebody approves it. Tools for agents propose commands in the mode " code { "propose" } "." }
        (layout::same_as(visitor, &format!("proposal list{command}"), &path))
    })
}

fn table(proposals: &[&Proposal]) -> Markup {
    let columns = [
        "Number",
        "State",
        "Command",
        "Stream",
        "Effect",
        "Proposed by",
        "Proposed at",
        "Expires at",
        "Note",
    ];
    let rows = html! {
        @for it in proposals {
            tr {
                td.number { a href=(path(it.number)) { (it.number) } }
                td { (layout::state(&it.state)) }
                td { (Untrusted(&it.command)) }
                td.name { (layout::stream(&it.stream)) }
                td { (effect_in_a_line(it)) }
                td { (layout::or_dash(it.proposed_by.as_deref().map(Untrusted))) }
                td { (layout::time(&it.proposed_at)) }
                td { (layout::time(&it.expires_at)) }
                td.text { (layout::or_dash(it.note.as_deref().map(Untrusted))) }
            }
        }
    };
    layout::table("Proposals", &columns, &rows)
}

fn effect_in_a_line(it: &Proposal) -> Markup {
    let names: Vec<&str> = it.effect.events.iter().map(|it| &*it.name).collect();
    let names = names.join(", ");
    let (begin, rest) = text::cut(&names, text::PREVIEW_MAX);
    html! {
        @if names.is_empty() { span.none { "no event" } }
        @else { (Untrusted(begin)) @if rest > 0 { "\u{2026}" } }
    }
}

pub async fn show(visitor: Visitor, Segments(number): Segments<String>) -> Response {
    let body = one(&visitor, &number).await;
    visitor.page(Tab::Proposals, &format!("Proposal {number}"), body)
}

/// Reads a proposal in the name of the reader.
///
/// # Errors
/// The problem with which the host answers.
pub async fn read(visitor: &Visitor, number: &str) -> Result<Proposal> {
    let path = format!("/v1/proposals/{}", encoded(number));
    let answer = visitor.get::<Proposal>(&path).await?;
    Ok(answer.into_value())
}

async fn one(visitor: &Visitor, number: &str) -> Result<Markup> {
    let it = read(visitor, number).await?;
    let command = format!("proposal show {}", it.number);
    let rest_from = format!("quipu {command} --json");
    let is_readable = StreamId::new(&it.stream).is_ok_and(|stream| may_read(visitor, &stream));
    Ok(html! {
        (it.facts())
        (decision(visitor, &it))
        @if let Some(result) = &it.result { (it.outcome(result)) }
        (it.payload(&rest_from))
        h2 { "Effect, when it was proposed" }
        (it.effect(&rest_from))
        @if it.state == "open" && is_readable { (moved_on(visitor, &it).await) (previewed(visitor, &it).await) }
        (layout::same_as(visitor, &command, &format!("/v1/proposals/{}", it.number)))
    })
}

impl Proposal {
    fn facts(&self) -> Markup {
        let some = |text: &Option<String>| text.as_ref().map(|it| html! { (Untrusted(it)) });
        let expected = self.expected_version.as_ref().map(|it| match it {
            Expected::Version(version) => html! { (version) },
            Expected::Word(word) => html! { (Untrusted(word)) },
        });
        layout::facts(&[
            ("State", Some(layout::state(&self.state))),
            (
                "Command",
                Some(html! { (Untrusted(&self.command)) " v" (self.schema_version) }),
            ),
            ("Stream", Some(layout::stream(&self.stream))),
            ("Proposed by", some(&self.proposed_by)),
            ("Note", some(&self.note)),
            ("Proposed at", Some(layout::time(&self.proposed_at))),
            ("Expires at", Some(layout::time(&self.expires_at))),
            ("Expected version", expected),
            ("Command id", Some(layout::trace(&self.command_id))),
            (
                "Correlation id",
                self.correlation_id.as_deref().map(layout::trace),
            ),
            (
                "Causation id",
                self.causation_id.as_deref().map(layout::trace),
            ),
            ("Decided at", self.decided_at.as_deref().map(layout::time)),
            ("Decided by", some(&self.decided_by)),
            ("Reason", some(&self.reason)),
        ])
    }

    /// What the execution led to.
    fn outcome(&self, result: &Outcome) -> Markup {
        let stream = layout::stream_path(&self.stream);
        html! {
            h2 { "Result" }
            @if let Some(version) = result.version {
                p {
                    "It was executed. The stream is at version " (version) " after it: "
                    a href={ (stream) "?at=" (version) } { "the state after it" } " \u{b7} "
                    a href={ (stream) "/diff?one=" (self.effect.version) "&other=" (version) } { "what changed in the state since it was proposed" }
                }
            } @else {
                div.problem {
                    p { "It was not executed: " code { (Untrusted(result.code.as_deref().unwrap_or("failed"))) } }
                    @if let Some(detail) = &result.detail { p { (Untrusted(text::cut(detail, 4_096).0)) } }
                }
            }
        }
    }

    /// The data and the metadata with which the command is executed.
    pub fn payload(&self, rest_from: &str) -> Markup {
        let data = data(
            self.data.as_deref(),
            self.data_base64.as_deref(),
            self.content_type.as_deref(),
            rest_from,
        );
        html! {
            h2 { "Data of the command" }
            (data)
            @if self.metadata.get() != "{}" {
                h2 { "Metadata of the command" }
                (text::json(self.metadata.get(), rest_from))
            }
        }
    }

    /// The events that the command led to when it was proposed.
    pub fn effect(&self, rest_from: &str) -> Markup {
        let Effect {
            module,
            plan,
            version,
            events,
        } = &self.effect;
        html! {
            p.note {
                "Decided by module " (layout::module(module)) " in plan " (plan) " on "
                @if *version == 0 { "the empty stream" }
                @else { a href=(layout::state_path(&self.stream, *version, Some(module))) { "version " (version) " of the stream" } }
                ". An execution decides on the state that the stream has then, so it may lead to other events, or to a rejection."
            }
            (list_events(events, rest_from))
        }
    }
}

pub fn list_events(events: &[EffectEvent], rest_from: &str) -> Markup {
    html! {
        @if events.is_empty() { p { "No event." } }
        @for it in events {
            h3 { (Untrusted(&it.name)) " v" (it.schema_version) }
            (data(it.data.as_deref(), it.data_base64.as_deref(), it.content_type.as_deref(), rest_from))
        }
    }
}

fn data(
    json: Option<&RawValue>,
    base64: Option<&str>,
    content_type: Option<&str>,
    rest_from: &str,
) -> Markup {
    let base64 = base64.map(|it| (content_type.unwrap_or_default(), it));
    text::data(json, base64, rest_from)
}

/// Who may decide now, with the links to do it.
fn decision(visitor: &Visitor, it: &Proposal) -> Markup {
    if !matches!(it.state.as_str(), "open" | "approved") {
        return html! {};
    }
    let is_own = is_own(&visitor.app, &visitor.caller, it.proposed_by.as_deref());
    html! {
        @if is_own { p.note { "You proposed it, so somebody else must approve it." } }
        @if it.state == "approved" {
            p { "It was approved, and it is not known whether its command was executed. Approve it a second time to execute it, or to find out." }
        }
        @match may_decide(visitor, it) {
            Ok(()) if visitor.acts() => (act::proposal_links(it.number, |action| match action {
                "approve" => !is_own,
                _ => it.state == "open",
            })),
            Ok(()) => p.note { "Approve or deny it with " code { "quipu proposal" } "; with " code { "console = \"full\"" } " this page offers it, too." },
            Err(why) => p.note { "You can't decide it: " (Untrusted(&why)) },
        }
    }
}

/// Why the reader may not approve or deny a proposal; `Ok` if it may. The interface checks it when
/// it happens.
///
/// # Errors
/// The reason.
pub fn may_decide(visitor: &Visitor, it: &Proposal) -> std::result::Result<(), String> {
    let stream = StreamId::new(&it.stream).map_err(|invalid| invalid.to_string())?;
    let rules = visitor.app.options.rules.current();
    rules.check(&visitor.caller, Action::Command, Object::Stream(&stream))
}

/// Says that the stream has changed since the command was decided.
async fn moved_on(visitor: &Visitor, it: &Proposal) -> Markup {
    let name = encoded(&it.stream);
    let path = format!("/v1/streams/{name}/events?limit=1&direction=backward&form=stored");
    let now = match visitor.get::<StreamEvents>(&path).await {
        Ok(page) => page.version,
        // It has no event yet.
        Err(_) => return html! {},
    };
    html! {
        @if now != it.effect.version {
            div.hidden-part {
                p {
                    "The stream has changed: it is at version " (now) " now. "
                    a href={ (layout::stream_path(&it.stream)) "/diff?one=" (it.effect.version) "&other=" (now) } { "What changed in its state" }
                }
            }
        }
    }
}

/// Shows what an approval would lead to now: the events, if they are others than when it was
/// proposed, and the differences between the states before and after them.
async fn previewed(visitor: &Visitor, it: &Proposal) -> Markup {
    let path = format!("/v1/proposals/{}/preview", it.number);
    let command = format!("proposal preview {}", it.number);
    let preview = visitor.get::<Preview>(&path).await;
    html! {
        h2 { "Effect, if it were executed now" }
        @match preview {
            Err(failure) => (not_executed(&failure)),
            Ok(preview) => {
                (preview.decided_by())
                @if is_same(&preview.events, &it.effect.events) { p { "The same events as when it was proposed." } }
                @else { (list_events(&preview.events, &format!("quipu {command} --json"))) }
                (preview.changes())
            }
        }
        (layout::same_as(visitor, &command, &path))
    }
}

fn is_same(events: &[EffectEvent], others: &[EffectEvent]) -> bool {
    let json = |event: &EffectEvent| event.data.as_ref().map(|data| data.get().to_owned());
    events.len() == others.len()
        && events.iter().zip(others).all(|(one, other)| {
            one.name == other.name
                && one.schema_version == other.schema_version
                && json(one) == json(other)
                && one.data_base64 == other.data_base64
        })
}
