use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Invalid, Position, Version};
use crate::store::{BuildId, ParkedDocument};

/// How fresh a projection must be for a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The documents must include everything up to here.
    pub after: Position,
    /// How long to wait for that.
    pub wait: Duration,
}

/// A document as readers receive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Key of the document.
    pub key: Arc<str>,
    /// The document, as JSON.
    pub document: Arc<str>,
    /// Change number. It rises with each change of a document in its build.
    pub change: u64,
    /// The document includes everything up to here, except parked events.
    pub position: Position,
    /// The document may differ from what a rebuild under the current plan would produce: events it
    /// was folded from are read differently now, or the check is still running.
    pub is_stale: bool,
    /// Events that are parked for the document. `None` if there are none. Always `None` in pages:
    /// see [`ViewPage::parked`].
    pub parked: Option<ParkedDocument>,
}

/// Selects the documents to read.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Conditions, all of which must hold.
    pub conditions: Vec<Condition>,
    /// The sort order. `None` sorts by the index of the first condition, or by key if there is no
    /// condition.
    pub order: Option<OrderBy>,
    /// Largest number of documents to return, from 1 to 1,000.
    pub limit: usize,
    /// The cursor of the previous page.
    pub cursor: Option<String>,
}

/// A condition on an indexed value: `amount>=1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Name of the index.
    pub index: String,
    /// `=`, `<`, `<=`, `>` or `>=`.
    pub comparison: Compares,
    /// The value, written as the kind of the index requires.
    pub value: String,
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compares {
    /// The indexed value is equal.
    Equal,
    /// The indexed value is less.
    Less,
    /// The indexed value is less or equal.
    AtMost,
    /// The indexed value is greater.
    Greater,
    /// The indexed value is greater or equal.
    AtLeast,
}

/// A sort order of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// Name of the index to sort by. `None` sorts by key.
    pub index: Option<String>,
    /// Whether the greatest comes first.
    pub is_descending: bool,
}

/// A page of documents.
#[derive(Debug, Clone)]
pub struct ViewPage {
    /// The documents. A page before the last one may have fewer than requested, or none.
    pub documents: Vec<View>,
    /// Where the next page starts. `None` on the last page.
    pub cursor: Option<String>,
    /// The documents include everything up to here, except parked events.
    pub position: Position,
    /// See [`View::is_stale`].
    pub is_stale: bool,
    /// Number of documents and streams of the projection for which events are parked, whether or
    /// not they are in this page.
    pub parked: u64,
}

/// The documents made from only the events of one stream.
#[derive(Debug, Clone)]
pub struct Live {
    /// Keys and documents, in key order.
    pub documents: Vec<(Arc<str>, Arc<str>)>,
    /// Version of the stream.
    pub version: Version,
    /// Events before this version were truncated. The documents do not include them.
    pub truncated_before: Version,
}

/// A change of the documents of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A document changed. Several changes in a row may be reported as only the last one.
    Document {
        /// Key of the document.
        key: Arc<str>,
        /// The document, as JSON. `None` if it was deleted.
        document: Option<Arc<str>>,
        /// The change. A reader can resume after it, if the document is the last one of this
        /// change.
        at: ChangePlace,
        /// Whether this is the last document of the change. All documents changed by one event have
        /// the same change number.
        is_last: bool,
    },
    /// Another build became active. Readers must discard the documents received so far, because all
    /// documents of the new build follow.
    Switched {
        /// Version of the definition.
        version: u32,
        /// The start of the new build, to resume from.
        at: ChangePlace,
    },
    /// No change up to here.
    Heartbeat(ChangePlace),
}

/// A checkpoint in the changes of a projection's documents, written `BUILD-CHANGE`. Changes are
/// counted separately in each build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangePlace {
    /// The build.
    pub build: BuildId,
    /// The last change of the build that was processed, or 0 if none was.
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
        // The databases' integers are signed.
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

    /// Parses `index=value`, or the same with `<`, `<=`, `>` or `>=`.
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
