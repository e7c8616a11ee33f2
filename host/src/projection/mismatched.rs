//! Reports about documents that differ from what they should be.

use std::sync::Arc;

use super::rules::FoldFailure;
use super::settle::Suspect;
use super::verify::{Checking, Mismatched};
use crate::model::{Mismatch, Position};

/// Limit for the number of streams with unreadable events that are reported only once.
const UNREADABLE_MAX: usize = 10_000;
/// Limit for the bytes of a document that a report shows.
const TEXT_MAX: usize = 400;
/// How many bytes before the first difference a report shows.
const TEXT_BEFORE: usize = 100;

impl Checking<'_> {
    fn report(&mut self, key: Arc<str>, mismatch: Mismatch, position: Position, text: String) {
        self.compared.different += 1;
        (self.found)(Mismatched {
            projection: Arc::clone(&self.rules.name),
            key,
            mismatch,
            position,
            text,
        });
    }

    pub(super) fn report_unfoldable(&mut self, key: Arc<str>, stuck: &FoldFailure) {
        let (position, stream) = (stuck.position, &stuck.stream);
        let text = format!("stream {stream}, position {position}: {}", stuck.error);
        self.report(key, Mismatch::Unfoldable, position, text);
    }

    pub(super) fn report_unreadable(&mut self, stuck: FoldFailure) {
        if self.unreadable.contains(&stuck.stream) {
            return;
        }
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.insert(stuck.stream.clone());
        }
        let key = stuck.stream.as_str().into();
        let text = stuck.error.into_string();
        self.report(key, Mismatch::Unreadable, stuck.position, text);
    }

    pub(super) fn report_different(&mut self, suspect: &Suspect, stored: Option<&Arc<str>>) {
        let folded = suspect.folded.as_ref();
        let mismatch = match (stored, folded) {
            (Some(_), Some(_)) => Mismatch::Different,
            (Some(_), None) => Mismatch::OnlyStored,
            (None, _) => Mismatch::OnlyFolded,
        };
        let from = match (stored, folded) {
            (Some(stored), Some(folded)) => common(stored, folded).saturating_sub(TEXT_BEFORE),
            _ => 0,
        };
        let stored = stored.map(|stored| format!("- {}", excerpt(stored, from)));
        let folded = folded.map(|folded| format!("+ {}", excerpt(folded, from)));
        let lines: Vec<String> = stored.into_iter().chain(folded).collect();
        let key = Arc::clone(&suspect.key);
        self.report(key, mismatch, suspect.at, lines.join("\n"));
    }
}

/// Returns the length of the common prefix of two texts, in bytes.
fn common(one: &str, other: &str) -> usize {
    let pairs = one.bytes().zip(other.bytes());
    pairs.take_while(|(one, other)| one == other).count()
}

/// Returns a part of a text that starts at about the given byte.
fn excerpt(text: &str, from: usize) -> String {
    let from = text.floor_char_boundary(from);
    let to = text.floor_char_boundary(from + TEXT_MAX);
    let (before, after) = (from > 0, to < text.len());
    let mark = |is_cut: bool| if is_cut { "…" } else { "" };
    format!("{}{}{}", mark(before), &text[from..to], mark(after))
}
