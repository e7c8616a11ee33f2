//! Reports to the host that everything is shipped.

use std::io::{self, Write};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::super::Client;
use super::super::client::HostProblem;
use quipu_api::Code;

/// The time between two reports.
const EVERY: Duration = Duration::from_secs(60);
/// How long a report may take. Shipping does not depend on it.
const WAIT: Duration = Duration::from_secs(10);

/// Reports at most once a minute that everything is shipped.
#[derive(Default)]
pub struct Reports {
    reported_at: Option<Instant>,
    is_warned: bool,
}

impl Reports {
    /// Reports that everything is in the folder which the host had at this time.
    pub async fn shipped(&mut self, client: &Client, began_at: Instant) {
        if self.reported_at.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.reported_at = Some(Instant::now());
        let body = json!({"kind": "ship", "age_s": began_at.elapsed().as_secs()});
        let request = client.request(Method::POST, &["v1", "backups"]).json(&body);
        match timeout(WAIT, client.send(request)).await {
            // A host of an earlier version knows no reports.
            Ok(Err(error)) if is_unknown(&error) => {}
            Ok(Err(error)) if !self.is_warned => {
                self.is_warned = true;
                _ = writeln!(
                    io::stderr(),
                    "warning: the host did not take the report that everything is shipped: {error:#}"
                );
            }
            _ => {}
        }
    }
}

fn is_unknown(error: &anyhow::Error) -> bool {
    let answered = error.downcast_ref::<HostProblem>();
    answered.is_some_and(|HostProblem(problem)| problem.code == Code::NotFound.as_str())
}
