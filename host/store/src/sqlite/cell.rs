//! Reading columns without a panic: a stored value of another kind is damage.

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row, Type};

use crate::{Error, Result};
use quipu_model::Digest;

/// Columns by their number.
pub trait Cells {
    /// The value of a column.
    fn cell<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(&'r self, column: usize) -> Result<T>;

    /// A number that is never negative.
    fn number(&self, column: usize) -> Result<u64>;

    /// The same, where there may be none.
    fn maybe_number(&self, column: usize) -> Result<Option<u64>>;

    /// Length of a value in bytes; 0 for none, or for one of another kind.
    fn bytes(&self, column: usize) -> usize;

    /// A module's digest.
    fn maybe_digest(&self, column: usize) -> Result<Option<Digest>>;

    /// A module's digest that must be there.
    fn digest(&self, column: usize) -> Result<Digest> {
        self.maybe_digest(column)?
            .ok_or_else(|| Error::Damaged("a module without a digest".to_owned()))
    }
}

impl Cells for SqliteRow {
    fn cell<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(&'r self, column: usize) -> Result<T> {
        self.try_get(column)
            .map_err(|error| Error::Damaged(error.to_string()))
    }

    fn number(&self, column: usize) -> Result<u64> {
        let number: i64 = self.cell(column)?;
        u64::try_from(number)
            .map_err(|_| Error::Damaged(format!("a negative number in column {column}")))
    }

    fn maybe_number(&self, column: usize) -> Result<Option<u64>> {
        let number: Option<i64> = self.cell(column)?;
        number.map(|_| self.number(column)).transpose()
    }

    fn bytes(&self, column: usize) -> usize {
        self.try_get::<Option<&[u8]>, _>(column)
            .ok()
            .flatten()
            .map_or(0, <[u8]>::len)
    }

    fn maybe_digest(&self, column: usize) -> Result<Option<Digest>> {
        let Some(bytes) = self.cell::<Option<&[u8]>>(column)? else {
            return Ok(None);
        };
        let bytes = bytes
            .try_into()
            .map_err(|_| Error::Damaged("a module's digest does not have 32 bytes".to_owned()))?;
        Ok(Some(Digest(bytes)))
    }
}
