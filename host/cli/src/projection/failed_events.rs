use std::io::{self, Write};

use anyhow::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Role;
use crate::Client;
use crate::events::PAGE;
use crate::execute::one_lined;
use crate::table::{Table, id, number, text, time};
use quipu_api::FailedEventView;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: Option<String>,
}

/// The list to print.
pub struct ListQuery {
    /// `parked` or `skipped`.
    pub which: &'static str,
    pub build: Option<Role>,
    /// Parameters of the query.
    pub filter: Vec<(&'static str, String)>,
    /// A single event, whose content is printed, too.
    pub position: Option<u64>,
    pub json: bool,
}

/// Lists `parked` or `skipped` events, page by page.
pub async fn list(client: &Client, name: &str, options: &ListQuery) -> Result<()> {
    let (which, json) = (options.which, options.json);
    let mut cursor: Option<String> = None;
    let mut table = Table::new(&[
        id("for"),
        number("position"),
        time("since"),
        number("tried"),
        text("why"),
    ]);
    let mut is_first = true;
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(
            options
                .build
                .map(|role| ("build", role.as_str().to_owned())),
        );
        query.extend(options.filter.iter().cloned());
        query.extend(cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        let path = ["v1", "projections", name, which];
        let request = client.request(Method::GET, &path).query(&query);
        let body = client.send(request).await?.bytes().await?;
        let page: Page<'_> = serde_json::from_slice(&body)?;
        if is_first && page.events.is_empty() && !json {
            let such = if options.filter.is_empty() {
                ""
            } else {
                "such "
            };
            return Ok(writeln!(
                io::stdout(),
                "no {such}event of {name} is {which}"
            )?);
        }
        if let (Some(position), [parked]) = (options.position, &page.events[..]) {
            return one(client, parked, (position, json), &mut table).await;
        }
        print(&page.events, &mut table, json)?;
        is_first = false;
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// The type and data of an event, as it is stored.
#[derive(Deserialize)]
struct Stored<'a> {
    r#type: String,
    schema_version: u32,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// Prints one parked event and its content.
async fn one(
    client: &Client,
    parked: &RawValue,
    (position, json): (u64, bool),
    table: &mut Table,
) -> Result<()> {
    let position = position.to_string();
    let path = ["v1", "events", &position];
    let body = client.send(client.request(Method::GET, &path)).await?;
    let body = body.text().await?;
    if json {
        let parked = one_lined(parked.get());
        let parked = parked.trim_end();
        let parked = parked.strip_suffix('}').unwrap_or(parked);
        return Ok(writeln!(
            io::stdout(),
            "{parked},\"event\":{}}}",
            one_lined(&body)
        )?);
    }
    print(&[parked], table, false)?;
    let event: Stored<'_> = serde_json::from_str(&body)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\n{} version {}",
        one_lined(&event.r#type),
        event.schema_version
    )?;
    match (event.data, event.data_base64) {
        (Some(data), _) => writeln!(out, "{}", data.get())?,
        (None, data) => writeln!(out, "{}", data.unwrap_or_default())?,
    }
    Ok(())
}

fn print(events: &[&RawValue], table: &mut Table, json: bool) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        for event in events {
            writeln!(out, "{}", one_lined(event.get()))?;
        }
        return Ok(out.flush()?);
    }
    for event in events {
        table.row(row(serde_json::from_str(event.get())?));
    }
    table.write(&mut out)?;
    Ok(out.flush()?)
}

fn row(event: FailedEventView) -> [String; 5] {
    let subject = match (event.document, event.stream) {
        (Some(key), _) => format!("document {key}"),
        (None, stream) => format!("stream {}", stream.unwrap_or_default()),
    };
    let why = match (event.error, event.reason) {
        (Some(error), Some(reason)) => format!("{reason}: {error}"),
        (Some(why), None) | (None, Some(why)) => why,
        (None, None) => "waits for the one before".to_owned(),
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
        let follower = json!({"stream": "s-1", "position": 8, "at": "t", "attempts": 0});
        assert_eq!(row(follower), "stream s-1|8|t|0|waits for the one before");
        let dropped = json!({
            "document": "a", "position": 7, "at": "t", "error": "x", "attempts": 3, "reason": "old",
        });
        assert_eq!(row(dropped), "document a|7|t|3|old: x");
    }
}
