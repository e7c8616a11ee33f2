//! Notifies other hosts of commits, and listens for theirs.
//!
//! A notification inside the append's transaction would halve the rate. It is therefore sent on
//! another connection, once for all commits since the last one.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool};
use sqlx::{Acquire, ConnectOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::cell::Cells;
use super::connection::{Pool, answered, driver_pool};
use super::losses::Newest;
use super::session::{Settings, bounded, refuse_standby};
use crate::wake::Waker;
use crate::{Outcome, Result};
use quipu_model::supervise::Supervisor;

/// The pause between two notifications of one host.
const DEBOUNCE: Duration = Duration::from_millis(2);

const NEWEST: &str = "SELECT position, event_id, $1::bigint IS NULL OR EXISTS (SELECT FROM events \
         WHERE position = $1 AND event_id = $2) \
     FROM events ORDER BY position DESC LIMIT 1";

const LOG: &str = "log";
const PLAN: &str = "plan";

/// Is notified of this host's commits.
pub struct CommitSignals {
    waker: Arc<Waker>,
    log: Arc<Notify>,
    plan: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
}

impl CommitSignals {
    /// Records that this host has committed.
    pub fn committed(&self, outcomes: &[Outcome]) {
        let has_grown = |outcome: &Outcome| match outcome {
            Outcome::Appended(appended) => appended.iter().any(|it| !it.positions.is_empty()),
            Outcome::Marked(position) => position.is_some(),
            _ => false,
        };
        if outcomes.iter().any(has_grown) {
            self.waker.log();
            self.log.notify_one();
        }
        let is_raised = |outcome: &Outcome| matches!(outcome, Outcome::Activated(_));
        if outcomes.iter().any(is_raised) {
            self.plan.notify_one();
        }
    }

    /// Records that this host has imported a part of an export.
    pub fn imported(&self) {
        self.waker.log();
        self.log.notify_one();
        self.plan.notify_one();
    }

    /// Stops notifying and listening.
    pub async fn end(self) {
        for task in self.tasks {
            task.abort();
            // Aborted, as it was asked to be.
            _ = task.await;
        }
    }
}

/// Starts to notify and to listen. Must be called within a tokio runtime.
pub fn start(
    settings: &Settings,
    (pool, newest): (&Pool, &Newest),
    waker: Waker,
    supervisor: &Supervisor,
) -> CommitSignals {
    let channel = format!("quipu_{}", settings.namespace);
    let (waker, poll) = (Arc::new(waker), settings.options.poll);
    let (log, plan) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notifier = |what: &'static str, news: &Arc<Notify>| {
        let (pool, channel, news) = (pool.clone(), channel.clone(), Arc::clone(news));
        let begin = move || notify(pool.clone(), channel.clone(), what, Arc::clone(&news));
        tokio::spawn(supervisor.restarting(format!("notifier of the {what}"), begin))
    };
    let hearing = {
        let listening = Listening {
            pool: driver_pool(&settings.base, &settings.options, 1),
            base: settings.base.clone(),
            channel: channel.clone(),
            wait: settings.options.reader_answer_max,
            poll,
        };
        let (waker, pool, newest) = (Arc::clone(&waker), pool.clone(), newest.clone());
        move || {
            let remembering = Remembering {
                pool: pool.clone(),
                newest: newest.clone(),
                news: Notify::new(),
            };
            hear(listening.clone(), Arc::clone(&waker), remembering)
        }
    };
    let tasks = vec![
        notifier(LOG, &log),
        notifier(PLAN, &plan),
        tokio::spawn(supervisor.restarting("listener", hearing)),
    ];
    CommitSignals {
        waker,
        log,
        plan,
        tasks,
    }
}

async fn notify(pool: Pool, channel: String, what: &'static str, news: Arc<Notify>) {
    loop {
        news.notified().await;
        let result = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&channel)
            .bind(what)
            .execute(&pool)
            .await;
        if let Err(error) = result {
            // The other hosts find the commits by themselves, but later.
            tracing::debug!(%error, "other hosts were not notified of a commit");
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// How to listen.
#[derive(Clone)]
struct Listening {
    /// One connection, which only listens.
    pool: PgPool,
    base: PgConnectOptions,
    channel: String,
    wait: Duration,
    poll: Duration,
}

/// Remembers the newest event of the log, so that this host misses it should it be lost, although
/// nobody reads here.
struct Remembering {
    pool: Pool,
    newest: Newest,
    /// Somebody has committed.
    news: Notify,
}

impl Remembering {
    /// Reads the newest event after each notification, then pauses.
    async fn run(&self, pause: Duration) {
        loop {
            self.news.notified().await;
            if let Err(error) = self.update().await {
                tracing::debug!(%error, "the newest event was not read");
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn update(&self) -> Result<()> {
        let known = self.newest.event();
        let (position, id) = known.unzip();
        let query = sqlx::query(NEWEST).bind(position).bind(id);
        let row = query.fetch_optional(&self.pool).await?;
        if let Some(row) = row
            && row.cell(2)?
        {
            self.newest.advance(known, (row.cell(0)?, row.cell(1)?));
        }
        Ok(())
    }
}

/// Listens for other hosts' commits, and polls from time to time in case there is no notification.
async fn hear(listening: Listening, waker: Arc<Waker>, remembering: Remembering) {
    let polling = async {
        loop {
            tokio::time::sleep(listening.poll).await;
            waker.log();
            waker.plan();
        }
    };
    let hearing = async {
        let mut last = None;
        loop {
            let listening_for = (&*waker, &remembering.news);
            if let Err(error) = listen(&listening, &mut last, listening_for).await {
                tracing::debug!(%error, "no notifications from PostgreSQL");
            }
            tokio::time::sleep(listening.poll).await;
        }
    };
    tokio::join!(polling, hearing, remembering.run(listening.poll));
}

/// Listens until that fails. The last listener is left for the next attempt.
async fn listen(
    listening: &Listening,
    last: &mut Option<PgListener>,
    (waker, news): (&Waker, &Notify),
) -> sqlx::Result<()> {
    if let Some(last) = last {
        close(listening, last).await?;
    }
    *last = None;
    let wait = listening.wait;
    let listener = last.insert(PgListener::connect_with(&listening.pool).await?);
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    answered(wait, listener.listen(&listening.channel)).await?;
    news.notify_one();
    loop {
        match tokio::time::timeout(listening.poll, listener.try_recv()).await {
            Ok(notified) => match notified? {
                Some(notification) if notification.payload() == PLAN => waker.plan(),
                Some(_) => {
                    waker.log();
                    news.notify_one();
                }
                // The connection was lost, and possibly notifications with it.
                None => return Ok(()),
            },
            // A server that is silent closes no connection.
            Err(_) => {
                let ping = sqlx::query("SELECT 1 AS listening").execute(&mut *listener);
                answered(wait, ping).await?;
            }
        }
    }
}

/// Closes the connection of a listener. A listener that is dropped waits for its server without a
/// bound, so it first receives another connection in place of its own.
async fn close(listening: &Listening, listener: &mut PgListener) -> sqlx::Result<()> {
    let other = answered(listening.wait, async {
        let options = bounded(&listening.base).disable_statement_logging();
        let mut other = options.connect().await?;
        refuse_standby(&mut other).await?;
        Ok(other)
    });
    let other = other.await?;
    let own = listener.acquire().await?;
    drop(std::mem::replace(own, other));
    Ok(())
}
