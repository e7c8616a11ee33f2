//! Notifies other hosts of commits, and listens for theirs.
//!
//! A notification inside the append's transaction would halve the rate. It is therefore sent on
//! another connection, once for all commits since the last one.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::session::Settings;
use crate::Outcome;
use crate::wake::Waker;
use quipu_model::supervise::Supervisor;

/// The pause between two notifications of one host.
const DEBOUNCE: Duration = Duration::from_millis(2);

const LOG: &str = "log";
const PLAN: &str = "plan";

/// Is notified of this host's commits.
pub struct Told {
    waker: Arc<Waker>,
    log: Arc<Notify>,
    plan: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
}

impl Told {
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
pub fn start(settings: &Settings, pool: &PgPool, waker: Waker, supervisor: &Supervisor) -> Told {
    let channel = format!("quipu_{}", settings.namespace);
    let (waker, poll) = (Arc::new(waker), settings.options.poll);
    let (log, plan) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let telling = |what: &'static str, news: &Arc<Notify>| {
        let (pool, channel, news) = (pool.clone(), channel.clone(), Arc::clone(news));
        let begin = move || tell(pool.clone(), channel.clone(), what, Arc::clone(&news));
        tokio::spawn(supervisor.restarting(format!("notifier of the {what}"), begin))
    };
    let hearing = {
        let (pool, channel, waker) = (pool.clone(), channel.clone(), Arc::clone(&waker));
        move || hear(pool.clone(), channel.clone(), Arc::clone(&waker), poll)
    };
    let tasks = vec![
        telling(LOG, &log),
        telling(PLAN, &plan),
        tokio::spawn(supervisor.restarting("listener", hearing)),
    ];
    Told {
        waker,
        log,
        plan,
        tasks,
    }
}

async fn tell(pool: PgPool, channel: String, what: &'static str, news: Arc<Notify>) {
    loop {
        news.notified().await;
        let told = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&channel)
            .bind(what)
            .execute(&pool)
            .await;
        if let Err(error) = told {
            // The other hosts find the commits by themselves, but later.
            tracing::debug!(%error, "other hosts were not notified of a commit");
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// Listens for other hosts' commits, and polls from time to time in case there is no notification.
async fn hear(pool: PgPool, channel: String, waker: Arc<Waker>, poll: Duration) {
    loop {
        if let Err(error) = listen(&pool, &channel, &waker, poll).await {
            tracing::debug!(%error, "no notifications from PostgreSQL");
        }
        tokio::time::sleep(poll).await;
        waker.log();
        waker.plan();
    }
}

async fn listen(pool: &PgPool, channel: &str, waker: &Waker, poll: Duration) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(true);
    listener.listen(channel).await?;
    loop {
        match tokio::time::timeout(poll, listener.try_recv()).await {
            Ok(notified) => match notified? {
                Some(notification) if notification.payload() == PLAN => waker.plan(),
                // A notification about the log; or the connection was lost, and possibly
                // notifications with it.
                Some(_) => waker.log(),
                None => {
                    waker.log();
                    waker.plan();
                }
            },
            Err(_) => {
                waker.log();
                waker.plan();
            }
        }
    }
}
