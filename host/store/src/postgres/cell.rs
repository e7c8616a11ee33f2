//! Reading columns without a panic: a stored value of another kind is damage.

use sqlx::postgres::{PgRow, Postgres};
use sqlx::{Decode, Row, Type};

use crate::{Error, Result};
use quipu_model::Digest;

/// Columns by their number.
pub trait Cells {
    /// The value of a column.
    fn cell<'r, T: Decode<'r, Postgres> + Type<Postgres>>(&'r self, column: usize) -> Result<T>;

    /// A number that is never negative; none for NULL.
    fn maybe_number(&self, column: usize) -> Result<Option<u64>>;

    /// A number that is never negative.
    fn number(&self, column: usize) -> Result<u64> {
        self.maybe_number(column)?
            .ok_or_else(|| Error::Damaged(format!("no number in column {column}")))
    }

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

impl Cells for PgRow {
    fn cell<'r, T: Decode<'r, Postgres> + Type<Postgres>>(&'r self, column: usize) -> Result<T> {
        self.try_get(column)
            .map_err(|error| Error::Damaged(error.to_string()))
    }

    fn maybe_number(&self, column: usize) -> Result<Option<u64>> {
        let number: Option<i64> = self.cell(column)?;
        number
            .map(u64::try_from)
            .transpose()
            .map_err(|_| Error::Damaged(format!("a negative number in column {column}")))
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
