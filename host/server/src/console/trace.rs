//! The tree of causes around an id, among the newest events.

use std::collections::BTreeSet;

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::text::{Shown, encoded};
use super::views::{Event, Log, Rejection, Rejections};
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use quipu::access::Action;

/// Events that one page searches: requests, and events of each.
const PAGES: usize = 5;
const PAGE: usize = 1_000;
/// Most events of a tree.
const FOUND_MAX: usize = 300;
/// Deeper causes are not indented further.
const DEPTH_MAX: usize = 24;

/// What belongs to an id.
#[derive(Default)]
pub struct Found {
    events: Vec<Event>,
    rejections: Vec<Rejection>,
    /// The search went from here down.
    from: u64,
    /// The position at which the search ended; none at the beginning of the log.
    next: Option<u64>,
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
    let found = Found::of(visitor, id, visitor.number("before")?).await?;
    Ok(found.shown(id))
}

impl Found {
    /// Searches for an id.
    ///
    /// # Errors
    /// When the reader may not read the log.
    pub async fn of(visitor: &Visitor, id: &str, before: Option<u64>) -> Result<Self> {
        let given = BTreeSet::from([id.to_owned()]);
        let mut found = Self::search(visitor, given.clone(), before).await?;
        // Effects of effects have the same correlation, which is not known before the end of the
        // first search.
        let correlations = found
            .events
            .iter()
            .filter_map(|event| event.commit.correlation_id.clone());
        let ids: BTreeSet<String> = given.iter().cloned().chain(correlations).collect();
        if ids != given {
            found = Self::search(visitor, ids, before).await?;
        }
        if visitor.may(Action::ReadPayload).is_ok() {
            let page = visitor
                .get::<Rejections>("/v1/rejections?limit=100")
                .await?;
            let page = page.into_value().rejections;
            found.rejections = page.into_iter().filter(|it| it.command_id == id).collect();
        }
        Ok(found)
    }

    /// Searches the log backward for events that are about one of these ids, or led to one that is.
    async fn search(
        visitor: &Visitor,
        mut ids: BTreeSet<String>,
        before: Option<u64>,
    ) -> Result<Self> {
        let mut found = Self::default();
        let mut after = before;
        for number in 0..PAGES {
            let after_part = after.map_or_else(String::new, |it| format!("&after={it}"));
            let path =
                format!("/v1/events?direction=backward&form=stored&limit={PAGE}{after_part}");
            let page = visitor.get::<Log>(&path).await?.into_value();
            if number == 0 {
                found.from = before.unwrap_or(page.head);
            }
            found.next = page.next;
            for event in page.events {
                if found.events.len() < FOUND_MAX && is_about(&event, &ids) {
                    // Causes are before their effects, so what led to this event is found further on.
                    ids.extend(event.commit.causation_id.clone());
                    found.events.push(event);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.events.reverse();
        Ok(found)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.rejections.is_empty()
    }

    /// The tree.
    pub fn shown(&self, id: &str) -> Markup {
        let end = self.next.unwrap_or(0);
        let rejections: Vec<_> = self.rejections.iter().collect();
        html! {
            p { "Events that have " code { (Shown(id)) } " as their id, command, correlation or cause, and what led to them." }
            p.note {
                "Searched from position " (self.from) " down to " (end) "."
                @if let Some(next) = self.next {
                    " " a href={ "/console/trace?id=" (encoded(id)) "&before=" (next) } { "Search further back" }
                }
            }
            @if self.events.is_empty() { p { "No event among these has the id." } }
            @else { div.tree { (self.children(None, 0)) } }
            @if !rejections.is_empty() {
                h2 { "Rejected" }
                (super::views::rejections(&rejections))
            }
            @if self.events.len() == FOUND_MAX { p.note { "Further events are not shown." } }
        }
    }

    /// The events that one led to; without one, those whose cause was not found.
    fn children(&self, of: Option<&Event>, depth: usize) -> Markup {
        let children: Vec<&Event> = self
            .events
            .iter()
            .filter(|it| self.is_child(it, of))
            .collect();
        html! {
            @if !children.is_empty() {
                ul {
                    @for it in children {
                        li {
                            (layout::position(it.position)) " "
                            strong { (Shown(&it.name)) } " in " (layout::stream(&it.stream)) " version " (it.version)
                            span.note {
                                " " (layout::time(&it.recorded_at))
                                @if let Some(by) = &it.commit.principal { " by " (Shown(by)) }
                                @if let Some(module) = &it.commit.module { ", module " (layout::module(module)) }
                            }
                            @if depth < DEPTH_MAX { (self.children(Some(it), depth + 1)) }
                        }
                    }
                }
            }
        }
    }

    fn is_child(&self, it: &Event, of: Option<&Event>) -> bool {
        let cause = it.commit.causation_id.as_deref();
        match (of, cause) {
            (None, None) => true,
            (None, Some(cause)) => !self.events.iter().any(|other| leads_to(other, cause, it)),
            (Some(_), None) => false,
            (Some(of), Some(cause)) => {
                // Of the events of one command the first one leads to the others' effects.
                let first = self.events.iter().find(|other| leads_to(other, cause, it));
                first.is_some_and(|first| first.position == of.position)
            }
        }
    }
}

/// Whether an event, or its command, is the cause of a later event.
fn leads_to(event: &Event, cause: &str, of: &Event) -> bool {
    let is_named = event.id == cause || event.commit.command_id.as_deref() == Some(cause);
    is_named && event.position < of.position
}

fn is_about(event: &Event, ids: &BTreeSet<String>) -> bool {
    let commit = &event.commit;
    let of_commit = [
        &commit.command_id,
        &commit.correlation_id,
        &commit.causation_id,
    ];
    ids.contains(&event.id) || of_commit.into_iter().flatten().any(|id| ids.contains(id))
}
