//! Random logs that contain everything a log can contain.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quipu::Host;
use quipu::engine::{Append, AppendAll, StreamAppend};
use quipu::model::{
    Body, Command, CommandId, ContentType, Context, Digest, EventId, ExpectedVersion, NewEvent,
    StreamId, Timestamp, Version,
};
use quipu::store::StoredSnapshot;
use quipu_tests::{Place, build, examples};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;

/// JSON that has to be preserved byte for byte.
const BODIES: &[&str] = &[
    "{}",
    "null",
    "{\"a\": 1.50, \"a\":  2}",
    " {\"white\":\"space\"}\t",
    "{\n  \"over\": [\n    \"lines\"\n  ]\r\n}",
    "\"\\u00e9 \\ud83d\\ude00 \u{2028} \\\\ \\\"\"",
    "123456789012345678901234567890.000",
    "\"quipu.end\"",
];
const STREAMS: &[&str] = &["note-1", "note-2", "a b-%2F/é?\"\\", "loanx-", "plain"];

/// A host with this number of random actions done.
pub async fn host(place: &Place, random: &mut StdRng, count: usize) -> Host {
    let host = place.bank().await;
    for number in 0..count {
        match random.random_range(0..20) {
            0..8 => decided(&host, random, number).await,
            8..14 => appended(&host, random).await,
            14..16 => appended_to_several(&host, random).await,
            16..19 => marked(&host, random).await,
            _ => _ = examples::deploy(&host, examples::account()).await,
        }
    }
    host
}

async fn decided(host: &Host, random: &mut StdRng, number: usize) {
    let account = build::stream(&format!("account-{}", random.random_range(1..4)));
    let command = match random.random_range(0..3) {
        0 => build::open_account(),
        1 => build::deposit(random.random_range(1..100)),
        _ => build::withdraw(random.random_range(1..100)),
    };
    let id = CommandId::new(&format!("command-{number}")).unwrap();
    let command = Command {
        id: random.random_bool(0.5).then_some(id),
        metadata: metadata(random).filter(|bytes| bytes.starts_with(b"{")),
        context: context(random),
        ..command
    };
    // A rejection is a valid answer, and so is an archived account.
    _ = host.execute(&account, command).await;
}

async fn appended(host: &Host, random: &mut StdRng) {
    let append = Append {
        events: events(random),
        id: random.random_bool(0.3).then(|| command_id(random)),
        context: context(random),
        ..Append::default()
    };
    _ = host.append(&any_stream(random), append).await;
}

async fn appended_to_several(host: &Host, random: &mut StdRng) {
    let part = |id: &&str, random: &mut StdRng| StreamAppend {
        stream: build::stream(id),
        expected_version: ExpectedVersion::Any,
        events: events(random),
    };
    let ids: Vec<_> = STREAMS.choose_multiple(random, 2).collect();
    let append = AppendAll {
        streams: ids.into_iter().map(|id| part(id, random)).collect(),
        id: random.random_bool(0.5).then(|| command_id(random)),
        context: context(random),
        into_owned_category: false,
    };
    _ = host.append_all(append).await;
}

async fn marked(host: &Host, random: &mut StdRng) {
    let stream = any_stream(random);
    _ = match random.random_bool(0.5) {
        true => host.archive(&stream, context(random)).await,
        false => host.restore(&stream, context(random)).await,
    };
}

fn any_stream(random: &mut StdRng) -> StreamId {
    build::stream(STREAMS.choose(random).unwrap())
}

fn events(random: &mut StdRng) -> Vec<NewEvent> {
    (0..random.random_range(1..4))
        .map(|_| event(random))
        .collect()
}

fn event(random: &mut StdRng) -> NewEvent {
    let name = ["noted", "quipu.end", "naïve \"name\""]
        .choose(random)
        .unwrap();
    let tags = ["colour:red", "a:\"b\", c", "é:\\"];
    let tags = tags.iter().filter(|_| random.random_bool(0.3));
    NewEvent {
        tags: tags.map(|tag| Arc::from(*tag)).collect(),
        id: EventId::from_u128(random.random()),
        id_is_callers: random.random_bool(0.5),
        schema_version: random.random_range(1..4),
        body: body(random),
        metadata: metadata(random),
        ..build::event(name, "{}")
    }
}

fn body(random: &mut StdRng) -> Body {
    if random.random_bool(0.6) {
        return Body::json(*BODIES.choose(random).unwrap()).unwrap();
    }
    let name = ["application/x-thing", "text/plain; charset=\"x\""].choose(random);
    let bytes: Vec<u8> = (0..random.random_range(0..40))
        .map(|_| random.random())
        .collect();
    Body::new(ContentType::new(name.unwrap()).unwrap(), bytes).unwrap()
}

fn metadata(random: &mut StdRng) -> Option<Bytes> {
    let all: [&[u8]; 5] = [
        b"{}",
        b"{\"at\": \"2011\"}",
        b"{\n\"line\":\"break\"\n}",
        b"[1]",
        b"\xff\n",
    ];
    let one = all.choose(random).unwrap();
    random.random_bool(0.5).then(|| Bytes::from_static(one))
}

fn context(random: &mut StdRng) -> Context {
    let mut some = |text: &str| random.random_bool(0.3).then(|| Arc::from(text));
    Context {
        correlation_id: some("corr\"elation"),
        causation_id: some("causation"),
        principal: some("ann é"),
        traceparent: some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    }
}

fn command_id(random: &mut StdRng) -> CommandId {
    CommandId::new(&format!("append \"{}\"", random.random::<u32>())).unwrap()
}

/// The same file, with some streams truncated and some events dropped.
pub fn with_marks(file: &[u8], random: &mut StdRng) -> Vec<u8> {
    let text = crate::text(file);
    let mut versions = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(stream) = line["stream"].as_str() {
            versions.insert(stream.to_owned(), line["version"].as_u64().unwrap());
        }
    }
    let mut anchors = Vec::new();
    for (stream, version) in versions {
        if anchors.is_empty() || random.random_bool(0.5) {
            let before = random.random_range(1..=version);
            let at = random.random_range(before..=version);
            anchors.push(anchor_line(&stream, before, at, &body(random)));
        }
    }
    let file = crate::with_anchor_lines(text, &anchors);
    with_dropped(file.as_bytes(), random)
}

/// The same file, with some events dropped from projections.
fn with_dropped(file: &[u8], random: &mut StdRng) -> Vec<u8> {
    let text = crate::text(file);
    let positions: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|line| line["position"].as_u64())
        .collect();
    let mut dropped = Vec::new();
    for projection in ["a.b", "notes"] {
        for position in &positions {
            if dropped.is_empty() || random.random_bool(0.1) {
                let kind = ["document", "stream"][random.random_range(0..2)];
                let subject = STREAMS.choose(random).unwrap();
                dropped.push(dropped_line(projection, *position, (kind, subject)));
            }
        }
    }
    let count = dropped.len();
    let log = text.find("{\"specversion\":\"1.0\",\"id\":\"quipu.commit.");
    let (before, log) = text.split_at(log.unwrap());
    let log = log.replace("\"dropped\":0,", &format!("\"dropped\":{count},"));
    format!("{before}{}\n{log}", dropped.join("\n")).into_bytes()
}

/// The line of a dropped event.
fn dropped_line(projection: &str, position: u64, (kind, subject): (&str, &str)) -> String {
    let quoted = |text: String| Value::from(text).to_string();
    format!(
        "{{\"specversion\":\"1.0\",\"id\":{},\"source\":\"/v1/export\",\
         \"type\":\"quipu.dropped\",\"time\":\"1970-01-01T00:00:05.000000Z\",\
         \"datacontenttype\":\"application/json\",\"data\":{{\"projection\":\"{projection}\",\
         \"position\":{position},\"{kind}\":{},\"reason\":\"no \\\"use\\\"\"}}}}",
        quoted(format!(
            "quipu.dropped.{position}.{kind}.{projection}/{subject}"
        )),
        quoted((*subject).to_owned()),
    )
}

/// The line of a truncated stream.
pub fn anchor_line(of: &str, before: u64, at: u64, state: &Body) -> String {
    let stream = build::stream(of);
    let (fold, at) = (Digest([7; 32]), Version(at));
    let taken = StoredSnapshot::new(&stream, at, 2, state, fold, Timestamp(5_000_000));
    let bare = |json: &&str| !json.contains(['\n', '\r']) && json.trim() == *json;
    let state = match state.as_json().filter(bare) {
        Some(json) => format!("\"data\":{json}"),
        None => format!("\"data_base64\":\"{}\"", base64(state.bytes())),
    };
    let quoted = |text: String| Value::from(text).to_string();
    format!(
        "{{\"specversion\":\"1.0\",\"id\":{},\"source\":\"/v1/export\",\"type\":\"quipu.anchor\",\
         \"subject\":{},\"time\":\"1970-01-01T00:00:05.000000Z\",\
         \"datacontenttype\":\"application/json\",\"data\":{{\"before\":{before},\
         \"version\":{at},\"state_schema_version\":2,\"fold\":\"{fold}\",\"checksum\":\"{}\",\
         \"content_type\":{},{state}}}}}",
        quoted(format!("quipu.anchor.{of}")),
        quoted(of.to_owned()),
        Digest(taken.checksum),
        quoted(taken.content_type),
    )
}

/// Bytes in base64, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let sextet = (bits >> (18 - 6 * digit)) & 63;
            text.push(match digit <= chunk.len() {
                true => char::from(DIGITS[sextet as usize]),
                false => '=',
            });
        }
    }
    text
}
