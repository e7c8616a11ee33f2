use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use super::access::Reason;
use super::table::{Table, text, time, word};
use super::{Client, Connection};
use quipu_api::{CreatedTenant, TenantList, TenantView};

/// Create, list, suspend, resume and remove tenants
///
/// A tenant is a store of its own, which the same host serves. Name it with --tenant in the other
/// commands, with a token of the tenant. These commands need a token of the main store.
#[derive(Debug, Args)]
pub struct Tenant {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(Create),
    List(List),
    Suspend(Suspend),
    Resume(Resume),
    Remove(Remove),
}

/// Create a tenant with an empty store, and print its first token
///
/// The token has the role admin in the tenant, and is shown only once: the store has a hash of it.
#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    of: Of,
}

/// List all tenants
#[derive(Debug, Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Suspend a tenant: refuse its callers and close its store
///
/// Its subscriptions end and its projections stop.
#[derive(Debug, Args)]
struct Suspend {
    #[command(flatten)]
    of: Of,
}

/// Resume a tenant that was suspended
#[derive(Debug, Args)]
struct Resume {
    #[command(flatten)]
    of: Of,
}

/// Remove a tenant from the list, for good
///
/// Its store stays; the answer says where. A later tenant of the same name gets another store.
#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    of: Of,
}

/// A tenant, and why something is done with it
#[derive(Debug, Args)]
struct Of {
    /// The tenant: 1 to 40 lower-case letters, digits and hyphens
    name: String,
    #[command(flatten)]
    reason: Reason,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Tenant {
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List(list) => list.run().await,
            Action::Suspend(suspend) => {
                let suspended = suspend.of.send(Method::POST, &["suspend"]).await?;
                suspend.of.print(&suspended, "is suspended")
            }
            Action::Resume(resume) => {
                let resumed = resume.of.send(Method::POST, &["resume"]).await?;
                resume.of.print(&resumed, "is served")
            }
            Action::Remove(remove) => {
                let removed = remove.of.send(Method::DELETE, &[]).await?;
                let place = removed.store.as_deref().unwrap_or("where it was");
                let what = format!("is removed; its store stays: {place}");
                remove.of.print(&removed, &what)
            }
        }
    }
}

impl Of {
    async fn send(&self, method: Method, action: &[&str]) -> Result<TenantView> {
        let client = Client::of(&self.connection)?;
        let path = [&["v1", "tenants", &self.name], action].concat();
        let request = client.request(method, &path);
        client.json(self.reason.on(request)).await
    }

    fn print(&self, view: &TenantView, what: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        match self.json {
            true => write_json(&mut out, view),
            false => Ok(writeln!(out, "tenant {} {what}", view.name)?),
        }
    }
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> Result<()> {
    Ok(writeln!(out, "{}", serde_json::to_string(value)?)?)
}

impl Create {
    async fn run(self) -> Result<()> {
        let of = self.of;
        let client = Client::of(&of.connection)?;
        let request = client.request(Method::POST, &["v1", "tenants"]);
        let request = of.reason.on(request.json(&json!({ "name": of.name })));
        let created: CreatedTenant = client.json(request).await?;
        let mut out = io::stdout().lock();
        if of.json {
            return write_json(&mut out, &created);
        }
        writeln!(out, "{}", created.token)?;
        eprintln!(
            "tenant {}: this is its admin token; it is shown only now, so store it safely",
            created.view.name
        );
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let request = client.request(Method::GET, &["v1", "tenants"]);
        let tenants = client.json::<TenantList>(request).await?.tenants;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut table = Table::new(&[
            word("name"),
            word("state"),
            time("created"),
            text("by").if_not_empty(),
            text("store"),
        ]);
        for tenant in &tenants {
            match self.json {
                true => write_json(&mut out, tenant)?,
                false => table.row(row(tenant)),
            }
        }
        if !self.json {
            table.write(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

fn row(tenant: &TenantView) -> [String; 5] {
    let state = match (&tenant.suspended_at, tenant.is_open) {
        (Some(_), _) => "suspended",
        (None, true) => "open",
        (None, false) => "closed",
    };
    [
        tenant.name.clone(),
        state.to_owned(),
        tenant.created_at.clone(),
        tenant.created_by.clone().unwrap_or_default(),
        tenant.store.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}
