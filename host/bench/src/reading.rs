//! Measures reads of the whole log and of one long stream.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::Options;
use super::host::work;
use super::place::Place;
use quipu::Host;
use quipu::engine::Append;
use quipu::model::{Body, Name, NewEvent, Position, StreamId, Version, fresh_id};
use quipu::store::{self, Direction, Filter, LOG_PAGE_MAX};

/// Events in one append and in one page.
const PAGE: usize = 1_000;
/// Number of streams over which the events of the log are distributed.
const STREAMS: usize = 250;

/// The results for reading.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    /// Events in the log.
    pub events: usize,
    /// Events per second, appended by one caller in appends of 1,000.
    pub appended_per_second: f64,
    /// Events of the log per second, in pages of 1,000, as readers see them.
    pub log_per_second: f64,
    /// Events of streams per second, as a fold loads them.
    pub loaded_per_second: f64,
}

/// Appends events and reads them back.
pub async fn measure(options: &Options, events: usize) -> Result<Reading> {
    let place = Place::new(options)?;
    let store = store::open(&place.url()?).await?;
    let reader = std::sync::Arc::clone(&store.reader);
    let host = Host::builder().opened_store(store).build().await?;
    let body = Body::json(work())?;
    let name = Name::new("work-scheduled")?;
    let event = || NewEvent {
        id: fresh_id(),
        id_is_callers: false,
        name: name.clone(),
        schema_version: 1,
        body: body.clone(),
        metadata: None,
        tags: Vec::new(),
    };
    let begin = Instant::now();
    for first in (0..events).step_by(PAGE) {
        let stream = StreamId::new(&format!("read-{}", first / PAGE % STREAMS))?;
        let append = Append {
            events: (first..events.min(first + PAGE)).map(|_| event()).collect(),
            ..Append::default()
        };
        host.append(&stream, append).await?;
    }
    let appended = begin.elapsed();

    let begin = Instant::now();
    let (mut after, mut read) = (Some(Position(0)), 0);
    while let Some(from) = after {
        let page = reader
            .read_log(from, Direction::Forward, LOG_PAGE_MAX, &Filter::default())
            .await?;
        read += page.events.len();
        after = page.next;
    }
    anyhow::ensure!(read == events, "{read} of {events} events were read");
    let log = begin.elapsed();

    let begin = Instant::now();
    let mut loaded = 0;
    for number in 0..STREAMS.min(events.div_ceil(PAGE)) {
        let stream = StreamId::new(&format!("read-{number}"))?;
        let (mut version, mut is_last) = (Version::NONE, false);
        while !is_last {
            let page = reader.load(&stream, version, PAGE).await?;
            loaded += page.events.len();
            version = page.events.last().map_or(version, |event| event.version);
            is_last = page.is_last;
        }
    }
    anyhow::ensure!(loaded == events, "{loaded} of {events} events were loaded");
    let loading = begin.elapsed();

    host.shutdown().await?;
    place.remove().await?;
    let rate = |time: std::time::Duration| events as f64 / time.as_secs_f64();
    Ok(Reading {
        events,
        appended_per_second: rate(appended),
        log_per_second: rate(log),
        loaded_per_second: rate(loading),
    })
}
