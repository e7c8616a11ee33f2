//! Reads whole streams and the whole log, page by page.

use std::collections::{BTreeMap, HashSet};

use quipu::Host;
use quipu::model::{Position, RecordedEvent, StreamId, Version};
use quipu::store::{Direction, EventReader, Filter};

/// Every event of the log.
pub async fn whole(host: &Host) -> Vec<RecordedEvent> {
    let (mut events, mut after) = (Vec::new(), Some(Position(0)));
    while let Some(from) = after {
        let page = host
            .read_log(from, Direction::Forward, 1_000, &Filter::default())
            .await
            .unwrap();
        after = page.next;
        events.extend(page.events);
    }
    events
}

/// Every event of a stream; none when there is no such stream.
pub async fn of(host: &Host, stream: &StreamId) -> Vec<RecordedEvent> {
    let (mut events, mut from) = (Vec::new(), Some(Version(1)));
    while let Some(first) = from {
        match host
            .read_stream(stream, first, Direction::Forward, 1_000)
            .await
        {
            Ok(page) => {
                from = page.next;
                events.extend(page.events);
            }
            Err(quipu::engine::Error::StreamNotFound(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    events
}

/// Every event of the log, read directly from a store.
pub async fn read(
    reader: &dyn EventReader,
    direction: Direction,
    limit: usize,
    filter: &Filter,
) -> Vec<RecordedEvent> {
    let start = match direction {
        Direction::Forward => Position(0),
        Direction::Backward => Position(u64::MAX),
    };
    let (mut events, mut after) = (Vec::new(), Some(start));
    while let Some(from) = after {
        let page = reader
            .read_log(from, direction, limit, filter)
            .await
            .unwrap();
        assert!(page.events.len() <= limit);
        after = page.next;
        events.extend(page.events);
    }
    events
}

/// Checks the rules of every log: positions rise, versions are dense, a commit's events are
/// contiguous, and a command's id occurs in one commit of its stream. Returns the events by stream.
pub fn check(log: &[RecordedEvent]) -> BTreeMap<StreamId, Vec<RecordedEvent>> {
    let mut streams: BTreeMap<StreamId, Vec<RecordedEvent>> = BTreeMap::new();
    let mut ids = HashSet::new();
    let mut last = Position(0);
    for event in log {
        assert!(event.position > last, "{event:?} after position {last}");
        last = event.position;
        let stream = streams.entry(event.stream.clone()).or_default();
        assert_eq!(event.version.0, stream.len() as u64 + 1, "{event:?}");
        let before = stream.last();
        assert!(
            before.is_none_or(|before| before.recorded_at <= event.recorded_at),
            "{event:?} was recorded before {before:?}"
        );
        let id = event.commit.command_id.clone();
        let goes_on = before.is_some_and(|before| before.commit.command_id == id);
        if let Some(id) = id
            && !goes_on
        {
            let is_first = ids.insert((event.stream.clone(), id.clone()));
            assert!(is_first, "stream {}: command {id} twice", event.stream);
        }
        stream.push(event.clone());
    }
    streams
}
