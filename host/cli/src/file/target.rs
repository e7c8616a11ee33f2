use std::time::{Duration, Instant};

use rand::Rng;

use super::HttpTarget;
use crate::Client;
use quipu::Host;
use quipu::model::{Command, StreamId};
use quipu_api::Problem;

/// How long transient errors are retried.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The host that executes the commands.
pub enum Target {
    /// A host in another process.
    Http(HttpTarget),
    /// A host in this process.
    Host(Host),
}

/// The result of a command.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It was recorded in this run.
    Accepted,
    /// It had been recorded before.
    Replayed,
    /// The domain rejected it.
    Rejected {
        /// The guest's code.
        code: String,
        /// The guest's message.
        message: String,
    },
    /// It failed permanently.
    Failed {
        /// The host's code.
        code: String,
        /// The host's message.
        message: String,
    },
    /// It was retried for a minute, and may or may not have been recorded.
    GaveUp(String),
}

/// Why there is no answer yet.
pub(super) struct Passing {
    pub why: String,
    /// When the host wants to be asked again.
    pub retry_after: Duration,
}

impl From<String> for Passing {
    fn from(why: String) -> Self {
        Self {
            why,
            retry_after: Duration::ZERO,
        }
    }
}

impl Target {
    /// A host in another process, with enough connections for `in_flight`.
    pub fn http(client: &Client, in_flight: usize) -> Self {
        Self::Http(HttpTarget::new(client, in_flight))
    }

    /// Executes a command. Transient errors are retried with growing pauses, so the command should
    /// have an id.
    pub async fn execute(&self, stream: &StreamId, command: &Command) -> Answer {
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let result = match self {
                Self::Http(http) => http.execute(stream, command).await,
                Self::Host(host) => in_process(host, stream, command).await,
            };
            match result {
                Ok(answer) => return answer,
                Err(Passing { why, .. }) if begun.elapsed() > PATIENCE => {
                    return Answer::GaveUp(why);
                }
                Err(Passing { retry_after, .. }) => {
                    tokio::time::sleep(retry_after.min(PATIENCE)).await;
                }
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

async fn in_process(host: &Host, stream: &StreamId, command: &Command) -> Result<Answer, Passing> {
    match host.execute(stream, command.clone()).await {
        Ok(executed) if executed.replayed => Ok(Answer::Replayed),
        Ok(_) => Ok(Answer::Accepted),
        Err(error) => Answer::or_passing(*Box::<Problem>::from(error)),
    }
}

impl Answer {
    pub(super) fn or_passing(problem: Problem) -> Result<Self, Passing> {
        if problem.is_passing() || problem.code == "conflict" {
            let Problem {
                code,
                detail,
                retry_after_s,
                ..
            } = problem;
            return Err(Passing {
                why: format!("{detail} ({code})"),
                retry_after: Duration::from_secs(retry_after_s.unwrap_or_default()),
            });
        }
        Ok(Self::of_problem(problem))
    }

    pub(super) fn of_problem(problem: Problem) -> Self {
        match problem.rejection {
            Some(rejection) => Self::Rejected {
                code: rejection.code,
                message: rejection.message,
            },
            None => Self::Failed {
                code: problem.code,
                message: problem.detail,
            },
        }
    }
}
