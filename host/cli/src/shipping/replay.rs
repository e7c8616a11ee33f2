//! The export that a folder of segments leads to.

use std::collections::VecDeque;

use anyhow::Result;
use bytes::Bytes;
use futures::Stream;

use super::archive::{Archive, Place};
use super::contents::Contents;
use super::line::{Commit, Kind, Line};
use super::segment;
use super::spool::{Lone, Spool};
use quipu::model::{Position, StreamId, Timestamp};
use quipu::transfer::{self, Totals};

/// The lines of an export, in parts.
pub struct Replay<'a> {
    archive: &'a Archive,
    parts: VecDeque<Part>,
    spool: Spool,
    /// The last segment that was read, and its index.
    segment: Option<(usize, Bytes)>,
}

enum Part {
    Bytes(Bytes),
    Place(Place),
    Lone(Lone),
}

impl<'a> Replay<'a> {
    pub fn new(archive: &'a Archive, contents: &Contents) -> Result<Self> {
        let head = Position(contents.head);
        let mut totals = Totals {
            commits: contents.commits,
            events: contents.events,
            head: contents.head,
            ..Totals::default()
        };
        let mut parts = VecDeque::new();
        let mut begin = Vec::new();
        transfer::write_begin(None, head, &mut begin)?;
        parts.push_back(Part::Bytes(begin.into()));

        let modules = contents.modules();
        totals.modules = modules.len() as u64;
        parts.extend(modules.into_iter().map(Part::Lone));
        let plans = contents.plans();
        totals.plans = plans.len() as u64;
        parts.extend(plans.into_iter().map(Part::Bytes));
        let dropped = contents.dropped_lines();
        totals.dropped = dropped.len() as u64;
        parts.extend(dropped.into_iter().map(Part::Bytes));
        parts.extend(contents.log.iter().copied().map(Part::Place));
        for (stream, since) in contents.marks.archived_streams() {
            let since: jiff::Timestamp = since.parse()?;
            let since = Timestamp(u64::try_from(since.as_microsecond())?);
            let mut line = Vec::new();
            transfer::write_archived(&StreamId::new(stream)?, since, &mut line)?;
            parts.push_back(Part::Bytes(line.into()));
            totals.streams += 1;
        }
        let (anchors, _) = contents.marks.truncated_streams();
        totals.anchors = anchors.len() as u64;
        parts.extend(anchors.into_iter().map(Part::Lone));

        let mut end = Vec::new();
        transfer::write_end(&totals, &mut end)?;
        parts.push_back(Part::Bytes(end.into()));
        Ok(Self {
            archive,
            parts,
            spool: contents.spool.clone(),
            segment: None,
        })
    }

    /// The next lines; none at the end.
    ///
    /// # Errors
    /// When a segment was changed meanwhile.
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        let place = match self.parts.pop_front() {
            None => return Ok(None),
            Some(Part::Bytes(bytes)) => return Ok(Some(bytes)),
            Some(Part::Lone(line)) => return self.spool.get(line).map(Some),
            Some(Part::Place(place)) => place,
        };
        let text = match self.segment.take() {
            Some((index, text)) if index == place.segment => text,
            _ => self.archive.segment(place.segment)?,
        };
        let lines = text.slice(place.from..place.to);
        self.segment = Some((place.segment, text));
        Ok(Some(lines))
    }

    /// The last position before the commit of a line, counted from 1, and before those that were
    /// appended together with it. None if the line belongs to no commit.
    pub fn before(mut self, line: u64) -> Result<Option<u64>> {
        let (mut number, mut head, mut before, mut shared) = (0, 0, 0, None);
        while let Some(text) = self.next()? {
            for text in segment::lines(&text) {
                number += 1;
                let read = Line::read(&text)?;
                let kind = read.kind()?;
                match kind {
                    Kind::Commit => {
                        let own = read.data::<Commit<'_>>()?.shared();
                        if own.is_none() || own != shared {
                            before = head;
                            shared = own;
                        }
                    }
                    Kind::Event => head = read.position.unwrap_or(head),
                    _ => {}
                }
                if number == line {
                    return Ok([Kind::Commit, Kind::Event]
                        .contains(&kind)
                        .then_some(before));
                }
            }
        }
        Ok(None)
    }

    /// The lines as an import reads them.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, String>> + Send + use<'a> {
        futures::stream::try_unfold(self, |mut replay| async move {
            let next = replay.next().map_err(|error| format!("{error:#}"))?;
            Ok(next.map(|bytes| (bytes, replay)))
        })
    }
}
