use std::io::{self, Write};

use anyhow::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Role;
use crate::cli::Client;
use crate::cli::events::PAGE;
use crate::cli::execute::one_lined;
use crate::cli::table::Table;
use crate::http::SetAsideView;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: Option<String>,
}

/// Lists events that wait (`parked`) or were left out (`skipped`), page by page.
pub async fn list(
    client: &Client,
    name: &str,
    which: &str,
    build: Option<Role>,
    json: bool,
) -> Result<()> {
    let mut cursor: Option<String> = None;
    let mut is_first = true;
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(build.map(|role| ("build", role.as_str().to_owned())));
        query.extend(cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        let path = ["v1", "projections", name, which];
        let request = client.request(Method::GET, &path).query(&query);
        let body = client.send(request).await?.bytes().await?;
        let page: Page<'_> = serde_json::from_slice(&body)?;
        if is_first && page.events.is_empty() && !json {
            return Ok(writeln!(io::stdout(), "no event of {name} is {which}")?);
        }
        print(&page.events, is_first, json)?;
        is_first = false;
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn print(events: &[&RawValue], with_headings: bool, json: bool) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        for event in events {
            writeln!(out, "{}", one_lined(event.get()))?;
        }
        return Ok(out.flush()?);
    }
    let mut table = match with_headings {
        true => Table::new(&["for", "position", "since", "tried", "why"]),
        false => Table::bare(),
    };
    for event in events {
        table.row(row(serde_json::from_str(event.get())?));
    }
    table.write(&mut out)?;
    Ok(out.flush()?)
}

fn row(event: SetAsideView) -> [String; 5] {
    let subject = match (event.document, event.stream) {
        (Some(key), _) => format!("document {key}"),
        (None, stream) => format!("stream {}", stream.unwrap_or_default()),
    };
    let why = match (event.error, event.reason) {
        (Some(error), Some(reason)) => format!("{reason}: {error}"),
        (Some(why), None) | (None, Some(why)) => why,
        (None, None) => "waits behind the one before".to_owned(),
    };
    [
        one_lined(&subject),
        event.position.to_string(),
        event.at,
        event.attempts.to_string(),
        one_lined(&why),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_for_what_an_event_waits_and_why() {
        let row = |event| row(serde_json::from_value(event).unwrap()).join("|");
        let first =
            json!({"document": "a", "position": 7, "at": "t", "error": "x\ny", "attempts": 3});
        assert_eq!(row(first), "document a|7|t|3|x y");
        let behind = json!({"stream": "s-1", "position": 8, "at": "t", "attempts": 0});
        assert_eq!(row(behind), "stream s-1|8|t|0|waits behind the one before");
        let dropped = json!({
            "document": "a", "position": 7, "at": "t", "error": "x", "attempts": 3, "reason": "old",
        });
        assert_eq!(row(dropped), "document a|7|t|3|old: x");
    }
}
