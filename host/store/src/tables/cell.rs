//! Reading columns without a panic: a stored value of another kind counts as damage.

use sqlx::{ColumnIndex, Decode, Row as _, Type};

use super::dialect::{Database, Row};
use crate::{Error, Result};
use quipu_model::Digest;

/// Columns by their name or number.
pub trait Cells {
    /// The value of a column.
    fn cell<'r, T: Decode<'r, Database> + Type<Database>>(
        &'r self,
        column: impl ColumnIndex<Row>,
    ) -> Result<T>;

    /// A number that is never negative; none for NULL.
    fn maybe_number(&self, column: impl ColumnIndex<Row>) -> Result<Option<u64>>;

    /// A number that is never negative.
    fn number(&self, column: impl ColumnIndex<Row>) -> Result<u64>;

    /// A number of 32 bits.
    fn small(&self, column: impl ColumnIndex<Row>) -> Result<u32>;

    /// A text, unless it is NULL.
    fn maybe_text(&self, column: impl ColumnIndex<Row>) -> Result<Option<Box<str>>>;

    /// Length of a value in bytes; 0 for none, or for one of another kind.
    fn bytes(&self, column: usize) -> usize;

    /// A module's digest.
    fn maybe_digest(&self, column: impl ColumnIndex<Row>) -> Result<Option<Digest>>;

    /// A module's digest that must be there.
    fn digest(&self, column: impl ColumnIndex<Row>) -> Result<Digest>;
}

impl Cells for Row {
    fn cell<'r, T: Decode<'r, Database> + Type<Database>>(
        &'r self,
        column: impl ColumnIndex<Row>,
    ) -> Result<T> {
        Ok(self.try_get(column)?)
    }

    fn maybe_number(&self, column: impl ColumnIndex<Row>) -> Result<Option<u64>> {
        let number: Option<i64> = self.cell(column)?;
        let number = number.map(u64::try_from).transpose();
        number.map_err(|_| Error::Damaged("a negative number".to_owned()))
    }

    fn number(&self, column: impl ColumnIndex<Row>) -> Result<u64> {
        let number = u64::try_from(self.cell::<i64>(column)?);
        number.map_err(|_| Error::Damaged("a negative number".to_owned()))
    }

    fn small(&self, column: impl ColumnIndex<Row>) -> Result<u32> {
        let number = u32::try_from(self.cell::<i64>(column)?);
        number.map_err(|_| Error::Damaged("a number that does not fit 32 bits".to_owned()))
    }

    fn maybe_text(&self, column: impl ColumnIndex<Row>) -> Result<Option<Box<str>>> {
        Ok(self.cell::<Option<&str>>(column)?.map(Into::into))
    }

    fn bytes(&self, column: usize) -> usize {
        self.try_get::<Option<&[u8]>, _>(column)
            .ok()
            .flatten()
            .map_or(0, <[u8]>::len)
    }

    fn maybe_digest(&self, column: impl ColumnIndex<Row>) -> Result<Option<Digest>> {
        let Some(bytes) = self.cell::<Option<&[u8]>>(column)? else {
            return Ok(None);
        };
        let bytes = bytes
            .try_into()
            .map_err(|_| Error::Damaged("a module's digest does not have 32 bytes".to_owned()))?;
        Ok(Some(Digest(bytes)))
    }

    fn digest(&self, column: impl ColumnIndex<Row>) -> Result<Digest> {
        self.maybe_digest(column)?
            .ok_or_else(|| Error::Damaged("a module without a digest".to_owned()))
    }
}

/// Decodes a type from a row: `from_row!(Type, |row| Ok(Type { .. }))`. The feature `derive` of
/// sqlx would need a conversion for each id, and has none for numbers that may be NULL.
macro_rules! from_row {
    ($type:ty, $read:expr) => {
        impl sqlx::FromRow<'_, super::dialect::Row> for $type {
            fn from_row(row: &super::dialect::Row) -> sqlx::Result<Self> {
                let read: fn(&super::dialect::Row) -> crate::Result<Self> = $read;
                read(row).map_err(|error| sqlx::Error::Decode(Box::new(error)))
            }
        }
    };
}
pub(super) use from_row;
