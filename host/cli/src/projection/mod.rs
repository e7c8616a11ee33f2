//! One projection: its status, actions on it, and its parked and skipped events.

mod details;
mod failed_events;
mod watch;

use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::json;

use super::access::{line, with_reason};
use super::execute::one_lined;
use super::exit::WrongUse;
use super::{Client, Connection};
use quipu_api::ProjectionView;

/// Show a projection's status, or control it
///
/// Without an action it shows every build with its errors, and how a rebuild compares with the
/// build that it replaces. Actions that change the projection print its status afterwards.
#[derive(Debug, Args)]
pub struct Projection {
    /// The projection
    name: String,
    /// The action
    #[arg(value_enum)]
    action: Option<Action>,
    /// With rebuild: wait for `switch` after catching up
    #[arg(long)]
    hold: bool,
    /// With rebuild: show its progress until it has taken over or is ready
    #[arg(long)]
    wait: bool,
    /// Why, for the audit: one line. drop-parked needs it, and `drop` with a token
    #[arg(long, value_name = "TEXT", value_parser = line)]
    reason: Option<String>,
    /// With parked, retry-parked and drop-parked: only events that are parked for the document with
    /// this key
    #[arg(long, value_name = "KEY", conflicts_with = "stream")]
    document: Option<String>,
    /// With parked, retry-parked and drop-parked: only events that are parked for this stream
    #[arg(long)]
    stream: Option<String>,
    /// With --document or --stream: only the event at this position of the log; parked then
    /// prints the event, too
    #[arg(long)]
    position: Option<u64>,
    /// With parked and skipped: of this build [default: active]
    #[arg(long, value_enum)]
    build: Option<Role>,
    /// Print JSON; parked and skipped events as NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// An action on a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Fold nothing until it is resumed; an inline projection continues
    Pause,
    /// Continue, also after a stop, with the event at which it stopped
    Resume,
    /// Rebuild it from scratch, next to the running build
    Rebuild,
    /// Show the progress of a rebuild, or of catching up, until it ends
    Watch,
    /// Activate the rebuild that is ready, whatever it lacks
    Switch,
    /// Activate the previous build
    Rollback,
    /// Cancel the rebuild
    Cancel,
    /// List parked events
    Parked,
    /// Retry parked events, for each document in order up to the first that fails again
    RetryParked,
    /// Drop parked events for good, also from later rebuilds; needs --reason
    DropParked,
    /// List skipped events
    Skipped,
    /// Make an inline projection asynchronous from here on
    Detach,
    /// Remove the previous build; of a projection that is no longer deployed: all builds
    Drop,
}

/// A build.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Active,
    Next,
    Previous,
}

impl Projection {
    pub async fn run(self) -> Result<()> {
        self.check()?;
        let client = Client::of(&self.connection)?;
        match self.action {
            None => {
                let request = client.request(Method::GET, &["v1", "projections", &self.name]);
                self.print(&client.send(request).await?.text().await?)
            }
            Some(action @ (Action::Parked | Action::Skipped)) => {
                let options = failed_events::ListQuery {
                    which: word(action),
                    build: self.build,
                    filter: self.filter(),
                    position: self.position,
                    json: self.json,
                };
                failed_events::list(&client, &self.name, &options).await
            }
            Some(Action::Watch) => {
                let request = client.request(Method::GET, &["v1", "projections", &self.name]);
                let body = client.send(request).await?.text().await?;
                self.watch(&client, body).await
            }
            Some(action) => {
                let body = self.order(&client, action).await?;
                match self.wait {
                    true => self.watch(&client, body).await,
                    false => self.print(&body),
                }
            }
        }
    }

    /// Rejects flags that belong to other actions.
    fn check(&self) -> Result<(), WrongUse> {
        let names_one = self.document.is_some() || self.stream.is_some();
        let of_parked = matches!(
            self.action,
            Some(Action::Parked | Action::RetryParked | Action::DropParked)
        );
        let wrong = match self.action {
            action if action != Some(Action::Rebuild) && (self.hold || self.wait) => {
                Some("--hold and --wait go with rebuild")
            }
            Some(Action::DropParked) if self.reason.is_none() => {
                Some("drop-parked needs --reason, which is recorded")
            }
            None | Some(Action::Parked | Action::Skipped) if self.reason.is_some() => {
                Some("--reason goes with actions that change the projection")
            }
            _ if !of_parked && (names_one || self.position.is_some()) => Some(
                "--document, --stream and --position go with parked, retry-parked and drop-parked",
            ),
            _ if self.position.is_some() && !names_one => {
                Some("--position goes with --document or --stream")
            }
            action
                if !matches!(action, Some(Action::Parked | Action::Skipped))
                    && self.build.is_some() =>
            {
                Some("--build goes with parked and skipped")
            }
            _ => None,
        };
        wrong.map_or(Ok(()), |why| Err(WrongUse(why.to_owned())))
    }

    /// The selected parked events, as parameters of a query.
    fn filter(&self) -> Vec<(&'static str, String)> {
        let document = self.document.iter().map(|key| ("document", key.clone()));
        let stream = self.stream.iter().map(|stream| ("stream", stream.clone()));
        let position = self.position.iter();
        let position = position.map(|position| ("position", position.to_string()));
        document.chain(stream).chain(position).collect()
    }

    async fn order(&self, client: &Client, action: Action) -> Result<String> {
        let path = ["v1", "projections", &self.name, word(action)];
        let request = client.request(Method::POST, &path);
        let mut request = with_reason(request, self.reason.as_deref());
        if action == Action::Rebuild {
            request = request.json(&json!({ "hold": self.hold }));
        }
        if matches!(action, Action::DropParked | Action::RetryParked) {
            let mut body = json!({});
            if let Some(reason) = &self.reason
                && action == Action::DropParked
            {
                body["reason"] = reason.as_str().into();
            }
            if let Some(key) = &self.document {
                body["document"] = key.as_str().into();
            }
            if let Some(stream) = &self.stream {
                body["stream"] = stream.as_str().into();
            }
            if let Some(position) = self.position {
                body["position"] = position.into();
            }
            request = request.json(&body);
        }
        Ok(client.send(request).await?.text().await?)
    }

    async fn watch(&self, client: &Client, first: String) -> Result<()> {
        let (body, text) = watch::to_the_end(client, &self.name, first).await?;
        if self.json {
            return self.print(&body);
        }
        Ok(writeln!(io::stdout(), "{text}")?)
    }

    fn print(&self, body: &str) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            writeln!(out, "{}", one_lined(body))?;
        } else {
            let view: ProjectionView = serde_json::from_str(body)?;
            details::print(&view, &mut out)?;
        }
        Ok(out.flush()?)
    }
}

/// The word for an action in a path.
fn word(action: Action) -> &'static str {
    match action {
        Action::Pause => "pause",
        Action::Resume => "resume",
        Action::Rebuild => "rebuild",
        Action::Watch => "watch",
        Action::Switch => "switch",
        Action::Rollback => "rollback",
        Action::Cancel => "cancel",
        Action::Parked => "parked",
        Action::RetryParked => "retry-parked",
        Action::DropParked => "drop-parked",
        Action::Skipped => "skipped",
        Action::Detach => "detach",
        Action::Drop => "drop",
    }
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Next => "next",
            Self::Previous => "previous",
        }
    }
}
