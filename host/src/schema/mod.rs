//! Checks JSON against a JSON Schema that a guest declares.
//!
//! Schemas come from guests, and data from callers, so both are hostile: the size of a schema, the
//! depth and the steps of a check are bounded, references lead only into the schema itself, and no
//! regular expression is executed. A general validator has no bound for the work of one check: a
//! schema of a few hundred bytes that offers the same alternative twice at every level takes time
//! that doubles with each level of the data.

mod check;
mod compile;
mod keywords;
mod number;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::Value;

use self::number::Number;

/// Longest schema, in bytes.
pub const BYTES_MAX: usize = 64 << 10;
/// Highest number of schemas within a schema.
pub const NODES_MAX: usize = 2_000;
/// Highest number of steps of one check. A step takes a few nanoseconds.
pub const STEPS_MAX: usize = 1_000_000;

/// A JSON Schema that can be checked: the keywords that schemars and the SDKs for TypeScript and
/// Python write.
///
/// `pattern`, `patternProperties` and `unevaluatedProperties` are not checked; data that only they
/// refuse passes.
///
/// ```
/// use quipu::schema::Schema;
///
/// let schema = r#"{"properties": {"amount": {"type": "integer", "minimum": 1}}}"#;
/// let schema = Schema::new(schema)?;
/// let mismatch = schema.check(br#"{"amount": 0}"#).unwrap_err();
/// assert_eq!(mismatch.to_string(), "/amount: minimum: expected at least 1, found 0");
/// # Ok::<(), quipu::schema::Unsupported>(())
/// ```
pub struct Schema {
    /// The first one is the root.
    nodes: Vec<Node>,
    /// Whether it has a keyword that is not checked.
    is_partial: bool,
}

/// Why a schema can't be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(String);

/// The first place where data does not match a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON pointer to the value; `/` is the whole data.
    pub path: String,
    /// The keyword of the schema.
    pub rule: &'static str,
    /// What it expects, and what it found.
    pub text: String,
    /// Number of members and elements that lead to the value.
    depth: usize,
}

/// The result of a check, and its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Where the data do not match, if they do not.
    pub mismatch: Option<Mismatch>,
    /// Number of steps that the check took.
    pub steps: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path, self.rule, self.text)
    }
}

/// A schema within a schema, by its place in the list.
type Place = usize;

/// One schema.
#[derive(Default)]
struct Node {
    /// `false`: nothing matches.
    is_never: bool,
    reference: Option<Place>,
    /// The types that match; empty: all.
    types: Vec<Kind>,
    /// `const` and `enum`.
    choices: Vec<Choices>,
    numbers: Vec<(&'static str, Bound, Number)>,
    /// Bounds of characters, elements and members.
    lengths: Vec<(&'static str, Kind, Bound, u64)>,
    required: Vec<Box<str>>,
    properties: HashMap<Box<str>, Place>,
    /// Of members that are not in `properties`.
    others: Option<Place>,
    prefix: Vec<Place>,
    items: Option<Place>,
    is_unique: bool,
    all: Vec<Place>,
    any: Vec<Place>,
    one: Vec<Place>,
    not: Option<Place>,
}

/// Values of which one matches.
struct Choices {
    rule: &'static str,
    texts: HashSet<Box<str>>,
    others: Vec<Value>,
    /// What it costs to compare the others.
    steps: usize,
    /// The values, for an error.
    expected: String,
}

/// A type of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    AtLeast,
    AtMost,
    MoreThan,
    LessThan,
}

impl Kind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Null, "null"),
        (Self::Boolean, "boolean"),
        (Self::Integer, "integer"),
        (Self::Number, "number"),
        (Self::String, "string"),
        (Self::Array, "array"),
        (Self::Object, "object"),
    ];

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if Number::of(number).is_integer() => Self::Integer,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, known)| *known == name).map(|(kind, _)| kind)
    }

    fn as_str(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|(known, _)| *known == self)
            .map_or("", |(_, name)| name)
    }

    /// Whether a value of this kind matches a type.
    fn is(self, wanted: Self) -> bool {
        self == wanted || (self, wanted) == (Self::Integer, Self::Number)
    }
}

impl Bound {
    fn as_str(self) -> &'static str {
        match self {
            Self::AtLeast => "at least",
            Self::AtMost => "at most",
            Self::MoreThan => "more than",
            Self::LessThan => "less than",
        }
    }

    fn admits(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::AtLeast => order.is_ge(),
            Self::AtMost => order.is_le(),
            Self::MoreThan => order.is_gt(),
            Self::LessThan => order.is_lt(),
        }
    }
}

impl Schema {
    /// Number of schemas in it, including itself.
    pub fn parts(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has keywords that are not checked.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema of {} parts", self.nodes.len())
    }
}
