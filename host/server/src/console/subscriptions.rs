//! Named subscriptions: how far they are, and whether somebody handles their events.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::overview::seconds;
use super::text::{Untrusted, encoded};
use super::visitor::Visitor;
use crate::failure::Result;
use quipu::access::Action;
use quipu_api::NamedList;

/// The address of the page.
pub const PATH: &str = "/console/subscriptions";
/// Subscriptions of one page.
const SUBSCRIPTIONS: usize = 100;

pub async fn list(visitor: Visitor) -> Response {
    let body = all(&visitor).await;
    visitor.page(Tab::Subscriptions, "Subscriptions", body)
}

async fn all(visitor: &Visitor) -> Result<Markup> {
    let after = visitor.text("after");
    let after = after.map_or_else(String::new, |it| format!("&after={}", encoded(it)));
    let path = format!("/v1/subscriptions?limit={SUBSCRIPTIONS}{after}");
    let page = visitor.get::<NamedList>(&path).await?;
    let figures = match visitor.may(Action::Observe) {
        Ok(()) => visitor.app.sampler.sample(&visitor.app.host).await.figures,
        Err(_) => None,
    };
    let age = |name: &str| -> Option<Duration> {
        let named = &figures.as_ref()?.subscriptions;
        named.iter().find(|it| it.name == name)?.age
    };
    let rows = html! {
        @for it in &page.subscriptions {
            tr {
                td.name { (Untrusted(&it.name)) }
                td.number { (it.position) }
                td.number { (page.head.saturating_sub(it.position)) }
                td.number { (layout::or_dash(age(&it.name).map(|age| seconds(age.as_secs_f64())))) }
                td { (holder(it.held_ms)) }
            }
        }
    };
    let columns = [
        "Name",
        "Handled up to",
        "Lag in positions",
        "Lag in time",
        "Holder",
    ];
    let next = page.next.as_ref().map(|after| {
        let path = format!("{PATH}?after={}", encoded(after));
        (path, "Next page")
    });
    Ok(html! {
        @if page.subscriptions.is_empty() { p.note { "There are no named subscriptions." } }
        @else {
            (layout::table("Subscriptions", &columns, &rows))
            p.note { "A client holds a name with a lease, which it renews. The time is how long the oldest event that is not handled has waited. " code { "quipu subscription NAME" } " moves a name that nobody holds, or deletes it." }
        }
        (layout::pager(None, next))
        (layout::same_as(visitor, "subscriptions", &path))
    })
}

/// Whether a client holds a name.
fn holder(held_ms: Option<u64>) -> Markup {
    html! {
        @match held_ms {
            Some(left_ms) => { "a client, for " (seconds(Duration::from_millis(left_ms).as_secs_f64())) " more" }
            None => span.none { "nobody" },
        }
    }
}
