use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;

use super::reach;
use crate::contexts::Chosen;
use crate::{Client, Connection};

/// Show as whom a host knows this client, and what it allows
#[derive(Debug, Args)]
pub struct Whoami {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Whoami {
    pub async fn run(self) -> Result<()> {
        let chosen = Chosen::of(&self.connection)?;
        let (context, url) = (chosen.context.clone(), chosen.url.clone());
        let client = Client::chosen(chosen)?;
        let caller: quipu_api::Whoami = client
            .json(client.request(Method::GET, &["v1", "whoami"]))
            .await?;
        let mut out = io::stdout().lock();
        if self.json {
            let mut shown = serde_json::to_value(&caller)?;
            shown["context"] = context.into();
            writeln!(out, "{shown}")?;
            return Ok(());
        }
        match (&caller.name, &caller.grant) {
            (Some(name), Some(grant)) => {
                let (role, reach) = (&grant.role, reach(grant));
                write!(out, "{name:?}: {role} on {reach}")?;
            }
            _ => write!(
                out,
                "nobody: this host is open, and everybody who reaches it may do everything"
            )?,
        }
        match &caller.expires_at {
            Some(at) => writeln!(out, "; the token expires at {at}")?,
            None => writeln!(out)?,
        }
        if let Some(context) = context {
            writeln!(out, "context {context}: {url}")?;
        }
        Ok(())
    }
}
