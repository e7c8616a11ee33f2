//! The encoding of a command in the store, which is the same in every back-end.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Error, Result};
use quipu_model::{Body, CommandId, CommandRecord, ContentType, Context, Name, Timestamp};

/// First byte of an encoded record. A change of the form below takes the next number.
const FORMAT: u8 = 1;

/// Represents a correlation id that equals the command's id, as most do.
const SAME: &str = "";

/// The record in postcard's wire format. Fields are never reordered or removed.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    id: &'a str,
    name: &'a str,
    schema_version: u32,
    content_type: Option<&'a str>,
    body: &'a [u8],
    metadata: Option<&'a [u8]>,
    correlation_id: Option<&'a str>,
    causation_id: Option<&'a str>,
    principal: Option<&'a str>,
    traceparent: Option<&'a str>,
    accepted_at: u64,
    seed: [u64; 4],
}

/// Appends the encoded record to a buffer.
pub fn encode(record: &CommandRecord, buffer: &mut Vec<u8>) -> Result<()> {
    let stored = Stored {
        id: record.id.as_str(),
        name: record.name.as_str(),
        schema_version: record.schema_version,
        content_type: match record.body.content_type() {
            ContentType::Json => None,
            other @ ContentType::Other(_) => Some(other.as_str()),
        },
        body: record.body.bytes(),
        metadata: record.metadata.as_deref(),
        correlation_id: record
            .context
            .correlation_id
            .as_deref()
            .map(|id| if id == record.id.as_str() { SAME } else { id }),
        causation_id: record.context.causation_id.as_deref(),
        principal: record.context.principal.as_deref(),
        traceparent: record.context.traceparent.as_deref(),
        accepted_at: record.accepted_at.0,
        seed: record.seed,
    };
    buffer.push(FORMAT);
    postcard::to_io(&stored, &mut *buffer)
        .map_err(|error| Error::Unexpected(format!("a command that can't be encoded: {error}")))?;
    Ok(())
}

/// Reads an encoded record.
pub fn decode(bytes: &[u8]) -> Result<CommandRecord> {
    let damaged = |reason: String| Error::Damaged(format!("a stored command: {reason}"));
    let encoded = match bytes.split_first() {
        Some((&FORMAT, rest)) => rest,
        Some((other, _)) => return Err(damaged(format!("unknown format {other}"))),
        None => return Err(damaged("no bytes".to_owned())),
    };
    let stored: Stored<'_> =
        postcard::from_bytes(encoded).map_err(|error| damaged(error.to_string()))?;
    let content_type = stored
        .content_type
        .map_or(Ok(ContentType::Json), ContentType::new)
        .map_err(|error| damaged(error.to_string()))?;
    let text = |text: Option<&str>| text.map(Arc::<str>::from);
    Ok(CommandRecord {
        id: CommandId::stored(stored.id),
        name: Name::stored(stored.name),
        schema_version: stored.schema_version,
        body: Body::stored(content_type, Bytes::copy_from_slice(stored.body)),
        metadata: stored.metadata.map(Bytes::copy_from_slice),
        context: Context {
            correlation_id: text(
                stored
                    .correlation_id
                    .map(|id| if id == SAME { stored.id } else { id }),
            ),
            causation_id: text(stored.causation_id),
            principal: text(stored.principal),
            traceparent: text(stored.traceparent),
        },
        accepted_at: Timestamp(stored.accepted_at),
        seed: stored.seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: Body) -> CommandRecord {
        CommandRecord {
            id: CommandId::new("k").unwrap(),
            name: Name::new("deposit").unwrap(),
            schema_version: 1,
            body,
            metadata: Some(Bytes::from_static(b"{\"a\":1}")),
            context: Context {
                principal: Some("ann".into()),
                correlation_id: Some("k".into()),
                ..Context::default()
            },
            accepted_at: Timestamp(7),
            seed: [1, 2, 3, u64::MAX],
        }
    }

    #[test]
    fn a_record_comes_back_byte_for_byte() {
        let binary = ContentType::new("application/x-thing").unwrap();
        for body in [Body::empty(), Body::new(binary, vec![0, 255, 10]).unwrap()] {
            let mut bytes = Vec::new();
            encode(&record(body.clone()), &mut bytes).unwrap();
            assert_eq!(decode(&bytes).unwrap(), record(body));
        }
    }

    #[test]
    fn the_encoding_of_a_stored_record_never_changes() {
        let mut bytes = Vec::new();
        encode(&record(Body::empty()), &mut bytes).unwrap();
        let golden: &[u8] =
            b"\x01\x01k\x07deposit\x01\x00\x02{}\x01\x07{\"a\":1}\x01\x00\x00\x01\x03ann\
            \x00\x07\x01\x02\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(bytes, golden);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let mut bytes = Vec::new();
        encode(&record(Body::empty()), &mut bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        bytes[0] = 9;
        assert!(decode(&bytes).is_err());
    }
}
