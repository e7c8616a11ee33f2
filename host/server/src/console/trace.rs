//! The tree of causes and consequences of an id.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::text::{Untrusted, encoded};
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use quipu_api::{Code, TraceEntry, TraceView};

/// Most events and rejections of a tree.
const ENTRIES_MAX: usize = 300;
/// Deeper consequences are not indented further.
const DEPTH_MAX: u64 = 24;

/// What belongs to an id, as `/v1/trace` finds it.
pub enum Lookup {
    /// A tree.
    Tree(Box<TraceView>),
    /// Nothing; the text says where it was searched.
    Nothing(String),
}

pub async fn show(visitor: Visitor) -> Response {
    let body = body(&visitor).await;
    visitor.page(Tab::Log, "Tree of causes", body)
}

async fn body(visitor: &Visitor) -> Result<Markup> {
    let Some(id) = visitor.text("id") else {
        return Err(Failure::bad_request(
            "id: the id of an event, of a command or of a correlation is missing",
        ));
    };
    let found = Lookup::of(visitor, id, visitor.number("before")?).await?;
    Ok(found.shown(id))
}

impl Lookup {
    /// Searches for an id.
    ///
    /// # Errors
    /// When the reader may not read the log.
    pub async fn of(visitor: &Visitor, id: &str, before: Option<u64>) -> Result<Self> {
        let before = before.map_or_else(String::new, |it| format!("&before={it}"));
        let path = format!("/v1/trace/{}?limit={ENTRIES_MAX}{before}", encoded(id));
        match visitor.get::<TraceView>(&path).await {
            Ok(answer) => Ok(Self::Tree(Box::new(answer.into_value()))),
            Err(Failure(problem)) if is_nothing(&problem.code) => Ok(Self::Nothing(problem.detail)),
            Err(failure) => Err(failure),
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Tree(tree) => tree.entries.is_empty(),
            Self::Nothing(_) => true,
        }
    }

    /// The tree.
    pub fn shown(&self, id: &str) -> Markup {
        let tree = match self {
            Self::Tree(tree) => tree,
            Self::Nothing(why) => return html! { p.note { (Untrusted(why)) } },
        };
        html! {
            p { "What led to " code { (Untrusted(id)) } ", and what came of it. What it names is marked." }
            p.note {
                "Searched from position " (tree.searched_from) " to " (tree.searched_to) "."
                @if tree.searched_from > 1 {
                    " " a href={ "/console/trace?id=" (encoded(id)) "&before=" (tree.searched_from) } { "Search further back" }
                }
            }
            div.tree { (level(&tree.entries, 0)) }
            @if tree.cut.is_some() { p.note { "There may be more: the search ended at a bound." } }
            @if tree.left_out > 0 { p.note { (tree.left_out) " are left out, because their streams may not be read." } }
        }
    }
}

/// Whether nothing has an id, or nothing can have it.
fn is_nothing(code: &str) -> bool {
    [Code::EventNotFound, Code::BadRequest]
        .iter()
        .any(|it| it.as_str() == code)
}

fn depth(entry: &TraceEntry) -> u64 {
    entry.depth.min(DEPTH_MAX)
}

/// The entries of a level, each with those below it.
fn parts(entries: &[TraceEntry], level: u64) -> Vec<(&TraceEntry, &[TraceEntry])> {
    let (mut parts, mut rest) = (Vec::new(), entries);
    while let Some((first, after)) = rest.split_first() {
        let below = after.iter().take_while(|it| depth(it) > level).count();
        let (below, others) = after.split_at(below);
        parts.push((first, below));
        rest = others;
    }
    parts
}

fn level(entries: &[TraceEntry], depth: u64) -> Markup {
    html! {
        ul {
            @for (entry, below) in parts(entries, depth) {
                li {
                    (line(entry))
                    @if !below.is_empty() && depth < DEPTH_MAX { (level(below, depth + 1)) }
                }
            }
        }
    }
}

fn line(it: &TraceEntry) -> Markup {
    html! {
        @if let Some(position) = it.position { (layout::position(position)) " " }
        @if it.is_match { mark { strong { (Untrusted(&it.r#type)) } } } @else { strong { (Untrusted(&it.r#type)) } }
        @if let Some(code) = &it.rejection { " rejected as " code { (Untrusted(code)) } }
        " in " (layout::stream(&it.stream)) " "
        a href=(layout::state_path(&it.stream, it.version, it.module.as_deref())) { "version " (it.version) }
        span.note {
            " " (layout::time(&it.recorded_at))
            @if let Some(by) = &it.principal { " by " (Untrusted(by)) }
            @if let Some(module) = &it.module { ", module " (layout::module(module)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(depth: u64, position: u64) -> TraceEntry {
        TraceEntry {
            depth,
            cause: None,
            position: Some(position),
            id: None,
            stream: "note-1".to_owned(),
            version: position,
            r#type: "noted".to_owned(),
            recorded_at: "2026-01-31T12:00:00Z".to_owned(),
            rejection: None,
            command_id: None,
            correlation_id: None,
            causation_id: None,
            module: None,
            plan: 0,
            principal: None,
            is_match: false,
        }
    }

    #[test]
    fn each_entry_is_below_its_cause_and_none_is_lost() {
        let depths = [0, 1, 2, 1, 0];
        let entries: Vec<_> = depths
            .into_iter()
            .zip(1..)
            .map(|(d, p)| entry(d, p))
            .collect();
        let top = parts(&entries, 0);
        let below: Vec<usize> = top.iter().map(|(_, below)| below.len()).collect();
        assert_eq!(below, [3, 0]);
        let deep: Vec<_> = (0..500).map(|n| entry(n, n + 1)).collect();
        let shown = level(&deep, 0).into_string();
        assert_eq!(shown.matches("<li>").count(), 500);
        assert_eq!(shown.matches("<ul>").count() as u64, DEPTH_MAX + 1);
    }
}
