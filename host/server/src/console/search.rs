//! One box for everything that has a name.

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::stream::may_find;
use super::text::{Untrusted, encoded};
use super::trace::Lookup;
use super::views::{StreamEvents, Streams};
use super::visitor::Visitor;
use crate::failure::Result;
use quipu::access::Action;
use quipu::model::StreamId;
use quipu_api::{ModuleList, ProjectionList, TypeList};

/// Streams that are listed.
const STREAMS: usize = 20;
/// Fewest digits of a digest that are searched for.
const DIGITS_MIN: usize = 4;

/// Names that match, with their addresses.
#[derive(Default)]
struct Matches {
    streams: Vec<String>,
    categories: Vec<String>,
    projections: Vec<String>,
    modules: Vec<(String, Option<String>)>,
}

pub async fn show(visitor: Visitor) -> Response {
    let Some(query) = visitor.text("q") else {
        return Redirect::to("/console").into_response();
    };
    if !query.is_empty() && query.bytes().all(|byte| byte.is_ascii_digit()) {
        return Redirect::to(&format!("/console/events/{query}")).into_response();
    }
    for name in streams_of(query) {
        if is_stream(&visitor, &name).await {
            return Redirect::to(&layout::stream_path(&name)).into_response();
        }
    }
    let matches = match visitor.may(Action::Read) {
        Ok(()) => Matches::of(&visitor, query).await,
        Err(_) => Ok(Matches::default()),
    };
    let matches = match matches {
        Ok(matches) => matches,
        Err(failure) => return visitor.page(Tab::None, "Search", Err(failure)),
    };
    if let Some(only) = matches.only() {
        return Redirect::to(&only).into_response();
    }
    let body = body(&visitor, query, &matches).await;
    visitor.page(Tab::None, "Search", body)
}

/// `category/key` is also understood.
fn streams_of(query: &str) -> Vec<String> {
    let mut names = vec![query.to_owned()];
    if let Some((category, key)) = query.split_once('/')
        && !category.contains('-')
    {
        names.push(format!("{category}-{key}"));
    }
    names
}

async fn is_stream(visitor: &Visitor, name: &str) -> bool {
    let Ok(stream) = StreamId::new(name) else {
        return false;
    };
    let path = format!("/v1/streams/{}/events?limit=1&form=stored", encoded(name));
    may_find(visitor, &stream) && visitor.get::<StreamEvents>(&path).await.is_ok()
}

async fn body(visitor: &Visitor, query: &str, matches: &Matches) -> Result<Markup> {
    // An id has no shortest length: callers choose those of commands and conversations.
    let found = match visitor.may(Action::Read) {
        Ok(()) => Some(Lookup::of(visitor, query, None).await?),
        Err(_) => None,
    };
    let nothing = matches.is_empty() && found.as_ref().is_none_or(Lookup::is_empty);
    Ok(html! {
        p { "Found for " code { (Untrusted(query)) } ":" }
        @if nothing { p { strong { "Nothing." } " A stream is found by its id or the beginning of it, an event by its position or id, a command or a conversation by its id, a module by the first digits of its digest." } }
        (matches.shown())
        @if let Some(found) = &found { h2 { "Events by id" } (found.shown(query)) }
    })
}

impl Matches {
    async fn of(visitor: &Visitor, query: &str) -> Result<Self> {
        let mut matches = Self::default();
        // The list begins after a name, so the shortest name with the prefix is asked for above.
        let path = format!(
            "/v1/streams?archived=with&limit={STREAMS}&after={}",
            encoded(query)
        );
        if StreamId::new(query).is_ok() {
            let page = visitor.get::<Streams>(&path).await?.into_value();
            let names = page.streams.into_iter().map(|it| it.stream);
            matches.streams = names.filter(|name| name.starts_with(query)).collect();
        }
        let types = visitor.get::<TypeList>("/v1/types").await?.into_value();
        for it in types.types {
            if it.category.starts_with(query) && !matches.categories.contains(&it.category) {
                matches.categories.push(it.category);
            }
        }
        let projections = visitor
            .get::<ProjectionList>("/v1/projections")
            .await?
            .into_value();
        let names = projections.projections.into_iter().map(|it| it.name);
        matches.projections = names.filter(|name| name.contains(query)).collect();
        let modules = visitor.get::<ModuleList>("/v1/modules").await?.into_value();
        let digits = query.to_ascii_lowercase();
        let is_digits = digits.len() >= DIGITS_MIN;
        for it in modules.modules {
            let is_named = it.name.as_deref().is_some_and(|name| name.contains(query));
            if is_named || (is_digits && it.digest.starts_with(&digits)) {
                matches.modules.push((it.digest, it.name));
            }
        }
        Ok(matches)
    }

    fn is_empty(&self) -> bool {
        self.streams.is_empty()
            && self.categories.is_empty()
            && self.projections.is_empty()
            && self.modules.is_empty()
    }

    /// The address of the only match.
    fn only(&self) -> Option<String> {
        match (
            &*self.streams,
            &*self.categories,
            &*self.projections,
            &*self.modules,
        ) {
            ([it], [], [], []) => Some(layout::stream_path(it)),
            ([], [], [it], []) => Some(layout::projection_path(it)),
            ([], [], [], [(digest, _)]) => Some(format!("/console/modules/{digest}")),
            _ => None,
        }
    }

    fn shown(&self) -> Markup {
        html! {
            @if !self.categories.is_empty() {
                h2 { "Categories" }
                ul { @for it in &self.categories { li { (layout::link(&format!("/console/streams?category={}", encoded(it)), it)) } } }
            }
            @if !self.streams.is_empty() {
                h2 { "Streams" }
                ul { @for it in &self.streams { li { (layout::stream(it)) } } }
                @if self.streams.len() == STREAMS { p.note { "There may be more." } }
            }
            @if !self.projections.is_empty() {
                h2 { "Projections" }
                ul { @for it in &self.projections { li { (layout::link(&layout::projection_path(it), it)) } } }
            }
            @if !self.modules.is_empty() {
                h2 { "Modules" }
                ul { @for (digest, name) in &self.modules { li { (layout::module(digest)) " " (Untrusted(name.as_deref().unwrap_or("never activated"))) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_found_by_category_and_key() {
        assert_eq!(streams_of("loan/7"), ["loan/7", "loan-7"]);
        assert_eq!(streams_of("loan-a/7"), ["loan-a/7"]);
        assert_eq!(streams_of("loan-7"), ["loan-7"]);
    }
}
