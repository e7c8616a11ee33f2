//! What a text names.

use crate::arguments::Arguments;
use crate::members::{Members, array, json, null};
use crate::outcome::{Failed, Outcome, ask};
use crate::{Host, Request, read};

/// Entries and streams that are shown.
const SHOWN: u64 = 20;

/// Looks for a text everywhere: as an id, as a stream, as a digest.
pub async fn find(given: &Arguments, host: &dyn Host) -> Outcome {
    let text = given.required("text");
    let text = text.trim();
    if text.is_empty() {
        return Err(Failed::new("text is empty"));
    }
    let mut found = Members::default();
    let (mut failed, mut is_found) = (Vec::new(), false);
    found.set("text", json(text));
    let parts = [
        ("trace", ask(host, read::trace(text, SHOWN)).await),
        ("streams", streams(text, host).await),
        ("module", module(text, host).await),
    ];
    for (name, outcome) in parts {
        match outcome {
            Ok(value) => {
                is_found |= !matches!(value.get(), "[]" | "null");
                found.set(name, value);
            }
            Err(nothing) if nothing.is_nothing() => found.set(name, null()),
            Err(other) => {
                found.set(name, other.note());
                failed.push(other);
            }
        }
    }
    match failed.pop() {
        // Nobody answered, or the caller may not ask.
        Some(failed) if !is_found => Err(failed),
        _ => Ok(found.into_raw()),
    }
}

/// The streams whose ids begin with a text.
async fn streams(text: &str, host: &dyn Host) -> Outcome {
    let category = text
        .split_once('-')
        .map(|(category, _)| category.to_owned());
    let mut request = Request::get(&["v1", "streams"])
        .with("archived", "with")
        .with("limit", SHOWN);
    request = match category {
        Some(category) => request
            .with("category", category)
            .maybe("after", before(text)),
        None => request.with("category", text),
    };
    let page = ask(host, request).await?;
    let streams = Members::of(&page).and_then(|page| page.elements("streams"));
    let mut streams = streams.unwrap_or_default();
    streams.retain(|stream| {
        let name = Members::of(stream).and_then(|stream| stream.text("stream"));
        name.is_some_and(|name| name.starts_with(text))
    });
    Ok(array(&streams))
}

/// An id that is before every stream that begins with a text, and after most others; none for a
/// text that ends with the `-` after the category.
fn before(text: &str) -> Option<String> {
    let (rest, last) = text.char_indices().next_back()?;
    let lower = char::from_u32((last as u32).checked_sub(1)?)?;
    let is_in_key = text[..rest].contains('-') && !lower.is_control();
    is_in_key.then(|| format!("{}{lower}\u{10ffff}", &text[..rest]))
}

async fn module(text: &str, host: &dyn Host) -> Outcome {
    let is_digest = (4..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit());
    if !is_digest {
        return Ok(null());
    }
    let module = ask(host, Request::get(&["v1", "modules", text])).await?;
    let Some(module) = Members::of(&module) else {
        return Ok(null());
    };
    let mut shown = Members::default();
    for name in ["digest", "name", "version", "world", "exports"] {
        if let Some(value) = module.get(name) {
            shown.set(name, value.to_owned());
        }
    }
    Ok(shown.into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_before_a_prefix_is_before_all_that_begin_with_it() {
        let before_7 = before("loan-7").unwrap();
        assert!(before_7.as_str() < "loan-7" && before_7.as_str() > "loan-69");
        assert_eq!(before("loan-"), None);
        assert_eq!(before("loan"), None);
        assert_eq!(before(""), None);
        // There is no character directly before it.
        assert_eq!(before("loan-\u{e000}"), None);
    }
}
