//! Acknowledged events that the server does not have any more.
//!
//! That happens when a standby is promoted that had not received everything. Each host remembers the
//! newest event that it or another host has committed. Before it writes on another connection, it
//! searches for that event. When the event is missing, the host stops writing, moves the sequence of
//! positions after it, and leaves a mark in the store. With the mark no host writes, also after a
//! restart, until an operator accepts the loss. A host that ran before the mark does not write until
//! it is restarted, because its states may contain lost events.
//!
//! A host that does not know any lost event could write before another one has left the mark. So the
//! host that marks the store ends the connections of the others, which look for the mark before they
//! write on new ones. Positions are not reused in either case: see `origins`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Executor;

use super::cell::Cells;
use super::connection::Connection;
use super::error::Failure;
use super::tables::signed;
use crate::{Error, Loss, Result};
use quipu_model::EventId;

/// How long a mark that was found is valid without another check.
const MARK_KEPT: Duration = Duration::from_millis(500);

pub const LOCK_PLAN: &str = "SELECT pg_advisory_xact_lock($1::int, 1)";
/// Waits while another host marks the store.
const SHARE_PLAN: &str = "SELECT pg_advisory_xact_lock_shared($1::int, 1)";
const FIND_EVENT: &str = "SELECT $1::bigint IS NULL OR EXISTS (SELECT FROM events \
         WHERE position = $1 AND event_id = $2) AS is_there, \
     (SELECT coalesce(max(position), 0) FROM events WHERE position < $1) AS last, \
     (SELECT value FROM meta WHERE name = 'lost') AS lost, \
     (SELECT value FROM meta WHERE name = 'lost_accepted') AS accepted";
const MARKS: &str = "SELECT (SELECT value FROM meta WHERE name = 'lost') AS lost, \
     (SELECT value FROM meta WHERE name = 'lost_accepted') AS accepted";
const SET_MARK: &str = "INSERT INTO meta (name, value) VALUES ('lost', $1) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const REMOVE_MARK: &str = "DELETE FROM meta WHERE name = 'lost' AND value = $1";
const SET_ACCEPTED: &str = "INSERT INTO meta (name, value) VALUES ('lost_accepted', $1) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const SKIP: &str = "SELECT setval('positions', $1) WHERE $1 > last_position()";
/// Ends the connections with which other hosts write. A back-end that waits for a synchronous standby
/// is not ended, because that would show its commit.
const END_OTHERS: &str = "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l \
     JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.datid = l.database \
     WHERE l.locktype = 'advisory' AND a.datname = current_database() \
         AND l.classid::bigint = $1 AND l.objid::bigint = 2 AND l.objsubid = 2 \
         AND l.pid <> pg_backend_pid() AND a.usename = current_user \
         AND a.wait_event IS DISTINCT FROM 'SyncRep'";

/// The newest event that this host knows, and what it knows to be lost. The reader
/// and the writer of a store share it.
#[derive(Debug, Clone)]
pub struct Newest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: Mutex<Option<(i64, EventId)>>,
    /// What the last check has found, and when.
    lost: Mutex<Option<(Loss, Instant)>>,
    /// Losses that may be accepted without a restart of this host: those that were marked when the
    /// store was opened.
    accepted_max: u64,
}

impl Newest {
    /// Nothing, in a store that is opened now.
    pub async fn opened(connection: &mut Connection) -> Result<Self> {
        let (mark, accepted) = marks(connection).await?;
        Ok(Self(Arc::new(Inner {
            event: Mutex::default(),
            lost: Mutex::default(),
            accepted_max: accepted.number + u64::from(mark.is_some()),
        })))
    }

    /// Remembers a committed event, unless a later one is known. The connection that committed it was
    /// checked.
    pub fn saw(&self, position: i64, id: EventId) {
        let mut event = self.0.event.lock().unwrap_or_else(PoisonError::into_inner);
        if event.is_none_or(|(known, _)| known < position) {
            *event = Some((position, id));
        }
    }

    /// What is lost, as far as this host knows.
    pub fn lost(&self) -> Option<Loss> {
        let lost = *self.0.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.map(|(loss, _)| loss)
    }

    /// Refuses to write when a loss was found that can't have been accepted since.
    pub fn refuse_known(&self) -> std::result::Result<(), Failure> {
        let lost = *self.0.lost.lock().unwrap_or_else(PoisonError::into_inner);
        match lost {
            Some((loss, at)) if loss.is_accepted || at.elapsed() < MARK_KEPT => {
                Err(Failure::Refused(Error::EventsLost(loss)))
            }
            _ => Ok(()),
        }
    }

    /// Remembers the newest event of a server that has the one that is known. Otherwise that one would
    /// not be missed any more.
    pub fn advance(&self, known: Option<(i64, EventId)>, (position, id): (i64, EventId)) {
        let mut event = self.0.event.lock().unwrap_or_else(PoisonError::into_inner);
        // This host may have committed meanwhile.
        if *event == known && known.is_none_or(|(known, _)| known < position) {
            *event = Some((position, id));
        }
    }

    /// The event that is searched for.
    pub fn event(&self) -> Option<(i64, EventId)> {
        *self.0.event.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, loss: Option<Loss>) -> std::result::Result<(), Failure> {
        let now = Instant::now();
        let mut lost = self.0.lost.lock().unwrap_or_else(PoisonError::into_inner);
        *lost = loss.map(|loss| (loss, now));
        match loss {
            Some(loss) => Err(Failure::Refused(Error::EventsLost(loss))),
            None => Ok(()),
        }
    }

    /// Looks for the newest event on a connection that is about to write.
    ///
    /// # Errors
    /// `EventsLost` when it is missing, or another host has found that events are missing.
    pub async fn check(
        &self,
        connection: &mut Connection,
        namespace: i64,
    ) -> std::result::Result<(), Failure> {
        let share = sqlx::query(SHARE_PLAN).bind(namespace);
        share.execute(&mut *connection).await?;
        let (position, id) = self.event().unzip();
        let row = sqlx::query(FIND_EVENT).bind(position).bind(id);
        let row = row.fetch_one(&mut *connection).await?;
        let (marked, accepted) = (mark(row.cell(2)?)?, Accepted::from_bytes(row.cell(3)?)?);
        if let (Some(position), false) = (position, row.cell::<bool>(0)?) {
            let loss = Loss {
                from: row.number(1)?.saturating_add(1),
                to: position.unsigned_abs(),
                is_accepted: accepted.to >= position.unsigned_abs(),
            };
            if loss.is_accepted {
                return self.found(Some(loss));
            }
            let is_marked = marked.is_some_and(|it| it.from <= loss.from && it.to >= loss.to);
            let whole = match marked.filter(|_| is_marked) {
                Some(marked) => marked,
                None => set_mark(connection, namespace, loss).await?,
            };
            return self.found(Some(whole));
        }
        let needs_restart = accepted.number > self.0.accepted_max;
        self.found(marked.or_else(|| needs_restart.then(|| accepted.loss())))
    }
}

/// Marks the store, and moves the sequence of positions. Nobody writes meanwhile, and the others
/// open new connections afterwards. Returns what is marked now.
async fn set_mark(
    connection: &mut Connection,
    namespace: i64,
    loss: Loss,
) -> std::result::Result<Loss, Failure> {
    connection.execute("BEGIN").await?;
    let lock = sqlx::query(LOCK_PLAN).bind(namespace);
    lock.execute(&mut *connection).await?;
    let (marked, _) = marks(connection).await?;
    let whole = marked.map_or(loss, |marked| Loss {
        from: marked.from.min(loss.from),
        to: marked.to.max(loss.to),
        is_accepted: false,
    });
    let mark = sqlx::query(SET_MARK).bind(encoded(&[whole.from, whole.to]));
    mark.execute(&mut *connection).await?;
    let skip = sqlx::query(SKIP).bind(signed(whole.to));
    skip.execute(&mut *connection).await?;
    let end = sqlx::query(END_OTHERS).bind(namespace);
    end.execute(&mut *connection).await?;
    connection.execute("COMMIT").await?;
    tracing::error!(
        from = loss.from,
        to = loss.to,
        "acknowledged events are lost: the server of the store does not have them"
    );
    Ok(whole)
}

/// Replaces the mark of a loss by the fact that it was accepted, and moves the sequence of positions
/// after it. Returns false when the mark is not that of the loss any more.
pub async fn accept(connection: &mut Connection, namespace: i64, loss: &Loss) -> Result<bool> {
    connection.execute("BEGIN").await?;
    let lock = sqlx::query(LOCK_PLAN).bind(namespace);
    lock.execute(&mut *connection).await?;
    let remove = sqlx::query(REMOVE_MARK).bind(encoded(&[loss.from, loss.to]));
    let removed = remove.execute(&mut *connection).await?.rows_affected();
    if removed == 0 {
        connection.execute("ROLLBACK").await?;
        return Ok(false);
    }
    let (_, accepted) = marks(connection).await?;
    let accepted = Accepted {
        number: accepted.number + 1,
        from: loss.from,
        to: loss.to.max(accepted.to),
    };
    let set = sqlx::query(SET_ACCEPTED).bind(accepted.to_bytes());
    set.execute(&mut *connection).await?;
    let skip = sqlx::query(SKIP).bind(signed(loss.to));
    skip.execute(&mut *connection).await?;
    connection.execute("COMMIT").await?;
    Ok(true)
}

/// Returns what is marked as lost.
pub async fn marked(connection: &mut Connection) -> Result<Option<Loss>> {
    Ok(marks(connection).await?.0)
}

async fn marks(connection: &mut Connection) -> Result<(Option<Loss>, Accepted)> {
    let row = sqlx::query(MARKS).fetch_one(connection).await?;
    Ok((mark(row.cell(0)?)?, Accepted::from_bytes(row.cell(1)?)?))
}

/// The losses that were accepted so far.
#[derive(Debug, Default)]
struct Accepted {
    number: u64,
    /// The first position of the last one.
    from: u64,
    /// The last position of all.
    to: u64,
}

impl Accepted {
    fn to_bytes(&self) -> Vec<u8> {
        encoded(&[self.number, self.from, self.to])
    }

    fn from_bytes(value: Option<Vec<u8>>) -> Result<Self> {
        let Some(value) = value else {
            return Ok(Self::default());
        };
        let [number, from, to] = decoded(&value)?;
        Ok(Self { number, from, to })
    }

    fn loss(&self) -> Loss {
        Loss {
            from: self.from,
            to: self.to,
            is_accepted: true,
        }
    }
}

fn mark(value: Option<Vec<u8>>) -> Result<Option<Loss>> {
    let Some(value) = value else {
        return Ok(None);
    };
    let [from, to] = decoded(&value)?;
    Ok(Some(Loss {
        from,
        to,
        is_accepted: false,
    }))
}

/// Numbers of 8 bytes, the most significant first.
fn encoded(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_be_bytes()).collect()
}

fn decoded<const N: usize>(value: &[u8]) -> Result<[u64; N]> {
    let (chunks, rest) = value.as_chunks::<8>();
    let numbers: Vec<u64> = chunks.iter().map(|it| u64::from_be_bytes(*it)).collect();
    let numbers = <[u64; N]>::try_from(numbers).ok();
    numbers.filter(|_| rest.is_empty()).ok_or_else(|| {
        let why = format!("a mark of lost events does not have {} bytes", N * 8);
        Error::Damaged(why)
    })
}
