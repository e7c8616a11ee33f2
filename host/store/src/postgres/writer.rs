//! The one connection of a host that writes.
//!
//! A batch is classified by the shared rules on what this host believes of the store, and sent as
//! one call, which writes it if the beliefs hold. Where they don't, the second try is a transaction
//! that first locks the rows that it reads.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::Executor;

use super::batch::Attempt;
use super::cell::Cells;
use super::connection::{Connection, Pool};
use super::error::Failure;
use super::import;
use super::loaded::LoadedHeads;
use super::lookup;
use super::losses::Newest;
use super::memory::Memory;
use super::origins;
use super::schema;
use super::sent::SentBatch;
use super::session::{Backend, Session, Settings};
use super::wakes::CommitSignals;
use crate::last_write::LastWrite;
use crate::migrations::POSTGRES;
use crate::projected::wanted;
use crate::{Error, EventWriter, Import, InlineFold, Item, Outcome, Result};
use quipu_model::Throttle;

/// How often a batch that failed for a transient reason is retried at once.
const TRIES: u32 = 10;
/// How long a check waits for the server's answer.
const CHECKED_IN: Duration = Duration::from_millis(400);
/// The longest pause between two attempts to connect.
const CONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long an attempt to connect lasts at least before it is given up.
const CONNECT_MIN: Duration = Duration::from_secs(10);

/// Whether the server is read-only, and whether events were found lost or the store was migrated so
/// that earlier programs may not write.
const CHECK: &str = "SELECT current_setting('transaction_read_only') = 'on', \
    EXISTS (SELECT FROM meta WHERE name = 'lost' OR (name = 'writers_from' AND value > int8send($1)))";

/// A row that no reader sees, because it is never committed. What it has can't be compressed.
const TRIAL: &str = "INSERT INTO events \
    (position, stream_id, version, type_id, event_id, recorded_at, commit_offset, data) \
    VALUES (-1, -1, -1, -1, '00000000-0000-0000-0000-000000000000', 0, 0, $1)";
const TRIAL_BYTES: usize = 64 << 10;

/// Why a connection is given up.
const SILENT: &str = "the server does not answer: it can't be reached, or it waits for a \
    synchronous standby";

/// Bounds the wait for the server. One that lost its power ends no connection, and a commit waits
/// for a synchronous standby without a bound of its own.
async fn answered<T>(
    wait: Duration,
    answer: impl Future<Output = std::result::Result<T, Failure>>,
) -> std::result::Result<T, Failure> {
    let answer = tokio::time::timeout(wait, answer).await;
    answer.unwrap_or_else(|_| Err(Failure::Lost(Error::Unavailable(SILENT.to_owned()))))
}

/// Writes the batches of one host.
pub struct Writer {
    settings: Settings,
    pool: Pool,
    signals: CommitSignals,
    session: Option<Session>,
    memory: Memory,
    loaded: LoadedHeads,
    newest: Newest,
    /// A back-end whose last answer was lost, and may still be at work.
    suspect: Option<Backend>,
    /// A back-end that waits for a synchronous standby, and nothing else.
    confirming: Option<Backend>,
    last_write: LastWrite,
    /// Limits log entries about lost connections: a server that is away loses each.
    losses: Throttle,
    /// Whether a batch has waited for the server in vain. The next batches then don't wait.
    is_down: bool,
    /// Whether an import has begun, so that no other host may write between its parts.
    is_importing: bool,
}

impl Writer {
    /// A writer that connects with its first batch, on the runtime that commits it.
    pub fn new(
        settings: Settings,
        pool: Pool,
        signals: CommitSignals,
        (loaded, newest): (LoadedHeads, Newest),
    ) -> Self {
        Self {
            settings,
            pool,
            signals,
            session: None,
            memory: Memory::new(),
            loaded,
            newest,
            suspect: None,
            confirming: None,
            last_write: LastWrite::default(),
            losses: Throttle::default(),
            is_down: false,
            is_importing: false,
        }
    }

    /// Until when to wait for a connection.
    fn until(&self) -> Instant {
        let wait = self.settings.options.writer_wait_max;
        Instant::now() + if self.is_down { Duration::ZERO } else { wait }
    }

    async fn attempt(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
        tries: u32,
        sent: &mut Option<SentBatch>,
    ) -> std::result::Result<Vec<Outcome>, Failure> {
        let Some(session) = &mut self.session else {
            return Err(Failure::Lost(Error::Unavailable(
                "no connection".to_owned(),
            )));
        };
        let mut attempt = Attempt {
            connection: &mut session.connection,
            memory: &mut self.memory,
            loaded: &self.loaded,
            newest: &self.newest,
            namespace: self.settings.namespace,
            sent,
            inline,
        };
        let committing = attempt.commit(items, tries > 0);
        let outcomes = answered(self.settings.options.writer_wait_max, committing).await?;
        self.signals.committed(&outcomes);
        Ok(outcomes)
    }

    /// Records a failure: beliefs may be wrong, and a connection whose answer was lost is not
    /// reused.
    fn failed(&mut self, failure: &Failure) {
        match failure {
            Failure::Lost(error) => {
                if let Some(left_out) = self.losses.pass(&error.to_string()) {
                    tracing::warn!(%error, left_out, "the connection to PostgreSQL was lost");
                }
                self.forget();
            }
            Failure::Again(error) | Failure::Refused(error) => {
                tracing::debug!(%error, "a batch was not stored");
                self.memory = self.memory.forgotten();
            }
        }
    }

    fn forget(&mut self) {
        if let Some(session) = self.session.take() {
            self.suspect = Some(session.backend);
        }
        self.memory = self.memory.forgotten();
    }

    /// Ensures that there is a connection, and that the last one can't do anything any more.
    async fn ready(&mut self, until: Instant) -> Result<()> {
        let mut pause = Duration::from_millis(10);
        loop {
            let now = Instant::now();
            let wait = until.saturating_duration_since(now).max(CONNECT_MIN);
            match answered(wait, self.connected(until)).await {
                Ok(()) => {
                    self.is_down = false;
                    return Ok(());
                }
                Err(Failure::Refused(error)) => return Err(error),
                Err(failure) => {
                    self.forget();
                    if Instant::now() + pause >= until {
                        self.is_down = true;
                        return Err(failure.into_error());
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(CONNECT_PAUSE_MAX);
                }
            }
        }
    }

    async fn connected(&mut self, until: Instant) -> std::result::Result<(), Failure> {
        if self.session.is_none() {
            self.newest.refuse_known()?;
            let mut session = Session::begin(&self.settings).await?;
            if let Some(suspect) = self.suspect {
                if !session.end(suspect, until).await? {
                    let why = "the back-end of a lost connection is still at work, or waits for \
                               a synchronous standby: see pg_stat_activity";
                    return Err(Failure::Lost(Error::Unavailable(why.to_owned())));
                }
                let earlier = self.confirming.replace(session.backend);
                session.confirm(earlier).await?;
            }
            (self.suspect, self.confirming) = (None, None);
            let namespace = self.settings.namespace;
            // After the end of the last connection, which may exclude even this one.
            session.enter(namespace).await?;
            import::follow(&mut session.connection, namespace).await?;
            schema::check_still(&mut session.connection).await?;
            origins::check(&mut session.connection, namespace).await?;
            let newest = &self.newest;
            newest.check(&mut session.connection, namespace).await?;
            check_plan(&mut session.connection, self.memory.newest_plan).await?;
            if self.memory.floor.is_none() {
                let row = sqlx::query("SELECT last_position()")
                    .fetch_one(&mut session.connection)
                    .await?;
                self.memory.floor = Some(row.cell(0)?);
            }
            self.session = Some(session);
        }
        Ok(())
    }

    async fn commit_batch(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>> {
        let inline = wanted(inline, items);
        let until = self.until();
        let (mut tries, mut sent) = (0, None::<SentBatch>);
        let mut lost = None;
        loop {
            if let Err(error) = self.ready(until).await {
                self.forget();
                return Err(error);
            }
            if let Some(undecided) = sent.take() {
                match self.decided(&undecided).await {
                    Ok(Some(outcomes)) => return Ok(outcomes),
                    Ok(None) => {}
                    Err(failure) => {
                        self.failed(&failure);
                        sent = Some(undecided);
                        continue;
                    }
                }
            }
            let is_late = Instant::now() >= until;
            if let Some(error) = lost.take_if(|_| is_late) {
                return Err(error);
            }
            match self.attempt(items, inline, tries, &mut sent).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(failure) => {
                    self.failed(&failure);
                    match failure {
                        Failure::Lost(error) => lost = Some(error),
                        Failure::Again(_) if tries < TRIES && !is_late => {
                            sent = None;
                            tries += 1;
                        }
                        Failure::Again(error) | Failure::Refused(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Answers from the last write, and tries one when that is due.
    async fn check_write(&mut self) -> Result<()> {
        if let Some(expected) = self.last_write.expected() {
            return expected;
        }
        let Some(session) = &mut self.session else {
            return Err(Error::Unavailable("no connection".to_owned()));
        };
        let trial = match answered(CHECKED_IN, try_write(&mut session.connection)).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.failed(&failure);
                Err(failure.into_error())
            }
        };
        self.last_write.tried(&trial);
        trial
    }

    /// Lets other hosts write after an import.
    async fn end_import(&mut self) -> Result<()> {
        self.is_importing = false;
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let admitting = session.admit_others(self.settings.namespace);
        let admitted = answered(self.settings.options.writer_wait_max, admitting).await;
        admitted.map_err(|failure| {
            // The lock ends with the connection at the latest.
            self.forget();
            failure.into_error()
        })
    }

    /// Returns the result of a batch whose answer was lost; none when it was not stored.
    async fn decided(
        &mut self,
        sent: &SentBatch,
    ) -> std::result::Result<Option<Vec<Outcome>>, Failure> {
        let Some(session) = &mut self.session else {
            return Err(Failure::Lost(Error::Unavailable(
                "no connection".to_owned(),
            )));
        };
        let floor = self.memory.floor.unwrap_or_default();
        let looking = sent.outcomes(&mut session.connection, floor);
        let outcomes = answered(self.settings.options.writer_wait_max, looking).await?;
        if let Some(outcomes) = &outcomes {
            self.signals.committed(outcomes);
        }
        Ok(outcomes)
    }
}

/// Writes what is never committed: a full disk refuses it as it refuses an event.
async fn try_write(connection: &mut Connection) -> std::result::Result<(), Failure> {
    let bytes: Vec<u8> = rand::random_iter().take(TRIAL_BYTES).collect();
    connection.execute("BEGIN").await?;
    let written = sqlx::query(TRIAL).bind(bytes).execute(&mut *connection);
    let written = written.await;
    connection.execute("ROLLBACK").await?;
    written?;
    Ok(())
}

/// Whether a batch has written to the log or its plan.
fn has_written(outcomes: &[Outcome]) -> bool {
    let mut outcomes = outcomes.iter();
    outcomes.any(|it| matches!(it, Outcome::Appended(_) | Outcome::Activated(_)))
}

/// Refuses to write to a server that lacks a plan which was active, because a standby was promoted that
/// had not received it. What this host decides under that plan would name a plan that nobody has.
async fn check_plan(connection: &mut Connection, known: u64) -> std::result::Result<(), Failure> {
    if known == 0 {
        return Ok(());
    }
    let found = lookup::parts(connection).await?.plan;
    if found >= known {
        return Ok(());
    }
    Err(Failure::Refused(Error::Unavailable(format!(
        "the server of the store has plan {found} and lacks plan {known}, which was active: restart \
         this host, and activate what is missing"
    ))))
}

#[async_trait]
impl EventWriter for Writer {
    async fn commit(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>> {
        let committed = self.commit_batch(items, inline).await;
        match &committed {
            Ok(outcomes) if has_written(outcomes) => self.last_write.succeeded(),
            Ok(_) => {}
            Err(error) => self.last_write.failed(error),
        }
        committed
    }

    async fn import(&mut self, part: &Import) -> Result<()> {
        if matches!(part, Import::End) {
            return self.end_import().await;
        }
        let until = self.until();
        self.ready(until).await?;
        let Some(session) = &mut self.session else {
            return Err(Error::Unavailable("no connection".to_owned()));
        };
        let is_begin = matches!(part, Import::Begin);
        let excludes = self.is_importing || is_begin;
        let (namespace, memory) = (self.settings.namespace, &mut self.memory);
        let importing = async {
            if excludes {
                // The last part may have had another connection.
                session.exclude_others(namespace).await?;
            }
            match is_begin {
                true => Ok(()),
                false => import::part(&mut session.connection, memory, namespace, part).await,
            }
        };
        let done = answered(self.settings.options.import_max, importing).await;
        if let Err(failure) = done {
            self.failed(&failure);
            return Err(failure.into_error());
        }
        match is_begin {
            true => self.is_importing = true,
            false => self.signals.imported(),
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<()> {
        // Batches wait for the server, whether or not a check runs meanwhile.
        let was_down = self.is_down;
        let connecting = self.ready(Instant::now() + CHECKED_IN);
        let connected = tokio::time::timeout(CHECKED_IN, connecting).await;
        if let Err(error) = connected.unwrap_or_else(|_| Err(Error::Unavailable(SILENT.into()))) {
            self.is_down = was_down;
            return Err(error);
        }
        let Some(session) = &mut self.session else {
            return Err(Error::Unavailable("no connection".to_owned()));
        };
        let asking = sqlx::query(CHECK).bind(POSTGRES.newest());
        let asking = asking.fetch_one(&mut session.connection);
        let failure = match tokio::time::timeout(CHECKED_IN, asking).await {
            Ok(Ok(row)) => match (row.cell::<bool>(0)?, row.cell::<bool>(1)?) {
                (false, false) => return self.check_write().await,
                // Another connection says why nothing may be written.
                (false, true) => {
                    self.forget();
                    let connecting = self.ready(Instant::now() + CHECKED_IN);
                    let connected = tokio::time::timeout(CHECKED_IN, connecting).await;
                    return connected.unwrap_or_else(|_| Err(Error::Unavailable(SILENT.into())));
                }
                (true, _) => Failure::Lost(Error::Unavailable(
                    "the server takes no writes now: it is a standby, or read-only".to_owned(),
                )),
            },
            Ok(Err(error)) => Failure::from(error),
            Err(_) => Failure::Lost(Error::Unavailable(SILENT.to_owned())),
        };
        self.failed(&failure);
        Err(failure.into_error())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let Self {
            session,
            pool,
            signals,
            ..
        } = *self;
        signals.end().await;
        pool.close().await;
        if let Some(session) = session {
            // Everything is committed, so nothing is lost when the connection does not close
            // properly.
            session.connection.close().await;
        }
        Ok(())
    }
}
