//! The last rejections and their codes.

use std::collections::BTreeMap;

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, Tab};
use super::text::{Untrusted, encoded, quoted};
use super::views::{self, Rejections};
use super::visitor::Visitor;
use crate::failure::Result;

pub async fn show(visitor: Visitor) -> Response {
    let list = list(&visitor).await;
    let body = html! {
        form.filters method="get" action="/console/rejections" {
            div { label for="category" { "Category" } input #category name="category" maxlength="200" value=[visitor.text("category")]; }
            div { label for="code" { "Code" } input #code name="code" maxlength="200" value=[visitor.text("code")]; }
            button type="submit" { "Show" }
        }
        (layout::part("Rejections are", list))
    };
    visitor.page(Tab::Rejections, "Rejections", Ok(body))
}

async fn list(visitor: &Visitor) -> Result<Markup> {
    let (category, code) = (visitor.text("category"), visitor.text("code"));
    let of_category = category.map_or_else(String::new, |it| format!("&category={}", encoded(it)));
    let before = visitor.number("before")?;
    let before = before.map_or_else(String::new, |it| format!("&before={it}"));
    let path = format!("/v1/rejections?limit=100{of_category}{before}");
    let page = visitor.get::<Rejections>(&path).await?;
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for rejection in &page.rejections {
        *codes.entry(&rejection.code).or_default() += 1;
    }
    let shown: Vec<_> = page
        .rejections
        .iter()
        .filter(|it| code.is_none_or(|code| it.code == code))
        .collect();
    let older = page.next.map(|next| {
        let code = code.map_or_else(String::new, |it| format!("&code={}", encoded(it)));
        (
            format!("/console/rejections?before={next}{of_category}{code}"),
            "Older rejections",
        )
    });
    let command = category.map_or_else(String::new, |it| format!(" {}", quoted(it)));
    Ok(html! {
        p.note { "Only the last rejections of each category are stored; " code { "rejections_max" } " in " code { "[engine]" } " says how many." }
        @if page.rejections.is_empty() { p { "No rejection is stored." } }
        @else {
            h2 { "By code, on this page" }
            ul.codes {
                @for (code, count) in &codes {
                    li { a href={ "/console/rejections?code=" (encoded(code)) (of_category) } { code { (Untrusted(code)) } } " " (count) }
                }
            }
            h2 { "Rejected commands" }
            (views::rejections(&shown))
        }
        (layout::pager(None, older))
        (layout::same_as(visitor, &format!("rejections{command}"), &path))
    })
}
