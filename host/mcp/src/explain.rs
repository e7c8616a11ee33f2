//! Tools that put several operations together.

use serde_json::value::RawValue;

use crate::arguments::Arguments;
use crate::bounded::{RESULT_BYTES_MAX, fit};
use crate::diff;
use crate::members::{Members, json};
use crate::outcome::{Failed, Outcome, ask};
use crate::{Host, Request, read};

/// Entries of the tree of an event.
const TREE: u64 = 30;
/// Pages of rejections that are searched for a command.
const PAGES_MAX: usize = 10;
/// Rejections of a page.
const PAGE: u64 = 100;

/// Explains an event: its command, its module, the states around it, its causes and consequences.
pub async fn event(given: &Arguments, host: &dyn Host) -> Outcome {
    let id = given.required("id");
    let tree = ask(host, read::trace(&id, TREE)).await?;
    let position = position(&tree).ok_or_else(|| {
        let why = format!("{id:?} is not the position or the id of an event; `trace` shows more");
        Failed::new(why)
    })?;
    let path = ["v1", "events", &position.to_string()];
    let event = ask(host, Request::get(&path)).await?;
    let parts = Members::of(&event).unwrap_or_default();
    let stream = parts.text("stream").unwrap_or_default();
    let version = parts.number("version").unwrap_or_default();
    let commit = parts.get("commit").and_then(Members::of);
    let digest = commit.and_then(|commit| commit.text("module"));
    let state = |version| read::state(&stream, Some(version), digest.clone());
    let (before, after) = (
        ask(host, state(version.saturating_sub(1))).await,
        ask(host, state(version)).await,
    );
    let mut result = Members::default();
    result.set("event", share(&event));
    if let Some(digest) = &digest {
        let module = ask(host, Request::get(&["v1", "modules", digest])).await;
        result.set("module", part(module.map(|it| about(&it))));
    }
    if let (Ok(before), Ok(after)) = (&before, &after) {
        let shown = |state: &RawValue| Members::of(state)?.get("state").map(ToOwned::to_owned);
        if let (Some(before), Some(after)) = (shown(before), shown(after)) {
            result.set("changes", share(&diff::changes(&before, &after)));
        }
    }
    result.set("state_before", part(before));
    result.set("state_after", part(after));
    result.set("trace", share(&tree));
    Ok(result.into_raw())
}

/// The position of the event that a tree is about.
fn position(tree: &RawValue) -> Option<u64> {
    let tree = Members::of(tree)?;
    let found_as = tree.text("found_as")?;
    if !matches!(&*found_as, "position" | "event") {
        return None;
    }
    let entries = tree.elements("entries")?;
    let mut entries = entries.iter().filter_map(|entry| Members::of(entry));
    let entry = entries.find(|it| it.get("is_match").map(RawValue::get) == Some("true"))?;
    entry.number("position")
}

/// Explains a rejection: the command, the module, the state that it met.
pub async fn rejection(given: &Arguments, host: &dyn Host) -> Outcome {
    let (number, id) = (given.number("number"), given.text("command_id"));
    let is_wanted = |rejection: &Members| match (number, &id) {
        (Some(number), _) => rejection.number("id") == Some(number),
        (None, Some(id)) => rejection.text("command_id").as_ref() == Some(id),
        (None, None) => false,
    };
    if number.is_none() && id.is_none() {
        return Err(Failed::new("give number or command_id"));
    }
    let mut before = number.and_then(|number| number.checked_add(1));
    let limit = if number.is_some() { 1 } else { PAGE };
    for _ in 0..PAGES_MAX {
        let page = Request::get(&["v1", "rejections"])
            .maybe("category", given.text("category"))
            .maybe("before", before)
            .with("limit", limit);
        let page = Members::of(&ask(host, page).await?).unwrap_or_default();
        for rejection in page.elements("rejections").unwrap_or_default() {
            if Members::of(&rejection).is_some_and(|it| is_wanted(&it)) {
                return Ok(explained(rejection, host).await);
            }
        }
        before = page.number("next");
        if before.is_none() || number.is_some() {
            break;
        }
    }
    let what = match (number, id) {
        (Some(number), _) => format!("no rejection {number} is stored"),
        (None, id) => format!(
            "no stored rejection has the command id {:?} among the last {}; name its category",
            id.unwrap_or_default(),
            PAGES_MAX as u64 * PAGE
        ),
    };
    Err(Failed::new(what))
}

async fn explained(rejection: Box<RawValue>, host: &dyn Host) -> Box<RawValue> {
    let parts = Members::of(&rejection).unwrap_or_default();
    let stream = parts.text("stream").unwrap_or_default();
    let digest = parts.text("module");
    let met = read::state(&stream, parts.number("version"), digest.clone());
    let mut result = Members::default();
    result.set("rejection", share(&rejection));
    result.set("state_met", part(ask(host, met).await));
    if let Some(digest) = digest {
        let module = ask(host, Request::get(&["v1", "modules", &digest])).await;
        result.set("module", part(module.map(|it| about(&it))));
    }
    result.into_raw()
}

/// Compares two states.
pub async fn difference(given: &Arguments, host: &dyn Host) -> Outcome {
    let stream = given.required("stream");
    let mut states = Vec::new();
    let mut result = Members::default();
    result.set("stream", json(stream.as_str()));
    for (name, version, module) in [
        ("from", "from_version", "from_module"),
        ("to", "to_version", "to_module"),
    ] {
        let at = given.number(version);
        let answer = ask(host, read::state(&stream, at, given.text(module))).await?;
        let mut shown = Members::of(&answer).unwrap_or_default();
        let state = shown.get("state").map(ToOwned::to_owned);
        states.push(state.ok_or_else(|| Failed::new("the host showed no state"))?);
        shown
            .0
            .retain(|(name, _)| name == "version" || name == "module");
        result.set(name, shown.into_raw());
    }
    result.set("changes", diff::changes(&states[0], &states[1]));
    Ok(result.into_raw())
}

/// The name and the version of a module.
fn about(module: &RawValue) -> Box<RawValue> {
    let mut module = Members::of(module).unwrap_or_default();
    let shown = ["digest", "name", "version"];
    module.0.retain(|(name, _)| shown.contains(&&**name));
    module.into_raw()
}

/// A part of a result, or why it is missing.
fn part(outcome: Outcome) -> Box<RawValue> {
    match outcome {
        Ok(value) => share(&value),
        Err(failed) => failed.note(),
    }
}

/// A part takes at most a fifth of a result.
fn share(value: &RawValue) -> Box<RawValue> {
    fit(value, RESULT_BYTES_MAX / 5)
}
