use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;

use crate::exit::Denied;
use crate::{Client, Connection};
use quipu_api::CanView;

/// Show whether somebody may do something, and by which rule
///
/// Exit code 0 when it is allowed, 1 when it is denied.
#[derive(Debug, Args)]
pub struct Can {
    /// `me`, the name of a token, or `role:` and a role, as role:client
    who: String,
    /// The action: read, read-payload, command, append, subscribe, view, deploy, project, archive,
    /// operate, observe or admin
    action: String,
    /// store, category/NAME, stream/ID or projection/NAME
    #[arg(default_value = "store")]
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Can {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let request = client.request(Method::GET, &["v1", "can"]).query(&[
            ("who", &self.who),
            ("action", &self.action),
            ("on", &self.what),
        ]);
        let view: CanView = client.json(request).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&view)?)?;
        } else if view.allowed {
            writeln!(out, "yes: {}", view.rules.join(", "))?;
        } else {
            writeln!(out, "no: {}", view.why.as_deref().unwrap_or("it is denied"))?;
        }
        match view.allowed {
            true => Ok(()),
            false => Err(Denied.into()),
        }
    }
}
