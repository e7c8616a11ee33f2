/// The indexes of a projection: values of its documents by which they can be found.
///
/// A JSON pointer says where a value is; an array there gives one entry for each
/// element. A document whose value is missing or of another kind is not in the index. At
/// most 16 indexes, and 1,000 entries a document in each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Indexes(Vec<Index>);

/// One index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// The name that queries use, of the form of a projection's name.
    pub name: &'static str,
    /// JSON pointer into the document.
    pub pointer: &'static str,
    /// How its values are compared.
    pub kind: Kind,
}

/// How an index compares its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Strings, compared by their bytes. Strings of more than 1,024 bytes are left out.
    Text,
    /// Signed 64-bit numbers without fraction.
    Integer,
    /// Numbers, compared as doubles.
    Number,
    /// Truth values: false comes before true.
    Boolean,
}

impl Indexes {
    /// No index: documents are found by their keys only.
    pub fn none() -> Self {
        Indexes::default()
    }

    /// Adds an index of strings.
    #[must_use]
    pub fn text(self, name: &'static str, pointer: &'static str) -> Self {
        self.with(name, pointer, Kind::Text)
    }

    /// Adds an index of numbers without fraction.
    #[must_use]
    pub fn integer(self, name: &'static str, pointer: &'static str) -> Self {
        self.with(name, pointer, Kind::Integer)
    }

    /// Adds an index of numbers.
    #[must_use]
    pub fn number(self, name: &'static str, pointer: &'static str) -> Self {
        self.with(name, pointer, Kind::Number)
    }

    /// Adds an index of truth values.
    #[must_use]
    pub fn boolean(self, name: &'static str, pointer: &'static str) -> Self {
        self.with(name, pointer, Kind::Boolean)
    }

    /// The indexes, in the order in which they were added.
    pub fn as_slice(&self) -> &[Index] {
        &self.0
    }

    fn with(mut self, name: &'static str, pointer: &'static str, kind: Kind) -> Self {
        self.0.push(Index {
            name,
            pointer,
            kind,
        });
        self
    }
}
