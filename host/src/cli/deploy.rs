use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use reqwest::{Method, header};
use serde_json::json;

use super::table::Table;
use super::{Client, Connection};
use crate::http::{DeploymentList, DeploymentView, ModuleView};

/// Upload a component and make it the active one under its name
#[derive(Debug, Args)]
pub struct Deploy {
    /// The component
    file: PathBuf,
    /// Do not compare it with what is active first
    #[arg(long)]
    no_preflight: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Deploy {
    pub async fn run(self) -> Result<()> {
        let path = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| format!("{path}"))?;
        let client = Client::of(&self.connection)?;
        let upload = client
            .request(Method::POST, &["v1", "modules"])
            .header(header::CONTENT_TYPE, "application/wasm")
            .body(bytes);
        let module: ModuleView = client
            .json(upload)
            .await
            .with_context(|| format!("{path}"))?;
        if !self.no_preflight {
            _ = writeln!(
                io::stderr(),
                "note: deployed without a preflight; this version has none"
            );
        }
        let activate = client
            .request(Method::POST, &["v1", "deployments"])
            .json(&json!({"digest": module.digest, "preflight": "skip"}));
        let deployed: DeploymentView = client.json(activate).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&deployed)?)?;
        } else {
            let (name, version) = (&module.name, &module.version);
            let (plan, digest) = (deployed.plan, &deployed.digest);
            writeln!(out, "plan {plan}: {name} {version} is active, {digest}")?;
        }
        Ok(())
    }
}

/// List what was made active, and when
#[derive(Debug, Args)]
pub struct Deployments {
    /// Only under this name
    name: Option<String>,
    /// Print NDJSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Deployments {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let path = ["v1", "deployments"]
            .into_iter()
            .chain(self.name.as_deref());
        let path: Vec<&str> = path.collect();
        let list: DeploymentList = client.json(client.request(Method::GET, &path)).await?;
        let mut out = io::stdout().lock();
        if self.json {
            for deployment in &list.deployments {
                writeln!(out, "{}", serde_json::to_string(deployment)?)?;
            }
            return Ok(());
        }
        let mut table = Table::new(&["plan", "name", "digest", "activated at", "by", ""]);
        for deployment in list.deployments {
            let active = if deployment.active { "active" } else { "" };
            table.row([
                deployment.plan.to_string(),
                deployment.name,
                // A digest may be of digits alone.
                format!("{} ", &deployment.digest[..12]),
                deployment.activated_at,
                deployment.activated_by.unwrap_or_else(|| "-".to_owned()),
                active.to_owned(),
            ]);
        }
        table.write(&mut out)?;
        Ok(())
    }
}
