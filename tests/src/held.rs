//! Commits that take as long as a test wants.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::{Place, postgres};

/// A session next to the host that has the right to write into its store. Every commit of the host
/// waits for it, as for a disk or a server that takes long. Reads go on.
pub enum HeldCommits {
    /// Of a SQLite file, whose host gives up a commit after 5 s.
    Sqlite(SqliteConnection),
    /// Of a schema, whose host gives up a commit after 10 s.
    Postgres(PgConnection),
}

impl HeldCommits {
    /// Lets the commits of a store wait.
    pub async fn at(place: &Place) -> Self {
        let Some(schema) = place.schema() else {
            let file = place.url().strip_prefix("sqlite:").unwrap();
            let options = SqliteConnectOptions::new().filename(file);
            let mut session = options.connect().await.unwrap();
            session.execute("BEGIN IMMEDIATE").await.unwrap();
            return Self::Sqlite(session);
        };
        let mut session = postgres::server().connect().await;
        let lock = format!("BEGIN; LOCK TABLE {schema}.events IN SHARE ROW EXCLUSIVE MODE");
        session.execute(AssertSqlSafe(lock)).await.unwrap();
        Self::Postgres(session)
    }

    /// Lets them go on.
    pub async fn release(self) {
        match self {
            Self::Sqlite(mut session) => {
                session.execute("ROLLBACK").await.unwrap();
                session.close().await.unwrap();
            }
            Self::Postgres(mut session) => {
                session.execute("ROLLBACK").await.unwrap();
                session.close().await.unwrap();
            }
        }
    }
}
