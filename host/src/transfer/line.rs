//! A line of the file: a CloudEvent in its JSON format.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::model::{Body, ContentType, Invalid, Settings, StreamId};
use crate::store::PreflightSummary;

/// A result whose error describes what is wrong with a line.
pub type Result<T> = std::result::Result<T, Invalid>;

/// Number of the file format. A change that an older program can't read gets the next number.
pub const FORMAT: u64 = 6;
/// The oldest format that can still be read. It lacks dropped events, anchors, signatures and the
/// digests of commits, and of activations the changed categories, trusted folds, preflight, aliases and other components.
pub const FORMAT_OLDEST: u64 = 1;

/// Version of CloudEvents.
pub const SPEC: &str = "1.0";
/// Source of the lines that are not events of a stream.
pub const SOURCE: &str = "/v1/export";
/// Prefix of the source of a stream's events. The stream id follows it.
const STREAMS: &str = "/v1/streams/";

/// Type of the first line.
pub const BEGIN: &str = "quipu.export";
/// Type of a line with a component.
pub const MODULE: &str = "quipu.module";
/// Type of a line with an activation.
pub const PLAN: &str = "quipu.plan";
/// Type of a line with an event that an operator dropped from a projection.
pub const DROPPED: &str = "quipu.dropped";
/// Type of the line before a commit's events.
pub const COMMIT: &str = "quipu.commit";
/// Type of a line with the mark of an archived stream.
pub const STREAM: &str = "quipu.stream";
/// Type of a line with the mark and the anchor of a truncated stream.
pub const ANCHOR: &str = "quipu.anchor";
/// Type of the last line.
pub const END: &str = "quipu.end";
/// The last line of an export that ended because the store is damaged.
pub const FAILED: &str = "quipu.failed";

/// Content type of a component.
pub const WASM: &str = "application/wasm";

/// All attributes that a line may have. Those from `stream` on are CloudEvents extensions.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    #[serde(borrow)]
    pub specversion: Cow<'a, str>,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schemaversion: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitoffset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idgiven: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub metadatabase64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub data: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Cow<'a, str>>,
}

/// The data of the first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginData<'a> {
    pub format: u64,
    pub after: u64,
    /// Id of the event at `after`. `None` if `after` is 0.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub after_id: Option<Cow<'a, str>>,
    pub head: u64,
}

/// The data of an activation. The time is an attribute of the line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanData<'a> {
    pub plan: u64,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub module: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub activated_by: Option<Cow<'a, str>>,
    /// Absent in the oldest format. The component's name is then the only category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
    /// Settings of projections.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub projections: BTreeMap<String, Settings>,
    /// The owner of each projection that several components define.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, String>,
    /// The other components of the release, by name: a module, or null if nothing is active under
    /// the name any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, Option<String>>,
    /// By category, names of event types that mean the same: an alias, and the name for which a
    /// decider declared it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<BTreeMap<String, BTreeSet<(String, String)>>>,
    /// Summary of the preflight before the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightSummary>,
}

/// The data of a dropped event. The time at which it was dropped is an attribute of the line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DroppedData<'a> {
    #[serde(borrow)]
    pub projection: Cow<'a, str>,
    pub position: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
}

/// The data of a commit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitData<'a> {
    pub events: u64,
    pub plan: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandData<'a>>,
    /// Absent if the store has none.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Cow<'a, str>>,
}

/// The record of a command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandData<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    pub schema_version: u32,
    #[serde(borrow)]
    pub content_type: Cow<'a, str>,
    #[serde(
        borrow,
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub data: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub metadata_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub accepted_at: Cow<'a, str>,
    /// 64 hexadecimal digits, because other programs round large numbers.
    #[serde(borrow)]
    pub seed: Cow<'a, str>,
}

/// The data of an anchor. Its stream and the time at which it was taken are attributes of the line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorData<'a> {
    pub before: u64,
    pub version: u64,
    pub state_schema_version: u32,
    #[serde(borrow)]
    pub fold: Cow<'a, str>,
    #[serde(borrow)]
    pub checksum: Cow<'a, str>,
    #[serde(borrow)]
    pub content_type: Cow<'a, str>,
    #[serde(
        borrow,
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub data: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Cow<'a, str>>,
}

/// The data of the last line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Components.
    pub modules: u64,
    /// Activations.
    pub plans: u64,
    /// Events that were dropped from projections.
    #[serde(default)]
    pub dropped: u64,
    /// Commits.
    pub commits: u64,
    /// Events.
    pub events: u64,
    /// Archived streams.
    pub streams: u64,
    /// Truncated streams.
    #[serde(default)]
    pub anchors: u64,
    /// The position of the last event.
    pub head: u64,
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            modules,
            plans,
            dropped,
            commits,
            events,
            streams,
            anchors,
            head,
        } = self;
        write!(
            f,
            "{events} events of {commits} commits up to position {head}, {modules} modules, \
             {plans} plans, {dropped} dropped events, {streams} archived and {anchors} truncated \
             streams"
        )
    }
}

/// Returns the source of a stream's events. Source and id together are unique. The id on its own is
/// not, because callers choose ids within a stream.
pub fn source(stream: &StreamId) -> String {
    let mut text = STREAMS.to_owned();
    for byte in stream.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            // Writing into a String can't fail.
            _ => _ = write!(text, "%{byte:02X}"),
        }
    }
    text
}

/// Returns the id of a dropped event's line, which is unique for each projection, subject and
/// position.
pub fn dropped_id(data: &DroppedData<'_>) -> String {
    let (kind, subject) = match (&data.document, &data.stream) {
        (Some(document), _) => ("document", document),
        (None, stream) => ("stream", stream.as_ref().unwrap_or(&Cow::Borrowed(""))),
    };
    let (projection, position) = (&data.projection, data.position);
    format!("{DROPPED}.{position}.{kind}.{projection}/{subject}")
}

/// Returns a body as `data`, or as `data_base64` if it is not JSON or would not be read back byte
/// for byte: a line can't have line breaks, and JSON loses white space around a value.
pub fn data(body: &Body) -> (Option<&RawValue>, Option<Cow<'static, str>>) {
    let text = body.as_json().filter(|text| {
        let is_bare = !text.starts_with([' ', '\t']) && !text.ends_with([' ', '\t']);
        is_bare && !text.contains(['\n', '\r'])
    });
    match text.and_then(|text| serde_json::from_str(text).ok()) {
        Some(raw) => (Some(raw), None),
        None => (None, Some(STANDARD.encode(body.bytes()).into())),
    }
}

/// Returns the body from `data` or `data_base64`.
pub fn body(content_type: &str, data: Option<&RawValue>, base64: Option<&str>) -> Result<Body> {
    let content_type = ContentType::new(content_type)?;
    match (data, base64, content_type) {
        (Some(data), None, ContentType::Json) => Body::json(data.get().as_bytes().to_vec()),
        (Some(_), None, ContentType::Other(name)) => {
            let reason = format!("data is JSON; content type {name} goes with data_base64");
            Err(Invalid(reason))
        }
        (None, Some(text), content_type) => Body::new(content_type, decoded("data_base64", text)?),
        (Some(_), Some(_), _) => Err(Invalid(
            "data and data_base64 exclude each other".to_owned(),
        )),
        (None, None, _) => Err(Invalid("data or data_base64 is missing".to_owned())),
    }
}

/// Returns metadata as text, or as base64 if it is not valid text.
pub fn metadata(bytes: Option<&Bytes>) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.into()), None),
        Some((Err(_), bytes)) => (None, Some(STANDARD.encode(bytes).into())),
    }
}

/// Returns metadata from either form.
pub fn metadata_bytes(text: Option<&str>, base64: Option<&str>) -> Result<Option<Bytes>> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
        (None, Some(text)) => Ok(Some(decoded("metadata", text)?.into())),
        (Some(_), Some(_)) => Err(Invalid("metadata is given twice".to_owned())),
    }
}

/// Decodes base64.
pub fn decoded(what: &str, text: &str) -> Result<Vec<u8>> {
    let decoded = STANDARD.decode(text);
    decoded.map_err(|error| Invalid(format!("{what}: {error}")))
}

/// Encodes bytes as base64.
pub fn encoded(bytes: &[u8]) -> Cow<'static, str> {
    STANDARD.encode(bytes).into()
}

/// Deserializes `data`. `null` is data like any other.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
