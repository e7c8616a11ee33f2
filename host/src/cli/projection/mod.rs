//! One projection: how it stands, what it is told to do, what it set aside.

mod aside;
mod details;
mod watch;

use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::json;

use super::execute::one_lined;
use super::exit::WrongUse;
use super::{Client, Connection};
use crate::http::ProjectionView;

/// Show how a projection stands, or order something of it
///
/// Without an action: every build, what troubles it, and how a rebuild compares with what it
/// replaces. Orders print how the projection stands afterwards.
#[derive(Debug, Args)]
pub struct Projection {
    /// The projection
    name: String,
    /// What to do
    #[arg(value_enum)]
    action: Option<Action>,
    /// With rebuild: wait for `switch` when it has caught up
    #[arg(long)]
    hold: bool,
    /// With rebuild: show its progress until it has taken over or is ready
    #[arg(long)]
    wait: bool,
    /// With drop-parked: why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    /// With drop-parked: only events that wait for the document with this key
    #[arg(long, value_name = "KEY", conflicts_with = "stream")]
    document: Option<String>,
    /// With drop-parked: only events that wait for this stream
    #[arg(long)]
    stream: Option<String>,
    /// With parked and skipped: of this build [default: active]
    #[arg(long, value_enum)]
    build: Option<Role>,
    /// Print JSON; events that were set aside as NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// What to do with a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Fold nothing until it is resumed; an inline one goes on
    Pause,
    /// Go on, also after it has stopped, with the event that it stopped at
    Resume,
    /// Build it anew from the first event, beside the running build
    Rebuild,
    /// Show the progress of a rebuild, or of catching up, to its end
    Watch,
    /// Let the rebuild that is ready take over
    Switch,
    /// Let the build before answer again
    Rollback,
    /// Give the rebuild up
    Cancel,
    /// List events that wait until they can be folded
    Parked,
    /// Try parked events again
    RetryParked,
    /// Leave parked events out for good; needs --reason
    DropParked,
    /// List events that were left out
    Skipped,
    /// Make an inline one asynchronous from here on
    Detach,
    /// Remove the build before; of a projection that is no longer deployed: all of it
    Drop,
}

/// Which build.
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
                aside::list(&client, &self.name, word(action), self.build, self.json).await
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

    /// Flags that go with other actions are mistakes.
    fn check(&self) -> Result<(), WrongUse> {
        let of_parked = self.reason.is_some() || self.document.is_some() || self.stream.is_some();
        let wrong = match self.action {
            action if action != Some(Action::Rebuild) && (self.hold || self.wait) => {
                Some("--hold and --wait go with rebuild")
            }
            Some(Action::DropParked) if self.reason.is_none() => {
                Some("drop-parked needs --reason, which is recorded")
            }
            action if action != Some(Action::DropParked) && of_parked => {
                Some("--reason, --document and --stream go with drop-parked")
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

    async fn order(&self, client: &Client, action: Action) -> Result<String> {
        let path = ["v1", "projections", &self.name, word(action)];
        let mut request = client.request(Method::POST, &path);
        if action == Action::Rebuild {
            request = request.json(&json!({ "hold": self.hold }));
        }
        if action == Action::DropParked {
            let mut body = json!({ "reason": self.reason });
            if let Some(key) = &self.document {
                body["document"] = key.as_str().into();
            }
            if let Some(stream) = &self.stream {
                body["stream"] = stream.as_str().into();
            }
            request = request.json(&body);
        }
        Ok(client.send(request).await?.text().await?)
    }

    async fn watch(&self, client: &Client, first: String) -> Result<()> {
        let (body, said) = watch::to_the_end(client, &self.name, first).await?;
        if self.json {
            return self.print(&body);
        }
        Ok(writeln!(io::stdout(), "{said}")?)
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
