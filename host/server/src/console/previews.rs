//! Previews of commands: what a command would lead to now. Nothing is executed.

use axum::extract::Request;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::described::{CommandType, Described};
use super::example;
use super::layout::{self, Tab};
use super::proposals::{EffectEvent, list_events};
use super::sign_in::form;
use super::stream::differing;
use super::text::{self, Untrusted, encoded, quoted};
use super::visitor::Visitor;
use crate::failure::Failure;
use quipu::model::{StreamId, check_json};

/// Where the form is, and where it is sent.
const PATH: &str = "/console/preview";

#[derive(Deserialize)]
pub struct Preview {
    module: String,
    version: u64,
    pub events: Vec<EffectEvent>,
    state_before: Option<Box<RawValue>>,
    state_after: Option<Box<RawValue>>,
}

/// A command that the reader tries.
#[derive(Deserialize)]
struct Trial {
    stream: String,
    #[serde(rename = "type")]
    name: String,
    #[serde(default)]
    data: String,
}

/// The address of the form, with a stream and a type of command that are known.
pub fn path(stream: &str, name: &str) -> String {
    format!("{PATH}?stream={}&type={}", encoded(stream), encoded(name))
}

/// The form, with an example of the data if the type of the command declares a schema.
pub async fn show(visitor: Visitor) -> Response {
    let given = |name| visitor.text(name).unwrap_or_default().to_owned();
    let mut trial = Trial {
        stream: given("stream"),
        name: given("type"),
        data: "{}".to_owned(),
    };
    let described = Described::of(&visitor).await.ok();
    let known = trial.known(described.as_ref());
    let chosen = known.iter().find(|it| it.name == trial.name);
    let schema = chosen.and_then(|it| it.schema);
    if let (Some(described), Some(schema)) = (&described, schema) {
        let example = example::of(described, schema).to_string();
        // It is short: nothing is cut.
        trial.data = text::indented(&example).0;
    }
    let body = html! {
        (trial.form(&known))
        @if let Some(schema) = schema {
            p.note { "The data are an example that was made from the schema of " (Untrusted(&trial.name)) ". Replace its values." }
            details.schema { summary { "Schema" } (text::json(&schema.to_string(), "quipu types --json")) }
        }
    };
    visitor.page(Tab::Streams, "Preview a command", Ok(body))
}

/// The form with its result.
pub async fn decide(visitor: Visitor, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let decided = async {
        visitor.check_origin(&parts)?;
        let trial: Trial = form(&parts, body).await?;
        let described = Described::of(&visitor).await.ok();
        let known = trial.known(described.as_ref());
        let result = trial.decided(&visitor).await;
        Ok::<_, Failure>(html! { (trial.form(&known)) h2 { "Result" } (result) })
    };
    let body = decided.await;
    visitor.page(Tab::Streams, "Preview a command", body)
}

impl Trial {
    /// The types of command that the stream takes.
    fn known<'a>(&self, described: Option<&'a Described>) -> Vec<CommandType<'a>> {
        let category = self.stream.split_once('-').map_or(&*self.stream, |it| it.0);
        let commands = described.and_then(|it| it.commands().remove(category.trim()));
        commands.unwrap_or_default()
    }

    fn form(&self, known: &[CommandType<'_>]) -> Markup {
        html! {
            p { "Decides a command on the state that its stream has now. Nothing is executed or stored." }
            @if !known.is_empty() {
                p id="types" { "Types of command:" }
                ul.inline aria-labelledby="types" {
                    @for it in known { li { (layout::link(&path(&self.stream, &it.name), &it.name)) } }
                }
            }
            form.command action=(PATH) method="post" {
                label for="stream" { "Stream" }
                input #stream name="stream" value=(self.stream) maxlength="512" required autocomplete="off" spellcheck="false" placeholder="account-1";
                label for="type" { "Type of the command" }
                input #type name="type" value=(self.name) maxlength="255" required autocomplete="off" spellcheck="false" placeholder="deposit";
                label for="data" { "Data, as JSON" }
                textarea #data name="data" rows="8" spellcheck="false" { (self.data) }
                button type="submit" { "Preview" }
            }
        }
    }

    /// What the command would lead to, and the same as a command.
    async fn decided(&self, visitor: &Visitor) -> Markup {
        let (stream, name) = (self.stream.trim(), self.name.trim());
        let data = match self.data.trim() {
            "" => "{}",
            data => data,
        };
        let command = format!(
            "quipu execute {} {} {} --dry-run --url {}",
            quoted(stream),
            quoted(name),
            quoted(data),
            quoted(&visitor.base)
        );
        let path = format!("/v1/streams/{}/preview", encoded(stream));
        // Digits and order of the data stay as they are.
        let body = format!("{{\"type\":{},\"data\":{data}}}", json!(name));
        let asked = async {
            StreamId::new(stream)?;
            let invalid = |error| Failure::bad_request(format!("data: {error}"));
            check_json(data.as_bytes()).map_err(invalid)?;
            visitor.post::<Preview>(&path, body.clone(), None).await
        };
        let result = match asked.await {
            Err(failure) => not_executed(&failure),
            Ok(preview) => html! {
                (preview.decided_by())
                (list_events(&preview.events, &format!("{command} --json")))
                (preview.changes())
            },
        };
        html! { (result) (layout::same_as_post(visitor, &command, &path, &body)) }
    }
}

/// Says why a command would not be executed.
pub fn not_executed(failure: &Failure) -> Markup {
    let rejection = failure.0.rejection.as_ref();
    html! {
        div.hidden-part {
            p {
                "It would not be executed: " code { (Untrusted(&failure.0.code)) }
                @if let Some(rejection) = rejection { ", " code { (Untrusted(&rejection.code)) } }
            }
            p { (Untrusted(text::cut(&failure.0.detail, 4_096).0)) }
        }
    }
}

impl Preview {
    pub fn decided_by(&self) -> Markup {
        html! { p.note { "Decided by module " (layout::module(&self.module)) " on version " (self.version) " of the stream. Nothing was stored." } }
    }

    /// The differences between the states before and after the events.
    pub fn changes(&self) -> Markup {
        html! {
            @match (&self.state_before, &self.state_after) {
                (Some(before), Some(after)) => { h3 { "Changes of the state" } (differing(before, after)) }
                _ => p.note { "The decider does not show its state." },
            }
        }
    }
}
