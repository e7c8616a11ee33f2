use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Invalid, Position, Version};
use crate::store::{BuildId, ParkedDocument};

/// How far a projection has to be before it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Everything up to here must be in it.
    pub after: Position,
    /// How long to wait for that.
    pub wait: Duration,
}

/// A document as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its key.
    pub key: Arc<str>,
    /// JSON.
    pub document: Arc<str>,
    /// Rises with each change of a document in its build.
    pub change: u64,
    /// Everything up to here is in it, except what is parked.
    pub position: Position,
    /// It may not be what a rebuild under the present plan would make: events that it was folded
    /// from are read in another way by now, or that is being found out.
    pub is_stale: bool,
    /// Events that are parked for it; none when nothing is. Of a page it is not looked at: see
    /// [`ViewPage::parked`].
    pub parked: Option<ParkedDocument>,
}

/// Which documents to read.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// All of these hold.
    pub conditions: Vec<Condition>,
    /// In which order; by the index of the first condition, without one by key.
    pub order: Option<OrderBy>,
    /// At most so many, from 1 to 1,000.
    pub limit: usize,
    /// Where another page ended.
    pub cursor: Option<String>,
}

/// What holds of an indexed value: `amount>=1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Name of the index.
    pub index: String,
    /// `=`, `<`, `<=`, `>` or `>=`.
    pub comparison: Compares,
    /// The value, as its index has it.
    pub value: String,
}

/// How a value compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compares {
    /// It is this one.
    Equal,
    /// It is smaller.
    Less,
    /// It is smaller or this one.
    AtMost,
    /// It is greater.
    Greater,
    /// It is greater or this one.
    AtLeast,
}

/// An order of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// Name of the index; none: by key.
    pub index: Option<String>,
    /// From the greatest down.
    pub is_descending: bool,
}

/// Some documents.
#[derive(Debug, Clone)]
pub struct ViewPage {
    /// Fewer than asked for, or none, may stand before the end.
    pub documents: Vec<View>,
    /// Where to go on; none at the end.
    pub cursor: Option<String>,
    /// Everything up to here is in them, except what is parked.
    pub position: Position,
    /// See [`View::is_stale`].
    pub is_stale: bool,
    /// Documents and streams of the projection for which events are parked, whether they are
    /// in this page or not.
    pub parked: u64,
}

/// The documents that the events of one stream alone make.
#[derive(Debug, Clone)]
pub struct Live {
    /// By key, in its order.
    pub documents: Vec<(Arc<str>, Arc<str>)>,
    /// The stream's version.
    pub version: Version,
    /// Events before this version have left the stream's reads, and are not in them.
    pub truncated_before: Version,
}

/// What happens to the documents of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A document changed; of several changes in a row the last one may stand for all.
    Document {
        /// Its key.
        key: Arc<str>,
        /// JSON; none when it was deleted.
        document: Option<Arc<str>>,
        /// When it changed. Who comes back goes on behind it, if it is the last document of
        /// this change.
        at: ChangePlace,
        /// Whether no other document of the same change follows: of one event that changed
        /// several, only the last.
        is_last: bool,
    },
    /// Other documents are answered from now: forget those that were told, all of the new
    /// ones follow.
    Switched {
        /// Version of the definition.
        version: u32,
        /// To go on from: the beginning of the build.
        at: ChangePlace,
    },
    /// Nothing happened up to here.
    Heartbeat(ChangePlace),
}

/// How far someone has followed the changes of a projection's documents. Written
/// `BUILD-CHANGE`: changes are counted in each build by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangePlace {
    /// The build.
    pub build: BuildId,
    /// All up to this change of it is known; 0: nothing.
    pub change: u64,
}

impl fmt::Display for ChangePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.build.0, self.change)
    }
}

impl FromStr for ChangePlace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // The databases' numbers have a sign.
        let number = |text: &str| text.parse::<i64>().ok()?.try_into().ok();
        text.split_once('-')
            .and_then(|(build, change)| Some((number(build)?, number(change)?)))
            .map(|(build, change)| Self {
                build: BuildId(build),
                change,
            })
            .ok_or_else(|| {
                Invalid(format!(
                    "{text:?} is no place among changes, as 3-70: the id of a change"
                ))
            })
    }
}

impl FromStr for Condition {
    type Err = Invalid;

    /// `index=value`, or with `<`, `<=`, `>`, `>=`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            Invalid(format!(
                "condition {text:?}: it is INDEX=VALUE, or with <, <=, > or >="
            ))
        };
        let at = text.find(['=', '<', '>']).ok_or_else(wrong)?;
        let (index, rest) = text.split_at(at);
        let signs = [
            ("<=", Compares::AtMost),
            (">=", Compares::AtLeast),
            ("=", Compares::Equal),
            ("<", Compares::Less),
            (">", Compares::Greater),
        ];
        let found = signs
            .into_iter()
            .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
        let (comparison, value) = found.filter(|_| !index.is_empty()).ok_or_else(wrong)?;
        Ok(Self {
            index: index.to_owned(),
            comparison,
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_an_index_a_sign_and_a_value() {
        for (text, index, comparison, value) in [
            ("status=open", "status", Compares::Equal, "open"),
            ("a<5", "a", Compares::Less, "5"),
            ("a<=5", "a", Compares::AtMost, "5"),
            ("a>5", "a", Compares::Greater, "5"),
            ("a>=-5", "a", Compares::AtLeast, "-5"),
            ("a=", "a", Compares::Equal, ""),
            ("a==x", "a", Compares::Equal, "=x"),
            ("a=b=c<d", "a", Compares::Equal, "b=c<d"),
            ("a=<5", "a", Compares::Equal, "<5"),
        ] {
            let expected = Condition {
                index: index.to_owned(),
                comparison,
                value: value.to_owned(),
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "status", "=open", "<=5", "status!open"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_among_changes_is_written_and_read() {
        let place = ChangePlace {
            build: BuildId(3),
            change: 70,
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "3", "3-", "-70", "3-x", "3--7", "3-9223372036854775808"] {
            assert!(text.parse::<ChangePlace>().is_err(), "{text}");
        }
    }
}
