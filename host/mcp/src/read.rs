//! Tools that are one operation of the HTTP interface.

use crate::arguments::Arguments;
use crate::bounded::{self, Next};
use crate::commands;
use crate::members::json;
use crate::outcome::{Failed, Outcome, ask};
use crate::{Host, Method, Request, explain, find, proofs};

/// Events, or other entries, of a page.
const PAGE: u64 = 20;
/// Entries of a tree.
const TREE: u64 = 50;

/// Calls a tool that reads.
pub async fn call(tool: &str, given: &Arguments, host: &dyn Host) -> Outcome {
    match tool {
        "find" => return find::find(given, host).await,
        "explain_event" => return explain::event(given, host).await,
        "explain_rejection" => return explain::rejection(given, host).await,
        "diff_state" => return explain::difference(given, host).await,
        "preflight" | "verify" | "verify_digests" => return proofs::call(tool, given, host).await,
        _ => {}
    }
    let request =
        request(tool, given).ok_or_else(|| Failed::new(format!("the tool {tool} does nothing")))?;
    let result = ask(host, request).await?;
    let is_backward = given.text("direction").as_deref() == Some("backward");
    Ok(match tool {
        "read_stream" => bounded::page(result, Next::Version { is_backward }),
        "read_log" => bounded::page(result, Next::Position),
        _ => result,
    })
}

fn request(tool: &str, given: &Arguments) -> Option<Request> {
    let limit = given.number("limit").unwrap_or(PAGE);
    let reading = |request: Request| {
        request
            .maybe("to", given.number("to"))
            .maybe("direction", given.text("direction"))
            .maybe("form", given.text("form"))
            .with("limit", limit)
    };
    Some(match tool {
        "status" => Request::get(&["v1", "status"]),
        "trace" => trace(&given.required("id"), given.number("limit").unwrap_or(TREE))
            .maybe("stream", given.text("stream"))
            .maybe("before", given.number("before")),
        "read_stream" => {
            let stream = given.required("stream");
            let events = Request::get(&["v1", "streams", &stream, "events"]);
            reading(events.maybe("from", given.number("from")))
        }
        "read_log" => {
            let mut log = Request::get(&["v1", "events"]).maybe("after", given.number("after"));
            for name in ["category", "type", "tag"] {
                for value in given.texts(name) {
                    log = log.with(name, value);
                }
            }
            reading(log.maybe("prefix", given.text("prefix")))
        }
        "rejections" => Request::get(&["v1", "rejections"])
            .maybe("category", given.text("category"))
            .maybe("stream", given.text("stream"))
            .maybe("before", given.number("before"))
            .with("limit", limit),
        "state_at" => {
            let at = (given.number("version"), given.text("time"));
            state(&given.required("stream"), at.0, given.text("module")).maybe("at_time", at.1)
        }
        "types" => Request::get(&["v1", "types"]).maybe("category", given.text("category")),
        "documents" => documents(given, limit),
        "projections" => named("projections", given.text("name")),
        "deployments" => named("deployments", given.text("name")),
        "proposals" => match given.number("number") {
            Some(number) => Request::get(&["v1", "proposals", &number.to_string()]),
            None => Request::get(&["v1", "proposals"])
                .maybe("category", given.text("category"))
                .maybe("state", given.text("state"))
                .maybe("before", given.number("before"))
                .with("limit", limit),
        },
        "preview" => preview(given),
        _ => return None,
    })
}

fn preview(given: &Arguments) -> Request {
    let mut body = commands::body(&given.required("type"), given);
    if let Some(version) = given.number("schema_version") {
        body.set("schema_version", json(version));
    }
    Request {
        method: Method::Post,
        body: Some(body.into_raw().get().to_owned()),
        ..Request::get(&["v1", "streams", &given.required("stream"), "preview"])
    }
}

fn named(what: &str, name: Option<String>) -> Request {
    match name {
        Some(name) => Request::get(&["v1", what, &name]),
        None => Request::get(&["v1", what]),
    }
}

fn documents(given: &Arguments, limit: u64) -> Request {
    let projection = given.required("projection");
    if let Some(key) = given.text("key") {
        return Request::get(&["v1", "views", &projection, &key]);
    }
    let mut documents = Request::get(&["v1", "views", &projection]);
    for condition in given.texts("where") {
        documents = documents.with("where", condition);
    }
    documents
        .maybe("order", given.text("order"))
        .maybe("cursor", given.text("cursor"))
        .with("limit", limit)
}

/// Causes and consequences.
pub fn trace(id: &str, limit: u64) -> Request {
    Request::get(&["v1", "trace", id]).with("limit", limit)
}

/// The state of a stream.
pub fn state(stream: &str, version: Option<u64>, module: Option<String>) -> Request {
    Request::get(&["v1", "streams", stream, "state"])
        .maybe("at_version", version)
        .maybe("module", module)
}
