//! The base of a folder: the beginning of the log, from which a recovery starts.
//!
//! A recovery needs every event. But it needs only the newest of several lines about one stream, one
//! activation or one component, if nobody recovers an earlier position. So the segments before a
//! position are replaced by compressed ones without superseded lines, and positions before the end of
//! the base are given up.
//!
//! The files of the new base are on the disk before the manifest lists them, and the manifest is
//! replaced as a whole. Segments are removed after that.

use std::collections::HashMap;
use std::str::FromStr;

use anyhow::Result;
use bytes::Bytes;

use super::line::{Kind, Line};
use super::manifest::{Entry, Manifest};
use super::segment::{Tally, lines};
use super::shipper::is_state;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// What stays as it is after a new base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The positions of this time.
    Age(SignedDuration),
    /// This number of segments.
    Segments(usize),
}

/// Longest age, in seconds: 100 years of 365 days.
const AGE_MAX: i64 = 100 * 365 * 86_400;

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected an age as 12h, 30d or 8w, or a number of segments from 1 on";
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: i64 = digits.parse().map_err(|_| expected.to_owned())?;
        let unit = match text.get(digits.len()..).unwrap_or_default() {
            "" => {
                let number = usize::try_from(number).ok().filter(|number| *number > 0);
                return number.map(Self::Segments).ok_or(expected.to_owned());
            }
            "s" => 1,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            "m" => return Err(format!("m may be minutes or months; {expected}")),
            _ => return Err(expected.to_owned()),
        };
        let seconds = number
            .checked_mul(unit)
            .filter(|it| (1..=AGE_MAX).contains(it));
        let seconds = seconds.ok_or("expected an age from 1s to 5200w")?;
        Ok(Self::Age(SignedDuration::from_secs(seconds)))
    }
}

impl Keep {
    /// Returns how many segments at the beginning are not kept, those of the base included.
    pub fn outdated(&self, manifest: &Manifest, now: Timestamp) -> Result<usize> {
        let entries = &manifest.segments;
        let age = match self {
            Self::Segments(number) => return Ok(entries.len().saturating_sub(*number)),
            Self::Age(age) => age,
        };
        let mut outdated = 0;
        for entry in entries {
            let time = entry.newest.as_ref().unwrap_or(&entry.shipped_at);
            let time: Timestamp = time.parse()?;
            if now.duration_since(time) < *age {
                break;
            }
            outdated += 1;
        }
        Ok(outdated)
    }
}

/// The segments that a new base replaces, and what it takes of them.
pub struct Folding {
    /// The index of the first one: earlier segments of the base stay.
    pub from: usize,
    /// The index after the last one.
    pub to: usize,
    /// Of each line that is not in the log: the number of the last one with its id.
    last: HashMap<String, u64>,
    /// Of each truncated stream: the first versions that its last states show.
    shown: HashMap<String, FirstVersions>,
    /// Lines so far.
    read: u64,
}

/// The first versions that a stream shows, before and after its last change.
#[derive(Default)]
struct FirstVersions {
    earlier: Option<u64>,
    last: u64,
}

impl FirstVersions {
    fn add(&mut self, version: u64) {
        if self.last != version {
            self.earlier = Some(self.last);
            self.last = version;
        }
    }
}

#[derive(Deserialize)]
struct AnchorData {
    before: u64,
}

impl Folding {
    /// Folds the segments up to an index; none if the base has them already. Small segments at the
    /// end of the base are written once more, so that it has few.
    pub fn new(manifest: &Manifest, to: usize, segment_bytes: u64) -> Option<Self> {
        let entries = &manifest.segments;
        let begin = manifest.base_segments();
        let folded = entries.get(begin..to).filter(|it| !it.is_empty())?;
        let (mut from, mut bytes) = (begin, folded.iter().map(Entry::plain).sum::<u64>());
        while let Some(before) = from.checked_sub(1).and_then(|it| entries.get(it))
            && before.plain() <= bytes.saturating_mul(2)
            && before.plain().saturating_add(bytes) <= segment_bytes
        {
            from -= 1;
            bytes += before.plain();
        }
        Some(Self {
            from,
            to,
            last: HashMap::new(),
            shown: HashMap::new(),
            read: 0,
        })
    }

    /// Scans a segment. All segments are scanned before the first one is reduced.
    pub fn scan(&mut self, text: &Bytes) -> Result<()> {
        for text in lines(text) {
            let line = Line::read(&text)?;
            let kind = line.kind()?;
            self.read += 1;
            if !is_state(kind) {
                continue;
            }
            if kind == Kind::Anchor {
                let AnchorData { before } = line.data()?;
                self.shown
                    .entry(line.id.to_string())
                    .or_default()
                    .add(before);
            }
            self.last.insert(line.id.to_string(), self.read);
        }
        Ok(())
    }

    /// Begins to reduce the segments, in the same order.
    pub fn rewind(&mut self) {
        self.read = 0;
    }

    /// Returns a segment without superseded lines, and its tally. `after` is the last position before
    /// the segment.
    pub fn reduce(&mut self, text: &Bytes, after: u64) -> Result<(Vec<u8>, Tally)> {
        let (mut reduced, mut tally) = (Vec::with_capacity(text.len()), Tally::default());
        for text in lines(text) {
            let line = Line::read(&text)?;
            let kind = line.kind()?;
            self.read += 1;
            if is_state(kind) && !self.is_needed(&line, kind)? {
                continue;
            }
            tally.add(&line, kind, text.len(), after)?;
            reduced.extend_from_slice(&text);
        }
        tally.check_whole()?;
        Ok((reduced, tally))
    }

    /// Which state of a stream belongs to a mark is known only in a recovery. The last one may have been
    /// shipped before the event about it.
    fn is_needed(&self, line: &Line<'_>, kind: Kind) -> Result<bool> {
        if self.last.get(&*line.id) == Some(&self.read) {
            return Ok(true);
        }
        if kind != Kind::Anchor {
            return Ok(false);
        }
        let AnchorData { before } = line.data()?;
        let shown = self.shown.get(&*line.id);
        Ok(shown.is_some_and(|it| it.last == before || it.earlier == Some(before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit_and_a_number_has_none() {
        let days = |days: i64| Keep::Age(SignedDuration::from_hours(24 * days));
        assert_eq!("3".parse(), Ok(Keep::Segments(3)));
        assert_eq!("30d".parse(), Ok(days(30)));
        assert_eq!("8w".parse(), Ok(days(56)));
        for wrong in [
            "",
            "0",
            "-1",
            "0d",
            "d",
            "1y",
            "3m",
            "1.5d",
            "5300w",
            "9999999999999999999w",
        ] {
            assert!(wrong.parse::<Keep>().is_err(), "{wrong}");
        }
    }

    fn line(kind: &str, id: &str, data: &str) -> String {
        format!("{{\"id\":\"{id}\",\"type\":\"quipu.{kind}\",\"data\":{data}}}\n")
    }

    #[test]
    fn superseded_lines_are_left_out() {
        let segments = [
            vec![
                line("module", "m", "1"),
                line("anchor", "a", "{\"before\":2}"),
                line("plan", "p", "1"),
                line("anchor", "a", "{\"before\":4}"),
            ],
            vec![
                line("anchor", "a", "{\"before\":5}"),
                line("module", "m", "2"),
                line("anchor", "a", "{\"before\":5,\"x\":1}"),
            ],
        ];
        let manifest = Manifest::new(Vec::new()).unwrap();
        assert!(Folding::new(&manifest, 0, 1).is_none());
        let mut folding = Folding {
            from: 0,
            to: 2,
            last: HashMap::new(),
            shown: HashMap::new(),
            read: 0,
        };
        let texts = segments.each_ref().map(|it| Bytes::from(it.concat()));
        for text in &texts {
            folding.scan(text).unwrap();
        }
        folding.rewind();
        let (first, tally) = folding.reduce(&texts[0], 0).unwrap();
        assert_eq!(first, segments[0][2..].concat().as_bytes());
        assert_eq!((tally.lines, tally.bytes), (2, first.len() as u64));
        let (second, _) = folding.reduce(&texts[1], 0).unwrap();
        assert_eq!(second, &texts[1][..]);
    }
}
