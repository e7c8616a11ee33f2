//! Parses lines. Everything is checked, because a file may come from anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::line::{
    ANCHOR, AnchorData, BEGIN, BeginData, COMMIT, CommandData, CommitData, DROPPED, DroppedData,
    END, FORMAT, FORMAT_OLDEST, Line, MODULE, PLAN, PlanData, Result, SOURCE, SPEC, STREAM, Totals,
    WASM, body, decoded, dropped_id, metadata_bytes, source,
};
use crate::model::{
    CommandId, CommandRecord, ContentType, Context, Digest, EventId, Invalid, Name, NewEvent,
    Position, Settings, Signature, StreamId, Timestamp, Version,
};
use crate::store::{
    ALIASES_MAX, Anchor, Decided, Deployment, DroppedEvent, Member, ProjectionPlan, RELEASE_MAX,
    SIGNATURES_MAX, StoredCommit, StoredEvent, StoredSnapshot, Subject,
};
use crate::store::{PreflightSummary, SummaryObjection};

/// Limits of a preflight summary: the number of objections, and the bytes of each.
const PREFLIGHT_OBJECTIONS_MAX: usize = 100;
const PREFLIGHT_TEXT_MAX: usize = 1_000;

/// The contents of a line.
#[derive(Debug)]
pub enum Entry {
    Begin(Begin),
    Module(Module),
    Plan(Box<Deployment>),
    /// A dropped event, with the projection from which it was dropped.
    Dropped(String, DroppedEvent),
    /// A commit, with the position of its first event.
    Commit(Position, Box<StoredCommit>),
    /// An event without its commit, which is in the line before it.
    Event(Box<StoredEvent>),
    Archived(StreamId, Timestamp),
    Truncated(Box<Anchor>),
    End(Totals),
}

/// The part of a log that the file has.
#[derive(Debug)]
pub struct Begin {
    /// The events after this one. `None` for a whole log.
    pub after: Option<(Position, EventId)>,
    /// The events up to this position.
    pub head: Position,
}

/// A component.
#[derive(Debug)]
pub struct Module {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub uploaded_at: Timestamp,
    pub signatures: Vec<Signature>,
}

/// Checks the form of a line of an export. What it means is checked when it is imported.
///
/// # Errors
/// When the line is malformed, or of a type that this program does not know.
pub fn check_line(text: &[u8]) -> Result<()> {
    entry(text).map(drop)
}

/// Parses a line.
pub fn entry(text: &[u8]) -> Result<Entry> {
    let text = std::str::from_utf8(text)
        .map_err(|error| Invalid(format!("the line is not UTF-8: {error}")))?;
    // By default, serde accepts an array in place of an object, with the members in order.
    if !text.trim_start().starts_with('{') {
        return Err(Invalid("the line is no JSON object".to_owned()));
    }
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| Invalid(error.to_string()))?;
    if line.specversion != SPEC {
        return Err(Invalid(format!(
            "specversion {:?} is not {SPEC}",
            line.specversion
        )));
    }
    if line.stream.is_some() {
        if line.signatures.is_some() {
            return Err(Invalid("signatures belong to a component".to_owned()));
        }
        return event(&line).map(|event| Entry::Event(Box::new(event)));
    }
    if line.source != SOURCE {
        return Err(Invalid(format!(
            "no stream, and the source is not {SOURCE}"
        )));
    }
    only_a_system_line(&line)?;
    match &*line.r#type {
        BEGIN => begin(&line),
        MODULE => module(&line),
        PLAN => plan(&line),
        DROPPED => dropped(&line),
        COMMIT => commit(&line),
        STREAM => archived(&line),
        ANCHOR => anchor(&line),
        END => end(&line),
        unknown => Err(Invalid(format!(
            "this program knows no line of type {unknown:?}"
        ))),
    }
}

/// Content type of most lines that are not events.
const JSON: Option<&str> = Some(ContentType::JSON);

fn only_a_system_line(line: &Line<'_>) -> Result<()> {
    let foreign = [
        ("version", line.version.is_some()),
        ("position", line.position.is_some()),
        ("schemaversion", line.schemaversion.is_some()),
        ("commitoffset", line.commitoffset.is_some()),
        ("idgiven", line.idgiven.is_some()),
        ("tags", line.tags.is_some()),
        ("metadata", line.metadata.is_some()),
        ("metadatabase64", line.metadatabase64.is_some()),
    ];
    if line.signatures.is_some() && line.r#type != MODULE {
        return Err(Invalid("signatures belong to a component".to_owned()));
    }
    match foreign.into_iter().find(|(_, is_there)| *is_there) {
        Some((name, _)) => Err(Invalid(format!(
            "{name} belongs to an event, which has a stream"
        ))),
        None => Ok(()),
    }
}

fn end(line: &Line<'_>) -> Result<Entry> {
    check(line, END, JSON)?;
    Ok(Entry::End(json(line)?))
}

fn begin(line: &Line<'_>) -> Result<Entry> {
    check(line, BEGIN, JSON)?;
    let data: BeginData<'_> = json(line)?;
    if !(FORMAT_OLDEST..=FORMAT).contains(&data.format) {
        return Err(Invalid(format!(
            "the file has format {}, this program reads {FORMAT_OLDEST} to {FORMAT}: use a \
             newer program",
            data.format
        )));
    }
    let after = match (number("after", data.after)?, &data.after_id) {
        (0, None) => None,
        (position, Some(id)) if position > 0 => Some((Position(position), event_id(id)?)),
        _ => return Err(Invalid("after and after_id do not fit".to_owned())),
    };
    let head = Position(number("head", data.head)?);
    Ok(Entry::Begin(Begin { after, head }))
}

fn module(line: &Line<'_>) -> Result<Entry> {
    let bytes = decoded(
        "data_base64",
        required("data_base64", line.data_base64.as_deref())?,
    )?;
    let digest = Digest::of(&bytes);
    check(line, &format!("{MODULE}.{digest}"), Some(WASM))?;
    Ok(Entry::Module(Module {
        digest,
        bytes,
        uploaded_at: time(line)?,
        signatures: signatures(line.signatures.as_deref())?,
    }))
}

fn signatures(text: Option<&str>) -> Result<Vec<Signature>> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let signatures: Vec<String> =
        serde_json::from_str(text).map_err(|error| Invalid(format!("signatures: {error}")))?;
    if !(1..=SIGNATURES_MAX).contains(&signatures.len()) {
        let wrong = format!("signatures: 1 to {SIGNATURES_MAX}, or leave it out");
        return Err(Invalid(wrong));
    }
    let signatures = signatures.iter().map(|text| text.parse());
    let signatures: Vec<Signature> = signatures.collect::<Result<_>>()?;
    match signatures.is_sorted_by(|one, next| one.key < next.key) {
        true => Ok(signatures),
        false => Err(Invalid(
            "signatures: not in the order of their keys".to_owned(),
        )),
    }
}

fn plan(line: &Line<'_>) -> Result<Entry> {
    let data: PlanData<'_> = json(line)?;
    check(line, &format!("{PLAN}.{}", data.plan), JSON)?;
    Ok(Entry::Plan(Box::new(Deployment {
        plan: number("plan", data.plan)?,
        name: name("name", &data.name)?.as_str().to_owned(),
        digest: digest("module", &data.module)?,
        activated_at: time(line)?,
        activated_by: optional("activated_by", data.activated_by.as_deref())?
            .map(|by| by.to_string()),
        categories: match data.categories {
            Some(names) => categories(&names)?,
            None => vec![data.name.to_string()],
        },
        trusted: data
            .trusted
            .iter()
            .map(|fold| digest("trusted", fold))
            .collect::<Result<_>>()?,
        projections: ProjectionPlan {
            settings: settings(data.projections)?,
            owners: owners(data.owners)?,
            aliases: data.aliases.map(aliases).transpose()?,
            ..ProjectionPlan::default()
        },
        others: others(data.others)?,
        preflight: data.preflight.map(preflight).transpose()?,
    })))
}

fn dropped(line: &Line<'_>) -> Result<Entry> {
    let data: DroppedData<'_> = json(line)?;
    check(line, &dropped_id(&data), JSON)?;
    let reason = optional("reason", Some(&data.reason))?.unwrap_or_default();
    let subject = match (data.document.as_deref(), data.stream.as_deref()) {
        (Some(key), None) => Subject::Document(name("document", key)?.as_str().into()),
        (None, Some(stream)) => Subject::Stream(StreamId::new(stream)?.as_str().into()),
        _ => return Err(Invalid("either document or stream".to_owned())),
    };
    let event = DroppedEvent {
        subject,
        position: Position(number("position", data.position)?),
        at: time(line)?,
        reason: (&*reason).into(),
    };
    let projection = name("projection", &data.projection)?;
    Ok(Entry::Dropped(projection.as_str().to_owned(), event))
}

fn preflight(summary: PreflightSummary) -> Result<PreflightSummary> {
    let is_wrong = |objection: &SummaryObjection| {
        name("kind", &objection.kind).is_err() || objection.text.len() > PREFLIGHT_TEXT_MAX
    };
    if summary.objections.len() > PREFLIGHT_OBJECTIONS_MAX
        || summary.same > summary.decided
        || summary.objections.iter().any(is_wrong)
    {
        return Err(Invalid("preflight: more than a preflight says".to_owned()));
    }
    Ok(summary)
}

fn settings(settings: BTreeMap<String, Settings>) -> Result<BTreeMap<String, Settings>> {
    let mut names = settings.keys();
    names.try_for_each(|text| name("projection", text).map(|_| ()))?;
    Ok(settings)
}

fn owners(owners: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    for (projection, component) in &owners {
        name("projection", projection)?;
        name("component", component)?;
    }
    Ok(owners)
}

fn others(others: BTreeMap<String, Option<String>>) -> Result<Vec<Member>> {
    if others.len() >= RELEASE_MAX {
        let found = others.len() + 1;
        return Err(Invalid(format!(
            "others: a release has at most {RELEASE_MAX} components, this one {found}"
        )));
    }
    let member = |(text, module): (String, Option<String>)| {
        Ok(Member {
            name: name("name", &text)?.as_str().to_owned(),
            digest: module.map(|module| digest("module", &module)).transpose()?,
        })
    };
    others.into_iter().map(member).collect()
}

fn aliases(
    aliases: BTreeMap<String, BTreeSet<(String, String)>>,
) -> Result<BTreeMap<String, BTreeSet<(String, String)>>> {
    for (category, pairs) in &aliases {
        name("category", category)?;
        if pairs.len() > ALIASES_MAX {
            return Err(Invalid(format!(
                "aliases: category {category} has {} pairs of names, at most {ALIASES_MAX} are taken",
                pairs.len()
            )));
        }
        for (alias, canonical) in pairs {
            name("alias", alias)?;
            name("event type", canonical)?;
        }
    }
    Ok(aliases)
}

fn categories(names: &[String]) -> Result<Vec<String>> {
    let names = names.iter();
    let name = names.map(|text| Ok(name("category", text)?.as_str().to_owned()));
    name.collect()
}

fn commit(line: &Line<'_>) -> Result<Entry> {
    let data: CommitData<'_> = json(line)?;
    if data.events == 0 {
        return Err(Invalid("a commit without events".to_owned()));
    }
    let decided = match (&data.module, data.fuel) {
        (Some(module), Some(fuel)) => Some(Decided {
            module: digest("module", module)?,
            fuel: number("fuel", fuel)?,
        }),
        (None, None) => None,
        _ => return Err(Invalid("module and fuel go together".to_owned())),
    };
    let position = line.id.rsplit('.').next().and_then(|it| it.parse().ok());
    let position = number("position", position.unwrap_or_default())?;
    check(line, &format!("{COMMIT}.{position}"), JSON)?;
    let commit = StoredCommit {
        command: data.command.as_ref().map(command).transpose()?,
        decided,
        plan: number("plan", data.plan)?,
        events: number("events", data.events)?,
        digest: data
            .digest
            .map(|text| digest("digest", &text))
            .transpose()?,
    };
    Ok(Entry::Commit(Position(position), Box::new(commit)))
}

fn command(data: &CommandData<'_>) -> Result<CommandRecord> {
    let content = data.data_base64.as_deref();
    let metadata = data.metadata.as_deref();
    Ok(CommandRecord {
        id: command_id(&data.id)?,
        name: name("command type", &data.r#type)?,
        schema_version: schema_version(data.schema_version)?,
        body: body(&data.content_type, data.data, content)?,
        metadata: metadata_bytes(metadata, data.metadata_base64.as_deref())?,
        context: Context {
            correlation_id: optional("correlation_id", data.correlation_id.as_deref())?,
            causation_id: optional("causation_id", data.causation_id.as_deref())?,
            principal: optional("principal", data.principal.as_deref())?,
            traceparent: optional("traceparent", data.traceparent.as_deref())?,
        },
        accepted_at: timestamp(&data.accepted_at)?,
        seed: seed(&data.seed)?,
    })
}

fn archived(line: &Line<'_>) -> Result<Entry> {
    let stream = StreamId::new(required("subject", line.subject.as_deref())?)?;
    check(line, &format!("{STREAM}.{stream}"), None)?;
    Ok(Entry::Archived(stream, time(line)?))
}

fn anchor(line: &Line<'_>) -> Result<Entry> {
    let stream = StreamId::new(required("subject", line.subject.as_deref())?)?;
    check(line, &format!("{ANCHOR}.{stream}"), JSON)?;
    let data: AnchorData<'_> = json(line)?;
    let state = body(&data.content_type, data.data, data.data_base64.as_deref())?;
    let mut snapshot = StoredSnapshot::new(
        &stream,
        Version(number("version", data.version)?),
        schema_version(data.state_schema_version)?,
        &state,
        digest("fold", &data.fold)?,
        time(line)?,
    );
    snapshot.is_anchor = true;
    snapshot.checksum = digest("checksum", &data.checksum)?.0;
    if !snapshot.is_intact(&stream) {
        return Err(Invalid("the anchor does not have its checksum".to_owned()));
    }
    Ok(Entry::Truncated(Box::new(Anchor {
        before: Version(number("before", data.before)?),
        stream,
        snapshot,
    })))
}

fn event(line: &Line<'_>) -> Result<StoredEvent> {
    let stream = StreamId::new(required("stream", line.stream.as_deref())?)?;
    let expected = source(&stream);
    if line.source != expected {
        return Err(Invalid(format!("the source is not {expected:?}")));
    }
    if line.subject.as_deref() != Some(stream.as_str()) {
        return Err(Invalid(format!("the subject is not {:?}", stream.as_str())));
    }
    let version = number("version", required("version", line.version)?)?;
    let commit_offset = required("commitoffset", line.commitoffset)?;
    if commit_offset >= version {
        let reason = format!("commitoffset {commit_offset} of an event at version {version}");
        return Err(Invalid(reason));
    }
    let content_type = required("datacontenttype", line.datacontenttype.as_deref())?;
    Ok(StoredEvent {
        event: NewEvent {
            id: event_id(&line.id)?,
            id_is_callers: required("idgiven", line.idgiven)?,
            name: name("type", &line.r#type)?,
            schema_version: schema_version(required("schemaversion", line.schemaversion)?)?,
            body: body(content_type, line.data, line.data_base64.as_deref())?,
            metadata: metadata_bytes(line.metadata.as_deref(), line.metadatabase64.as_deref())?,
            tags: tags(line.tags.as_deref())?,
        },
        stream,
        version: Version(version),
        position: Position(number("position", required("position", line.position)?)?),
        recorded_at: time(line)?,
        commit_offset,
        commit: None,
    })
}

fn json<'a, T: serde::Deserialize<'a>>(line: &Line<'a>) -> Result<T> {
    let data = required("data", line.data)?.get();
    if !data.starts_with('{') {
        return Err(Invalid("data is no JSON object".to_owned()));
    }
    serde_json::from_str(data).map_err(|error| Invalid(format!("data: {error}")))
}

/// Checks that a line that is not an event has the id and the content type of its kind.
fn check(line: &Line<'_>, id: &str, content_type: Option<&str>) -> Result<()> {
    if line.id != id {
        return Err(Invalid(format!("the id is {:?}, not {id:?}", line.id)));
    }
    let given = line.datacontenttype.as_deref();
    if given != content_type {
        let (given, wanted) = (given.unwrap_or("none"), content_type.unwrap_or("none"));
        return Err(Invalid(format!("datacontenttype is {given}, not {wanted}")));
    }
    Ok(())
}

fn required<T>(name: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Invalid(format!("{name} is missing")))
}

/// Checks a number, because the databases' integers are signed.
fn number(name: &str, value: u64) -> Result<u64> {
    match i64::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(Invalid(format!("{name} {value} is more than {}", i64::MAX))),
    }
}

fn schema_version(version: u32) -> Result<u32> {
    match i32::try_from(version) {
        Ok(1..) => Ok(version),
        _ => Err(Invalid(format!(
            "schema version {version} is not from 1 to {}",
            i32::MAX
        ))),
    }
}

fn name(what: &str, text: &str) -> Result<Name> {
    match text.len() {
        0..=TEXT_BYTES_MAX => Name::new(text),
        bytes => Err(too_long(what, bytes)),
    }
}

/// Longest text that has its own column in the store, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

fn too_long(what: &str, bytes: usize) -> Invalid {
    Invalid(format!(
        "{what}: {bytes} bytes are more than {TEXT_BYTES_MAX}"
    ))
}

fn optional(what: &str, text: Option<&str>) -> Result<Option<Arc<str>>> {
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX => Err(too_long(what, text.len())),
        Some(text) if text.contains('\0') => Err(Invalid(format!("{what} holds a zero byte"))),
        text => Ok(text.map(Into::into)),
    }
}

fn tags(text: Option<&str>) -> Result<Vec<Arc<str>>> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let tags: Vec<String> =
        serde_json::from_str(text).map_err(|error| Invalid(format!("tags: {error}")))?;
    if tags.is_empty() {
        return Err(Invalid("tags: an empty list; leave it out".to_owned()));
    }
    tags.iter()
        .map(|tag| Ok(optional("tag", Some(tag))?.unwrap_or_default()))
        .collect()
}

fn event_id(text: &str) -> Result<EventId> {
    match Uuid::try_parse(text) {
        Ok(id) if id.to_string() == text => Ok(id),
        _ => Err(Invalid(format!("id {text:?} is no UUID in lower case"))),
    }
}

/// Parses a command id, chosen by the caller or by the host.
fn command_id(text: &str) -> Result<CommandId> {
    match text.strip_prefix(CommandId::RESERVED) {
        Some(rest) => CommandId::new(rest).map(|_| CommandId::stored(text)),
        None => CommandId::new(text),
    }
}

/// Parses a digest, which is written in lower case.
fn digest(what: &str, text: &str) -> Result<Digest> {
    match text.parse::<Digest>() {
        Ok(digest) if digest.to_string() == text => Ok(digest),
        _ => Err(Invalid(format!(
            "{what} {text:?} is not 64 hexadecimal digits"
        ))),
    }
}

fn seed(text: &str) -> Result<[u64; 4]> {
    // A seed has the same digits as a digest.
    let Digest(bytes) = digest("seed", text)?;
    let mut seed = [0; 4];
    for (part, bytes) in seed.iter_mut().zip(bytes.chunks_exact(8)) {
        *part = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    Ok(seed)
}

fn time(line: &Line<'_>) -> Result<Timestamp> {
    timestamp(required("time", line.time.as_deref())?)
}

fn timestamp(text: &str) -> Result<Timestamp> {
    let micros = text.parse::<jiff::Timestamp>().ok();
    let micros = micros.and_then(|time| u64::try_from(time.as_microsecond()).ok());
    match micros.map(Timestamp) {
        Some(time) if time.to_string() == text => Ok(time),
        _ => Err(Invalid(format!(
            "time {text:?} is not of the form 2011-09-30T22:38:44.546000Z"
        ))),
    }
}
