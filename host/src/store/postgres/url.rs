use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::store::{Error, Result};

/// Schema of a URL that names none.
const SCHEMA: &str = "quipu";

/// Where a store in PostgreSQL is: a database, and a schema in it, which the parameter
/// `schema` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Without the schema, as the driver reads it.
    database: String,
    schema: String,
}

impl Url {
    /// The store's schema.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// How to connect to the database, with `schema` as the only one on the search path.
    pub fn options(&self) -> Result<PgConnectOptions> {
        let options = PgConnectOptions::from_str(&self.database)
            .map_err(|error| Error::Url(format!("store {self}: {error}")))?;
        Ok(options.application_name("quipu").options([
            ("search_path", self.schema.as_str()),
            // Whatever the server's default is.
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
            // A store has few tables and an index for every question; without statistics
            // the planner would read a young table as a whole.
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ]))
    }
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut schema = SCHEMA;
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("schema", name)) => schema = name,
                _ => others.push(pair),
            }
        }
        let well_formed = schema.len() <= 63
            && schema.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && !schema.starts_with("pg_")
            && schema
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !well_formed {
            return Err(Error::Url(format!(
                "store schema {schema:?}: 1 to 63 of a-z, 0-9 and _, beginning with a letter"
            )));
        }
        let database = match others.as_slice() {
            [] => base.to_owned(),
            others => format!("{base}?{}", others.join("&")),
        };
        let url = Self {
            database,
            schema: schema.to_owned(),
        };
        url.options()?;
        Ok(url)
    }
}

impl fmt::Display for Url {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.database.split('?').next().unwrap_or_default();
        let place = base.split_once("://").map_or(base, |(_, rest)| rest);
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        write!(f, "postgres://{place}?schema={}", self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_user_and_password() {
        let shown = |text: &str| text.parse::<Url>().unwrap().to_string();
        assert_eq!(
            shown("postgres://ann:s%40cret@db.example:5433/bank?schema=loans&sslmode=disable"),
            "postgres://db.example:5433/bank?schema=loans"
        );
        assert_eq!(
            shown("postgres://db/bank"),
            "postgres://db/bank?schema=quipu"
        );
    }

    #[test]
    fn a_schema_that_needs_quotes_is_refused() {
        for schema in [
            "", "Loans", "a-b", "a\"b", "1a", "pg_temp", "a,public", "a%20b",
        ] {
            let text = format!("postgres://db/bank?schema={schema}");
            assert!(text.parse::<Url>().is_err(), "{schema}");
        }
    }
}
