//! The frame of every page.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, Render, html};

use super::assets;
use super::text::{Untrusted, encoded, quoted};
use super::visitor::Visitor;
use crate::failure::Result;
use quipu_api::Problem;

/// The part of the console that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    None,
    Overview,
    Streams,
    Log,
    Rejections,
    Proposals,
    Modules,
    Projections,
    Subscriptions,
    Domain,
    Operations,
}

const TABS: [(Tab, &str, &str); 10] = [
    (Tab::Overview, "/console", "Overview"),
    (Tab::Streams, "/console/streams", "Streams"),
    (Tab::Log, "/console/log", "Log"),
    (Tab::Rejections, "/console/rejections", "Rejections"),
    (Tab::Proposals, "/console/proposals", "Proposals"),
    (Tab::Modules, "/console/modules", "Modules"),
    (Tab::Projections, "/console/projections", "Projections"),
    (
        Tab::Subscriptions,
        "/console/subscriptions",
        "Subscriptions",
    ),
    (Tab::Domain, "/console/domain", "Domain"),
    (Tab::Operations, "/console/operations", "Operations"),
];

/// A page, or the problem in its place.
pub fn page(visitor: &Visitor, tab: Tab, title: &str, body: Result<Markup>) -> Response {
    let (status, body) = match body {
        Ok(body) => (StatusCode::OK, body),
        Err(failure) => {
            let status = StatusCode::from_u16(failure.0.status);
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, problem(&failure.0))
        }
    };
    let name = visitor.caller.name();
    let head = html! {
        header {
            a.brand href="/console" { "Quipu" }
            nav aria-label="Console" {
                ul {
                    @for (it, path, label) in TABS {
                        li { a href=(path) aria-current=[(it == tab).then_some("page")] { (label) } }
                    }
                }
            }
            form.search role="search" action="/console/search" method="get" {
                label.visually-hidden for="q" { "Search" }
                input #q name="q" type="search" maxlength="512" autocomplete="off"
                    placeholder="Stream, position, id or digest" value=[visitor.text("q")];
                button type="submit" { "Search" }
            }
            div.reader {
                @match &name {
                    Some(name) => { span { (Untrusted(name)) @if let Some(grant) = visitor.caller.grant() { " (" (grant.role.as_str()) ")" } } }
                    None => { span { "open to everybody" } }
                }
                @if visitor.has_session {
                    form action="/console/sign-out" method="post" { button type="submit" { "Sign out" } }
                }
            }
        }
    };
    let main = html! {
        main #main tabindex="-1" {
            h1 { (Untrusted(title)) }
            @if visitor.is_masked() {
                p.note role="note" { "You may not see contents of events and states (" code { "read-payload" } "). Each value is replaced by the name of its type." }
            }
            (body)
        }
    };
    respond(status, title, &html! { (head) (main) })
}

/// A whole document.
pub fn respond(status: StatusCode, title: &str, body: &Markup) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (Untrusted(title)) " \u{b7} Quipu" }
                link rel="icon" type="image/svg+xml" href=(assets::path(assets::ICON));
                link rel="stylesheet" href=(assets::path(assets::STYLE));
                script src=(assets::path(assets::SCRIPT)) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
            }
        }
    };
    (status, Html(document.into_string())).into_response()
}

/// An error: what happened, and what to do.
pub fn problem(problem: &Problem) -> Markup {
    html! {
        div.problem role="alert" {
            p { strong { (Untrusted(&problem.title)) } }
            p { (Untrusted(&problem.detail)) }
            p.note { code { (Untrusted(&problem.code)) } " \u{b7} the page of this code: " code { "quipu explain " (Untrusted(&quoted(&problem.code))) } }
        }
    }
}

/// Why a part of a page is not shown.
pub fn hidden(what: &str, why: &str) -> Markup {
    html! { p.hidden-part { (what) " not shown: " (Untrusted(why)) } }
}

/// A part of a page, or why it is not there.
pub fn part(what: &str, body: Result<Markup>) -> Markup {
    match body {
        Ok(body) => body,
        Err(failure) if failure.0.status == 403 => hidden(what, &failure.0.detail),
        Err(failure) => problem(&failure.0),
    }
}

/// A table that scrolls in its own region.
pub fn table(name: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label=(name) {
            table {
                caption.visually-hidden { (name) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// Names and values.
pub fn facts(facts: &[(&str, Option<Markup>)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

/// The same as commands, to be copied.
pub fn same_as(visitor: &Visitor, command: &str, path: &str) -> Markup {
    let command = format!("quipu {command} --url {}\n", quoted(&visitor.base));
    same(visitor, "command", &command, path)
}

/// The same as a request, where there is no command for it.
pub fn same_as_request(visitor: &Visitor, path: &str) -> Markup {
    same(visitor, "request", "", path)
}

/// The same as a command and as a request with a body.
pub fn same_as_post(visitor: &Visitor, command: &str, path: &str, body: &str) -> Markup {
    let json = "-H 'Content-Type: application/json' -d";
    let curl = curl(visitor, &format!(" {json} {}", quoted(body)), path);
    commands("command", &format!("{command}\n{curl}"))
}

/// The same as lines of a shell.
pub fn same_as_lines(lines: &[String]) -> Markup {
    commands("command", &lines.join("\n"))
}

fn same(visitor: &Visitor, what: &str, command: &str, path: &str) -> Markup {
    commands(what, &format!("{command}{}", curl(visitor, "", path)))
}

/// A request of a program, in the name of the reader.
pub fn curl(visitor: &Visitor, options: &str, path: &str) -> String {
    let token = match visitor.caller.name() {
        Some(_) => " -H \"Authorization: Bearer $QUIPU_TOKEN\"",
        None => "",
    };
    let address = quoted(&format!("{}{path}", visitor.base));
    format!("curl{options}{token} {address}")
}

/// Commands with the same result as a page.
fn commands(what: &str, text: &str) -> Markup {
    html! {
        details.same {
            summary { "The same as a " (what) }
            pre tabindex="0" role="group" aria-label="Commands" { code { (Untrusted(text)) } }
        }
    }
}

/// A link whose text was not written by this program.
pub fn link(path: &str, text: &str) -> Markup {
    html! { a href=(path) { (Untrusted(text)) } }
}

pub fn stream_path(stream: &str) -> String {
    format!("/console/streams/{}", encoded(stream))
}

/// The address of the state of a stream at a version. The module that decided there renders it as
/// it met it; without a module, the active one.
pub fn state_path(stream: &str, version: u64, module: Option<&str>) -> String {
    let module = module.map_or_else(String::new, |it| format!("&module={}", encoded(it)));
    format!("{}?at={version}{module}", stream_path(stream))
}

pub fn stream(stream: &str) -> Markup {
    link(&stream_path(stream), stream)
}

pub fn position(position: u64) -> Markup {
    html! { a href={ "/console/events/" (position) } { (position) } }
}

pub fn module(digest: &str) -> Markup {
    let short = digest.get(..12).unwrap_or(digest);
    html! { a href={ "/console/modules/" (encoded(digest)) } title=(digest) { code { (Untrusted(short)) } } }
}

pub fn projection_path(name: &str) -> String {
    format!("/console/projections/{}", encoded(name))
}

/// A link to everything that has an id.
pub fn trace(id: &str) -> Markup {
    link(&format!("/console/trace?id={}", encoded(id)), id)
}

/// A time, with `T` and the parts of a second as they are.
pub fn time(at: &str) -> Markup {
    let (date, rest) = at.split_once('T').unwrap_or((at, ""));
    html! { time datetime=(at) { (Untrusted(date)) " " (Untrusted(rest.trim_end_matches('Z'))) } }
}

/// The links to the pages before and after.
pub fn pager(newer: Option<(String, &str)>, older: Option<(String, &str)>) -> Markup {
    html! {
        @if newer.is_some() || older.is_some() {
            nav.pager aria-label="Pages" {
                @for (path, label) in [newer, older].into_iter().flatten() { a href=(path) { (label) } }
            }
        }
    }
}

/// A number with what it counts.
pub fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

/// A word about a state, with its colour.
pub fn state(word: &str) -> Markup {
    let class = match word {
        "caught-up" | "inline" | "live" | "active" | "ready" | "ok" | "done" | "executed" => "good",
        "failing" | "stopped" | "orphaned" | "failed" => "bad",
        "kept" | "previous" | "not-built" | "denied" | "expired" => "calm",
        _ => "warn",
    };
    html! { span class={ "state " (class) } { (Untrusted(word)) } }
}

/// Something optional, or a dash.
pub fn or_dash(value: Option<impl Render>) -> Markup {
    html! { @match value { Some(value) => { (value) } None => { span.none { "\u{2013}" } } } }
}
