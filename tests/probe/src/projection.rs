#![allow(missing_docs, clippy::all)]

use serde::Deserialize;
use serde_json::{Value, json};

use crate::guest::exports::quipu::domain::projection as wit;
use crate::guest::quipu::domain::types;
use crate::guest::{Probe, breaks, config, turn};

#[derive(Deserialize)]
#[serde(default)]
pub struct Projection {
    name: String,
    version: u32,
    sources: Vec<Source>,
    tags: bool,
    annotations: bool,
    indexes: Vec<Index>,
    /// "stream", "one", "body".
    keys: String,
    /// "", "fail", "heal", "spell-otherwise".
    does: String,
}

impl Default for Projection {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: 1,
            sources: Vec::new(),
            tags: false,
            annotations: false,
            indexes: Vec::new(),
            keys: "stream".to_owned(),
            does: String::new(),
        }
    }
}

#[derive(Deserialize)]
struct Source {
    category: String,
    #[serde(default)]
    events: Vec<(String, u32)>,
}

#[derive(Deserialize)]
struct Index {
    name: String,
    pointer: String,
    kind: String,
}

impl Projection {
    fn named(name: &str) -> Result<&'static Projection, types::FoldError> {
        let mut known = config().projections.iter();
        let unknown = || types::FoldError::Internal(format!("no projection {name}"));
        known.find(|known| known.name == name).ok_or_else(unknown)
    }

    fn definition(&self) -> wit::Definition {
        let mut detail = types::Detail::empty();
        if self.tags {
            detail = detail | types::Detail::TAGS;
        }
        if self.annotations {
            detail = detail | types::Detail::ANNOTATIONS;
        }
        let source = |source: &Source| wit::Source {
            category: source.category.clone(),
            events: source.events.clone(),
        };
        let index = |index: &Index| wit::Index {
            name: index.name.clone(),
            pointer: index.pointer.clone(),
            kind: match index.kind.as_str() {
                "text" => wit::Kind::Text,
                "integer" => wit::Kind::Integer,
                "number" => wit::Kind::Number,
                _ => wit::Kind::Boolean,
            },
        };
        wit::Definition {
            name: self.name.clone(),
            version: self.version,
            sources: self.sources.iter().map(source).collect(),
            detail,
            indexes: self.indexes.iter().map(index).collect(),
        }
    }

    fn keys_of(&self, event: &types::Recorded) -> Result<Vec<String>, types::FoldError> {
        let body = body(event)?;
        if self.does != "heal" {
            fail(&body["bad"]["keys"], event)?;
        }
        Ok(match self.keys.as_str() {
            "one" => vec!["all".to_owned()],
            "body" => {
                let keys = body["keys"].as_array().into_iter().flatten();
                let keys = keys.filter_map(Value::as_str);
                keys.map(str::to_owned).collect()
            }
            _ => vec![event.stream.clone()],
        })
    }

    fn fold(
        &self,
        key: &str,
        document: Option<String>,
        event: &types::Recorded,
    ) -> Result<Option<String>, types::FoldError> {
        let body = body(event)?;
        if self.does == "fail" {
            return Err(types::FoldError::Internal("it always fails".to_owned()));
        }
        let bad = &body["bad"];
        if self.does != "heal" && bad["key"].as_str().is_none_or(|it| it == key) {
            fail(&bad["apply"], event)?;
        }
        if bad["apply"] == "not-json" && self.does != "heal" {
            return Ok(Some("{".to_owned()));
        }
        if body["delete"] == true {
            return Ok(None);
        }
        let mut next = self.next(document.as_deref(), event, &body);
        if let Some(bytes) = body["large"].as_u64().filter(|_| self.does != "heal") {
            next["pad"] = "".into();
            let len = next.to_string().len();
            next["pad"] = "x".repeat((bytes as usize).saturating_sub(len)).into();
        }
        let document = next.to_string();
        Ok(Some(match self.does.as_str() {
            "spell-otherwise" => document.replace("\"count\":1,", " \"\\u0063ount\" : 10e-1 ,"),
            _ => document,
        }))
    }

    fn next(&self, document: Option<&str>, event: &types::Recorded, body: &Value) -> Value {
        let old: Value = document.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        let mut seen = old["seen"].as_array().cloned().unwrap_or_default();
        let (name, version, part) = (&event.event.type_, event.event.schema_version, event.part);
        seen.push(format!("{name}@{version} {part} {}", text(event)).into());
        let from = seen.len().saturating_sub(20);
        let mut next = json!({
            "count": old["count"].as_u64().unwrap_or(0) + 1,
            "sum": old["sum"].as_i64().unwrap_or(0) + body["n"].as_i64().unwrap_or(0),
            "last": event.position,
            "seen": seen[from..],
            "status": if body["status"].is_null() { &old["status"] } else { &body["status"] },
        });
        if !old["pad"].is_null() {
            next["pad"] = old["pad"].clone();
        }
        if let Some(len) = body["list"].as_u64() {
            next["list"] = (0..len).collect();
        }
        if self.tags {
            next["tags"] = event.tags.iter().cloned().collect();
        }
        if breaks("document-schemas") {
            next["last"] = "late".into();
        }
        if breaks("pure-documents") {
            next["turn"] = turn().into();
        }
        if self.annotations {
            next["annotations"] = event.annotations.iter().cloned().collect();
        }
        next
    }
}

fn text(event: &types::Recorded) -> &str {
    match &event.event.body {
        types::Body::Json(text) => text,
        types::Body::Binary(_) => "",
    }
}

/// The body before the probe's own steps lifted it.
fn body(event: &types::Recorded) -> Result<Value, types::FoldError> {
    let mut body: Value = serde_json::from_str(text(event))
        .map_err(|error| types::FoldError::BadEvent(error.to_string()))?;
    while let Value::Array(parts) = &mut body {
        if parts.is_empty() {
            break;
        }
        body = parts.swap_remove(0);
    }
    Ok(body)
}

fn fail(how: &Value, event: &types::Recorded) -> Result<(), types::FoldError> {
    let body = text(event);
    match how.as_str() {
        Some("trap") => panic!("it can't take {body}"),
        Some("bad-event") => Err(types::FoldError::BadEvent(body.to_owned())),
        Some("unknown-event") => Err(types::FoldError::UnknownEvent(body.to_owned())),
        Some("internal") => Err(types::FoldError::Internal(body.to_owned())),
        Some("loop") => loop {
            std::hint::black_box(body);
        },
        _ => Ok(()),
    }
}

fn is_too_few(event: &types::Recorded, call: &str) -> bool {
    body(event).is_ok_and(|body| body["bad"][call] == "too-few")
}

impl wit::Guest for Probe {
    fn define() -> Vec<wit::Definition> {
        let projections = config().projections.iter();
        projections.map(Projection::definition).collect()
    }

    fn keys(
        projection: String,
        events: Vec<types::Recorded>,
    ) -> Result<Vec<Vec<String>>, types::FoldError> {
        let projection = Projection::named(&projection)?;
        let mut keys = Vec::new();
        for event in &events {
            if event.position != 0 {
                return Err(types::FoldError::Internal("a position".to_owned()));
            }
            if !is_too_few(event, "keys") {
                keys.push(projection.keys_of(event)?);
            }
        }
        Ok(keys)
    }

    fn apply(
        projection: String,
        work: Vec<wit::Work>,
    ) -> Result<Vec<Option<String>>, types::FoldError> {
        let projection = Projection::named(&projection)?;
        let mut documents = Vec::new();
        for work in work {
            let mut document = work.document;
            if breaks("documents") {
                document = Some(json!({"count": turn(), "seen": []}).to_string());
            }
            for event in &work.events {
                document = projection.fold(&work.key, document, event)?;
            }
            if !work.events.iter().any(|event| is_too_few(event, "apply")) {
                documents.push(document);
            }
        }
        Ok(documents)
    }
}
