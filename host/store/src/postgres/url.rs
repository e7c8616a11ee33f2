use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use super::Options;
use crate::{Error, Result};

/// Schema of a URL that names none.
const SCHEMA: &str = "quipu";

/// Bounds of `readers_max`: one connection of them listens, and a transaction may need a second
/// one.
const READERS: RangeInclusive<u32> = 3..=100;
/// Bounds of `reader_wait_max_ms`, `reader_answer_max_ms`, `writer_wait_max_ms` and
/// `import_max_ms`.
const WAIT_MS: RangeInclusive<u32> = 1..=600_000;

/// The address of a store in PostgreSQL: a database, and a schema in it, which the parameter
/// `schema` names. `readers_max` bounds the connections for reading (3 to 100),
/// `reader_wait_max_ms` how long a read waits for one of them, `reader_answer_max_ms` how long it
/// waits for an answer on it, `writer_wait_max_ms` how long a batch waits for a lost connection
/// or an answer, and `import_max_ms` how long one part of an import may take.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// The URL without the store's own parameters, as the driver reads it.
    database: String,
    schema: String,
    readers: Option<u32>,
    reader_wait_ms: Option<u32>,
    reader_answer_ms: Option<u32>,
    writer_wait_ms: Option<u32>,
    import_ms: Option<u32>,
}

impl Url {
    /// The store's schema.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The address of a tenant's store: another schema of the same database, with as few
    /// connections as possible, because there may be many tenants.
    pub fn of_tenant(&self, schema: &str) -> Result<Self> {
        check_schema(schema)?;
        Ok(Self {
            schema: schema.to_owned(),
            readers: Some(*READERS.start()),
            ..self.clone()
        })
    }

    /// Options with those that the URL gives.
    pub fn or(&self, options: &Options) -> Options {
        let or =
            |ms: Option<u32>, default| ms.map_or(default, |ms| Duration::from_millis(ms.into()));
        Options {
            readers: self.readers.unwrap_or(options.readers),
            reader_wait_max: or(self.reader_wait_ms, options.reader_wait_max),
            reader_answer_max: or(self.reader_answer_ms, options.reader_answer_max),
            writer_wait_max: or(self.writer_wait_ms, options.writer_wait_max),
            import_max: or(self.import_ms, options.import_max),
            ..options.clone()
        }
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
            // A store has few tables and an index for every question, in the order of the answer.
            // Without statistics the planner would read a young table as a whole, or sort the
            // rest of the log for each page.
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
        ]))
    }
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut schema = SCHEMA;
        let (mut readers, mut reader_wait_ms) = (None, None);
        let (mut reader_answer_ms, mut writer_wait_ms, mut import_ms) = (None, None, None);
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("schema", name)) => schema = name,
                Some((name @ "readers_max", number)) => {
                    readers = Some(bounded(name, number, &READERS)?);
                }
                Some((name @ "reader_wait_max_ms", number)) => {
                    reader_wait_ms = Some(bounded(name, number, &WAIT_MS)?);
                }
                Some((name @ "reader_answer_max_ms", number)) => {
                    reader_answer_ms = Some(bounded(name, number, &WAIT_MS)?);
                }
                Some((name @ "writer_wait_max_ms", number)) => {
                    writer_wait_ms = Some(bounded(name, number, &WAIT_MS)?);
                }
                Some((name @ "import_max_ms", number)) => {
                    import_ms = Some(bounded(name, number, &WAIT_MS)?);
                }
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
        check_schema(schema)?;
        let database = match others.as_slice() {
            [] => base.to_owned(),
            others => format!("{base}?{}", others.join("&")),
        };
        let url = Self {
            database,
            schema: schema.to_owned(),
            readers,
            reader_wait_ms,
            reader_answer_ms,
            writer_wait_ms,
            import_ms,
        };
        url.options()?;
        Ok(url)
    }
}

/// Refuses the name of a schema that would need quotes, or that the server reserves.
fn check_schema(schema: &str) -> Result<()> {
    let is_well_formed = schema.len() <= 63
        && schema.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && !schema.starts_with("pg_")
        && schema
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    match is_well_formed {
        true => Ok(()),
        false => Err(Error::Url(format!(
            "store schema {schema:?}: 1 to 63 of a-z, 0-9 and _, beginning with a letter"
        ))),
    }
}

/// A number within bounds.
fn bounded(name: &str, number: &str, bounds: &RangeInclusive<u32>) -> Result<u32> {
    let found = number.parse().ok().filter(|it| bounds.contains(it));
    found.ok_or_else(|| {
        let (min, max) = (bounds.start(), bounds.end());
        Error::Url(format!("store {name}={number:?}: expected {min} to {max}"))
    })
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

/// As it is displayed, because the address may have a password.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
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
    fn connections_and_waits_are_bounded_by_the_url() {
        let text = "postgres://db/bank?readers_max=4&reader_wait_max_ms=500&\
                    reader_answer_max_ms=600&writer_wait_max_ms=700&import_max_ms=800&port=7";
        let url: Url = text.parse().unwrap();
        assert_eq!(url.database, "postgres://db/bank?port=7");
        let options = url.or(&Options::default());
        assert_eq!(options.readers, 4);
        assert_eq!(options.reader_wait_max, Duration::from_millis(500));
        assert_eq!(options.reader_answer_max, Duration::from_millis(600));
        assert_eq!(options.writer_wait_max, Duration::from_millis(700));
        assert_eq!(options.import_max, Duration::from_millis(800));
        for wrong in [
            "readers_max=2",
            "readers_max=101",
            "reader_wait_max_ms=x",
            "reader_answer_max_ms=0",
            "writer_wait_max_ms=0",
            "import_max_ms=0",
        ] {
            let text = format!("postgres://db/bank?{wrong}");
            let why = text.parse::<Url>().unwrap_err().to_string();
            assert!(why.contains("expected "), "{why}");
        }
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
