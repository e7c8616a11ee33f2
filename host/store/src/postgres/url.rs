use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::{Error, Result};

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
            .map_err(|error| Error::Url(format!("store postgres:…: {error}")))?;
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
                Some((name, _)) if is_known(name) => others.push(pair),
                // The driver would log it with its value, which may be a secret.
                Some((name, _)) if is_word(name) => {
                    tracing::warn!(
                        name,
                        "an unknown parameter of the store's address is ignored"
                    );
                }
                _ => tracing::warn!("a parameter of the store's address is ignored"),
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

/// Whether the driver knows a parameter.
fn is_known(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "ssl-root-cert",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "statement-cache-capacity",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "application_name",
    ];
    NAMES.contains(&name) || name.starts_with("options")
}

fn is_word(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
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
    fn only_parameters_that_the_driver_knows_reach_it() {
        let url: Url = "postgres://db/bank?sslmode=disable&passwd=s3cret&x@y&port=7&schema=loans"
            .parse()
            .unwrap();
        assert_eq!(url.database, "postgres://db/bank?sslmode=disable&port=7");
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
