//! Backups, configuration, tokens, tenants and the audit.

use axum::response::Response;
use maud::{Markup, html};

use super::backups;
use super::layout::{self, Tab};
use super::text::Untrusted;
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use quipu::access::Action;
use quipu_api::{AuditList, Code, TenantList, TokenList, TokenView};

/// Records of one page.
const RECORDS: u64 = 100;

pub async fn show(visitor: Visitor) -> Response {
    let of_admins = match visitor.may(Action::Admin) {
        Ok(()) => html! {
            h2 { "Audit" }
            p { a href="/console/audit" { "Who changed what" } }
            h2 { "Configuration" }
            (configuration(&visitor))
            h2 { "Tokens" }
            (layout::part("Tokens are", tokens(&visitor).await))
            h2 { "Tenants" }
            (layout::part("Tenants are", tenants(&visitor).await))
        },
        Err(why) => layout::hidden("Configuration, tokens, tenants and audit are", &why),
    };
    let body = html! { (backups::show(&visitor).await) (of_admins) };
    visitor.page(Tab::Operations, "Operations", Ok(body))
}

fn configuration(visitor: &Visitor) -> Markup {
    let settings = &visitor.app.options.console.settings;
    let rows = html! {
        @for it in settings.iter() {
            tr {
                td { code { (Untrusted(&it.key)) } }
                td.wide { (layout::or_dash(it.value.as_ref().map(|it| html! { code { (Untrusted(it)) } }))) }
                td { (Untrusted(&it.source)) }
            }
        }
    };
    html! {
        @if settings.is_empty() { p.note { "The program that contains this host does not say." } }
        @else {
            p.note { "As the host was started with it. Secrets are not shown. The command prints the same of the file and the environment at the host; there is no request for it." }
            (layout::table("Configuration", &["Key", "Value", "Source"], &rows))
            (layout::same_as_lines(&["quipu config --sources".to_owned()]))
        }
    }
}

async fn tokens(visitor: &Visitor) -> Result<Markup> {
    let list = visitor.get::<TokenList>("/v1/tokens").await?;
    let state = |it: &TokenView| match (&it.revoked_at, &it.expires_at) {
        (Some(at), _) => html! { "revoked at " (layout::time(at)) },
        (None, Some(at)) => html! { "expires at " (layout::time(at)) },
        (None, None) => html! { "valid" },
    };
    let rows = html! {
        @for it in &list.tokens {
            tr {
                td { (Untrusted(&it.name)) }
                td { (Untrusted(&it.grant.role)) }
                td { (Untrusted(&it.grant.categories.join(", "))) " " (Untrusted(&it.grant.projections.join(", "))) }
                td { (layout::time(&it.created_at)) @if let Some(by) = &it.created_by { " by " (Untrusted(by)) } }
                td { (layout::or_dash(it.used_at.as_deref().map(layout::time))) }
                td { (state(it)) }
            }
        }
    };
    Ok(html! {
        @if list.tokens.is_empty() { p { "There are no tokens, so everybody who reaches the host may do everything. The first one closes it: " code { "quipu token create NAME --role admin" } } }
        @else { (layout::table("Tokens", &["Name", "Role", "Only", "Made at", "Last used at", "State"], &rows)) }
        (layout::same_as(visitor, "token list", "/v1/tokens"))
    })
}

async fn tenants(visitor: &Visitor) -> Result<Markup> {
    let list = visitor.get::<TenantList>("/v1/tenants").await?;
    let rows = html! {
        @for it in &list.tenants {
            tr {
                td { (Untrusted(&it.name)) }
                td { (layout::time(&it.created_at)) @if let Some(by) = &it.created_by { " by " (Untrusted(by)) } }
                td { @match &it.suspended_at { Some(at) => { "suspended at " (layout::time(at)) }, None => "served" } }
                td { (if it.is_open { "open" } else { "closed" }) }
            }
        }
    };
    Ok(html! {
        @if list.tenants.is_empty() { p.note { "There are no tenants." } }
        @else { (layout::table("Tenants", &["Tenant", "Created at", "State", "Store"], &rows)) }
        (layout::same_as(visitor, "tenant list", "/v1/tenants"))
    })
}

pub async fn audit(visitor: Visitor) -> Response {
    let body = records(&visitor).await;
    visitor.page(Tab::Operations, "Audit", body)
}

async fn records(visitor: &Visitor) -> Result<Markup> {
    visitor
        .may(Action::Admin)
        .map_err(|why| Failure::new(Code::Forbidden, why))?;
    // The newest page: the interface lists records from the first one on.
    let last = visitor.app.host.audit().last().await?;
    let until = visitor.number("until")?.unwrap_or(last).min(last);
    let after = until.saturating_sub(RECORDS);
    let limit = (until - after).max(1);
    let path = format!("/v1/audit?after={after}&limit={limit}");
    let page = visitor.get::<AuditList>(&path).await?;
    let newer = (until < last).then(|| ("/console/audit".to_owned(), "Newest records"));
    let older = (after > 0).then(|| (format!("/console/audit?until={after}"), "Older records"));
    let rows = html! {
        @for it in page.records.iter().rev() {
            tr {
                td.number { (it.number) }
                td { (layout::time(&it.at)) }
                td { (layout::or_dash(it.principal.as_deref().map(Untrusted))) }
                td { (layout::or_dash(it.origin.as_deref().map(Untrusted))) }
                td { (Untrusted(&it.operation)) }
                td.wide { (Untrusted(&it.object)) }
                td { (Untrusted(&it.result)) }
                td { (layout::or_dash(it.reason.as_deref().map(Untrusted))) }
            }
        }
    };
    let columns = [
        "Number",
        "At",
        "By",
        "From",
        "Operation",
        "Object",
        "Result",
        "Reason",
    ];
    Ok(html! {
        @if page.records.is_empty() { p.note { "There is no record." } }
        @else { (layout::table("Audit", &columns, &rows)) }
        (layout::pager(newer, older))
        p { "Check the chain of digests: " code { "quipu audit --verify" } }
        (layout::same_as(visitor, "audit", &path))
    })
}
