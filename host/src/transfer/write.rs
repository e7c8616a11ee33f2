//! Writes the contents of a store as lines.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::line::{
    ANCHOR, AnchorData, BEGIN, BeginData, COMMIT, CommandData, CommitData, DROPPED, DroppedData,
    END, FAILED, FORMAT, Line, MODULE, PLAN, PlanData, SOURCE, SPEC, STREAM, Totals, WASM, data,
    dropped_id, encoded, metadata, source,
};
use crate::model::{
    Body, CommandRecord, ContentType, Digest, EventId, Position, Signature, StreamId, Timestamp,
};
use crate::store::{
    Anchor, Deployment, DroppedEvent, Error, Result, StoredCommit, StoredEvent, StoredModule,
    Subject,
};

/// Writes the first line.
///
/// # Errors
/// When it can't be written as JSON.
pub fn begin(after: Option<(Position, EventId)>, head: Position, out: &mut Vec<u8>) -> Result<()> {
    let data = BeginData {
        format: FORMAT,
        after: after.map_or(0, |(position, _)| position.0),
        after_id: after.map(|(_, id)| id.to_string().into()),
        head: head.0,
    };
    json(BEGIN, BEGIN.to_owned(), None, &data, out)
}

/// Writes a component.
pub fn module(
    module: &StoredModule,
    bytes: &[u8],
    signatures: &[Signature],
    out: &mut Vec<u8>,
) -> Result<()> {
    let digest = module.digest.to_string();
    let signatures = match signatures {
        [] => None,
        signatures => {
            let texts: Vec<String> = signatures.iter().map(Signature::to_string).collect();
            Some(serde_json::to_string(&texts).map_err(|error| unwritten(&error))?)
        }
    };
    let line = Line {
        time: Some(module.uploaded_at.to_string().into()),
        datacontenttype: Some(WASM.into()),
        data_base64: Some(encoded(bytes)),
        signatures: signatures.map(Into::into),
        ..system(MODULE, format!("{MODULE}.{digest}"))
    };
    put(&line, out)
}

/// Writes an activation.
pub fn plan(deployment: &Deployment, out: &mut Vec<u8>) -> Result<()> {
    let data = PlanData {
        plan: deployment.plan,
        name: deployment.name.as_str().into(),
        module: deployment.digest.to_string().into(),
        activated_by: deployment.activated_by.as_deref().map(Into::into),
        categories: Some(deployment.categories.clone()),
        trusted: deployment.trusted.iter().map(Digest::to_string).collect(),
        projections: deployment.projections.settings.clone(),
        owners: deployment.projections.owners.clone(),
        others: deployment
            .others
            .iter()
            .map(|other| (other.name.clone(), other.digest.map(|it| it.to_string())))
            .collect(),
        aliases: deployment.projections.aliases.clone(),
        preflight: deployment.preflight.clone(),
    };
    let id = format!("{PLAN}.{}", deployment.plan);
    json(PLAN, id, Some(deployment.activated_at), &data, out)
}

/// Writes an event that an operator dropped from a projection.
pub fn dropped(projection: &str, event: &DroppedEvent, out: &mut Vec<u8>) -> Result<()> {
    let (document, stream) = match &event.subject {
        Subject::Document(key) => (Some(Cow::Borrowed(&**key)), None),
        Subject::Stream(stream) => (None, Some(Cow::Borrowed(&**stream))),
    };
    let data = DroppedData {
        projection: projection.into(),
        position: event.position.0,
        document,
        stream,
        reason: (&*event.reason).into(),
    };
    json(DROPPED, dropped_id(&data), Some(event.at), &data, out)
}

/// Writes an event. Before the first one of a commit, writes the data of the commit.
pub fn event(stored: &StoredEvent, out: &mut Vec<u8>) -> Result<()> {
    if let Some(commit) = &stored.commit {
        self::commit(commit, stored.position, out)?;
    }
    let event = &stored.event;
    let (data, data_base64) = data(&event.body);
    let (metadata, metadatabase64) = metadata(event.metadata.as_ref());
    let tags = match event.tags.as_slice() {
        [] => None,
        tags => {
            let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
            Some(serde_json::to_string(&tags).map_err(|error| unwritten(&error))?)
        }
    };
    let line = Line {
        specversion: SPEC.into(),
        id: event.id.to_string().into(),
        source: source(&stored.stream).into(),
        r#type: event.name.as_str().into(),
        subject: Some(stored.stream.as_str().into()),
        time: Some(stored.recorded_at.to_string().into()),
        datacontenttype: Some(event.body.content_type().as_str().into()),
        stream: Some(stored.stream.as_str().into()),
        version: Some(stored.version.0),
        position: Some(stored.position.0),
        schemaversion: Some(event.schema_version),
        commitoffset: Some(stored.commit_offset),
        idgiven: Some(event.id_is_callers),
        tags: tags.map(Into::into),
        metadata,
        metadatabase64,
        signatures: None,
        data,
        data_base64,
    };
    put(&line, out)
}

fn commit(commit: &StoredCommit, first: Position, out: &mut Vec<u8>) -> Result<()> {
    let decided = commit.decided;
    let data = CommitData {
        events: commit.events,
        plan: commit.plan,
        module: decided.map(|decided| decided.module.to_string().into()),
        fuel: decided.map(|decided| decided.fuel),
        command: commit.command.as_ref().map(command),
        digest: commit.digest.map(|digest| digest.to_string().into()),
    };
    json(COMMIT, format!("{COMMIT}.{first}"), None, &data, out)
}

fn command(record: &CommandRecord) -> CommandData<'_> {
    let (data, data_base64) = data(&record.body);
    let (metadata, metadata_base64) = metadata(record.metadata.as_ref());
    let context = &record.context;
    let mut seed = String::with_capacity(64);
    for part in record.seed {
        // Writing into a String can't fail.
        _ = write!(seed, "{part:016x}");
    }
    CommandData {
        id: record.id.as_str().into(),
        r#type: record.name.as_str().into(),
        schema_version: record.schema_version,
        content_type: match record.body.content_type() {
            ContentType::Json => ContentType::JSON.into(),
            ContentType::Other(name) => (&**name).into(),
        },
        data,
        data_base64,
        metadata,
        metadata_base64,
        correlation_id: context.correlation_id.as_deref().map(Into::into),
        causation_id: context.causation_id.as_deref().map(Into::into),
        principal: context.principal.as_deref().map(Into::into),
        traceparent: context.traceparent.as_deref().map(Into::into),
        accepted_at: record.accepted_at.to_string().into(),
        seed: seed.into(),
    }
}

/// Writes the mark of an archived stream.
///
/// # Errors
/// When it can't be written as JSON.
pub fn archived(stream: &StreamId, since: Timestamp, out: &mut Vec<u8>) -> Result<()> {
    let line = Line {
        subject: Some(stream.as_str().into()),
        time: Some(since.to_string().into()),
        ..system(STREAM, format!("{STREAM}.{stream}"))
    };
    put(&line, out)
}

/// Writes the mark of a truncated stream, and the state that replaces the truncated events.
pub fn anchor(anchor: &Anchor, state: &Body, out: &mut Vec<u8>) -> Result<()> {
    let Anchor {
        stream,
        before,
        snapshot,
    } = anchor;
    let (data, data_base64) = data(state);
    let anchor_data = AnchorData {
        before: before.0,
        version: snapshot.version.0,
        state_schema_version: snapshot.state_schema_version,
        fold: snapshot.fold.to_string().into(),
        checksum: Digest(snapshot.checksum).to_string().into(),
        content_type: snapshot.content_type.as_str().into(),
        data,
        data_base64,
    };
    let anchor_data: Box<RawValue> =
        to_raw_value(&anchor_data).map_err(|error| unwritten(&error))?;
    let line = Line {
        subject: Some(stream.as_str().into()),
        time: Some(snapshot.taken_at.to_string().into()),
        datacontenttype: Some(ContentType::JSON.into()),
        data: Some(&anchor_data),
        ..system(ANCHOR, format!("{ANCHOR}.{stream}"))
    };
    put(&line, out)
}

/// Writes the last line.
///
/// # Errors
/// When it can't be written as JSON.
pub fn end(totals: &Totals, out: &mut Vec<u8>) -> Result<()> {
    json(END, END.to_owned(), None, totals, out)
}

/// Writes the last line of an export that ends early, with the reason.
///
/// # Errors
/// When it can't be written as JSON.
pub fn failed(detail: &str, out: &mut Vec<u8>) -> Result<()> {
    #[derive(Serialize)]
    struct Failed<'a> {
        detail: &'a str,
    }
    json(FAILED, FAILED.to_owned(), None, &Failed { detail }, out)
}

/// Writes a line that is not an event, with JSON data.
fn json(
    kind: &'static str,
    id: String,
    time: Option<Timestamp>,
    data: &impl Serialize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let data: Box<RawValue> = to_raw_value(data).map_err(|error| unwritten(&error))?;
    let line = Line {
        time: time.map(|time| time.to_string().into()),
        datacontenttype: Some(ContentType::JSON.into()),
        data: Some(&data),
        ..system(kind, id)
    };
    put(&line, out)
}

fn system(kind: &'static str, id: String) -> Line<'static> {
    Line {
        specversion: SPEC.into(),
        id: id.into(),
        source: SOURCE.into(),
        r#type: kind.into(),
        ..Line::default()
    }
}

fn put(line: &Line<'_>, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(|error| unwritten(&error))?;
    out.push(b'\n');
    Ok(())
}

fn unwritten(error: &serde_json::Error) -> Error {
    Error::Unexpected(format!("a line that can't be written: {error}"))
}
