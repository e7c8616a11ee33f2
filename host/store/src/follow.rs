//! Follows the chains of all streams, row by row, in the order of the log.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::commit_digest::CommitHasher;
use super::digests::{AddedDigest, DigestMarks, LogRow, RowContent};
use quipu_model::{Digest, Position};

/// What a row shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A commit is whole and has its digest.
    Proved,
    /// A commit is whole and has no digest, as it may. This would be its digest, if what is before
    /// it is known.
    Unproved(Option<AddedDigest>),
    /// Something is not as it was written.
    Wrong(Wrong),
}

/// A place where the log is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The position of the event; of a missing event, the position after it.
    pub position: Position,
    /// The stream; none when only the position is known.
    pub stream: Option<Box<str>>,
    /// The version in the stream, or the position when there is no stream.
    pub version: u64,
    /// What is wrong.
    pub text: String,
}

/// The state of all chains up to a position. It takes about 120 bytes for each stream.
#[derive(Debug)]
pub struct Follower {
    marks: DigestMarks,
    /// Whether digests that are absent are added.
    proves: bool,
    /// By a hash of the stream.
    tips: HashMap<u64, Tip>,
    /// Commits that are not whole yet.
    open: HashMap<u64, Open>,
    last: Position,
}

/// The end of a chain.
#[derive(Debug, Default)]
struct Tip {
    version: u64,
    /// Of the last commit.
    first: Position,
    digest: Option<Digest>,
    /// Another digest that may be the previous one of the next commit.
    other: Option<Option<Digest>>,
    /// Whether the previous digest of the next commit is not known.
    is_unknown: bool,
    /// Whether the rest of the commit is passed over, because something is wrong with it.
    skips: bool,
}

#[derive(Debug)]
struct Open {
    stream: Box<str>,
    first: Position,
    first_version: u64,
    seen: u64,
    events: u64,
    stored: Option<Vec<u8>>,
    hasher: CommitHasher,
}

impl Follower {
    /// Follows the chains from the first position on.
    pub fn new(marks: DigestMarks) -> Self {
        Self {
            marks,
            proves: false,
            tips: HashMap::new(),
            open: HashMap::new(),
            last: Position(0),
        }
    }

    /// Follows the chains, and takes digests that are absent as if they were added.
    pub(super) fn proving(marks: DigestMarks) -> Self {
        Self {
            proves: true,
            ..Self::new(marks)
        }
    }

    /// Takes the next row. A row that is not wanted counts only as a position.
    pub fn take(&mut self, row: LogRow, is_wanted: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        self.position(row.position, &mut steps);
        if !is_wanted {
            return steps;
        }
        let (position, version) = (row.position, row.version);
        let Some(stream) = row.stream else {
            steps.push(wrong(position, None, position.0, "its stream is unknown"));
            return steps;
        };
        let key = hash(&stream);
        if !self.version(&stream, key, (position, version), &mut steps) {
            return steps;
        }
        match row.content {
            Ok(content) => self.event(&stream, key, (position, version), &content, &mut steps),
            Err(why) => {
                self.lose(key);
                let why = format!("it can't be read: {why}");
                steps.push(wrong(position, Some(&stream), version, &why));
            }
        }
        steps
    }

    /// Whether there are commits of which events are still to come.
    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The version of a stream, as far as it was followed; 0 for one without events.
    pub fn version_of(&self, stream: &str) -> u64 {
        self.tips.get(&hash(stream)).map_or(0, |tip| tip.version)
    }

    /// Returns the commits that are not whole at the end of the log.
    pub fn not_whole(&self) -> Vec<Step> {
        self.open.values().map(not_whole).collect()
    }

    fn position(&mut self, position: Position, steps: &mut Vec<Step>) {
        let expected = self.last.0.saturating_add(1);
        self.last = position;
        let Some(gapless) = self.marks.gapless_after else {
            return;
        };
        let first = expected.max(gapless.0.saturating_add(1));
        if first < position.0 {
            let text = missing("position", first, position.0 - 1);
            steps.push(wrong(position, None, first, &text));
        }
    }

    /// Checks the version of a row. Returns false when the row is passed over.
    fn version(
        &mut self,
        stream: &str,
        key: u64,
        (position, version): (Position, u64),
        steps: &mut Vec<Step>,
    ) -> bool {
        let tip = self.tips.entry(key).or_default();
        let expected = tip.version.saturating_add(1);
        if version < expected {
            let why = format!("version {version} follows version {}", tip.version);
            steps.push(wrong(position, Some(stream), version, &why));
            return false;
        }
        tip.version = version;
        if version > expected {
            let text = missing("version", expected, version - 1);
            steps.push(wrong(position, Some(stream), expected, &text));
            self.lose(key);
        }
        true
    }

    /// After something wrong, the previous digest of the next commit is not known.
    fn lose(&mut self, key: u64) {
        self.open.remove(&key);
        if let Some(tip) = self.tips.get_mut(&key) {
            tip.is_unknown = true;
            tip.skips = true;
        }
    }

    fn event(
        &mut self,
        stream: &str,
        key: u64,
        (position, version): (Position, u64),
        content: &RowContent,
        steps: &mut Vec<Step>,
    ) {
        match &content.commit {
            Some(commit) if content.offset == 0 && commit.events > 0 => {
                if let Some(open) = self.open.remove(&key) {
                    steps.push(not_whole(&open));
                }
                let previous = self.previous(key);
                let fields = commit.fields(stream, version);
                let mut hasher = CommitHasher::new(&previous, &fields);
                hasher.event(&content.fields());
                let open = Open {
                    stream: stream.into(),
                    first: position,
                    first_version: version,
                    seen: 1,
                    events: commit.events,
                    stored: commit.digest.clone(),
                    hasher,
                };
                self.open.insert(key, open);
            }
            _ => match self.open.get_mut(&key) {
                Some(open) if content.offset == open.seen => {
                    open.seen += 1;
                    open.hasher.event(&content.fields());
                }
                _ => {
                    let skips = self.tips.get(&key).is_some_and(|tip| tip.skips);
                    if !skips {
                        let offset = content.offset;
                        let why = format!(
                            "it is event {offset} of a commit, and not after the one before"
                        );
                        steps.push(wrong(position, Some(stream), version, &why));
                    }
                    self.lose(key);
                    return;
                }
            },
        }
        if self
            .open
            .get(&key)
            .is_some_and(|open| open.seen == open.events)
            && let Some(open) = self.open.remove(&key)
        {
            steps.push(self.whole(stream, key, &open));
        }
    }

    /// The digests that the next commit of a stream may follow; empty when they are not known.
    fn previous(&mut self, key: u64) -> Vec<Option<Digest>> {
        let late = self.marks.proved.max(self.marks.unproved);
        let tip = self.tips.entry(key).or_default();
        tip.skips = false;
        if std::mem::take(&mut tip.is_unknown) {
            return Vec::new();
        }
        let mut previous = vec![tip.digest];
        previous.extend(tip.other.take());
        // The digest of the one before may have been added after this commit was written.
        if tip.digest.is_some() && tip.first <= late {
            previous.push(None);
        }
        previous
    }

    fn whole(&mut self, stream: &str, key: u64, open: &Open) -> Step {
        let computed: Vec<Digest> = open.hasher.digests().collect();
        let stored = open.stored.as_deref();
        let stored = stored.map(|bytes| <[u8; 32]>::try_from(bytes).map(Digest).ok());
        let tip = self.tips.entry(key).or_default();
        tip.first = open.first;
        let last_version = open.first_version + open.events - 1;
        let versions = match open.events {
            1 => format!("version {last_version}"),
            _ => format!("versions {} to {last_version}", open.first_version),
        };
        let why = match (stored, computed.first()) {
            (None, computed) if open.first <= self.marks.unproved => {
                tip.digest = computed.copied().filter(|_| self.proves);
                return Step::Unproved(computed.map(|digest| AddedDigest {
                    first: open.first,
                    stream: stream.into(),
                    last_version,
                    digest: *digest,
                }));
            }
            (None, computed) => {
                // A host that appends after it begins a chain.
                tip.digest = None;
                tip.other = computed.map(|digest| Some(*digest));
                format!(
                    "the commit of {versions} has no digest: it was inserted, or its digest was removed"
                )
            }
            (Some(Some(digest)), _) if computed.is_empty() || computed.contains(&digest) => {
                tip.digest = Some(digest);
                return Step::Proved;
            }
            (Some(digest), computed) => {
                // The next commit follows the digest as it was written.
                tip.digest = digest;
                tip.other = computed.map(|digest| Some(*digest));
                format!("the commit of {versions} does not have its digest: it was changed")
            }
        };
        wrong(open.first, Some(stream), open.first_version, &why)
    }
}

/// The finding about a commit of which events are missing.
fn not_whole(open: &Open) -> Step {
    let why = format!("its commit has {} events of {}", open.seen, open.events);
    wrong(open.first, Some(&open.stream), open.first_version, &why)
}

fn missing(what: &str, first: u64, last: u64) -> String {
    match first == last {
        true => format!("{what} {first} is missing: its event was removed"),
        false => format!("{what}s {first} to {last} are missing: their events were removed"),
    }
}

fn wrong(position: Position, stream: Option<&str>, version: u64, text: &str) -> Step {
    Step::Wrong(Wrong {
        position,
        stream: stream.map(Into::into),
        version,
        text: text.to_owned(),
    })
}

fn hash(stream: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    stream.hash(&mut hasher);
    hasher.finish()
}
