//! A host in a program's own process: no server, no HTTP.
//!
//! `cargo run --release --example embedded -- target/guests/components/account.wasm`

use anyhow::{Context, Result};
use quipu::engine::Error;
use quipu::model::{Command, StreamId, Version};
use quipu::store::Direction;
use quipu::{Deploy, Host};

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args()
        .nth(1)
        .context("name a component of the account guest")?;
    println!("{}", run(std::fs::read(file)?).await?);
    Ok(())
}

/// Opens an account and pays in; then a withdrawal of too much is rejected. Returns the account.
pub async fn run(component: Vec<u8>) -> Result<String> {
    let host = Host::builder().store("memory:").build().await?;
    let module = host.upload(component).await?.module;
    // A preflight comes first where the component replaces another one or has projections.
    let deploy = Deploy::new(module.digest()).by("embedded");
    let prepared = host.prepare(deploy, &mut |_| {}).await?;
    prepared.activate().await?;

    let account: StreamId = "account-1".parse()?;
    let open = Command::new("open", r#"{"owner":"ann"}"#)?.with_id("open-1")?;
    host.execute(&account, open.clone()).await?;
    // Sent again, as after a lost answer: the first outcome, nothing is stored twice.
    assert!(host.execute(&account, open).await?.replayed);
    host.execute(&account, Command::new("deposit", r#"{"amount":50}"#)?)
        .await?;

    match host
        .execute(&account, Command::new("withdraw", r#"{"amount":70}"#)?)
        .await
    {
        Err(Error::Rejected { rejection, .. }) => println!("rejected: {}", rejection.message),
        other => anyhow::bail!("no overdraft was expected: {other:?}"),
    }
    for event in host
        .read_stream(&account, Version(1), Direction::Forward, 100)
        .await?
        .events
    {
        println!("{} {} {:?}", event.version, event.name, event.body);
    }
    let state = host.state(&account).await?.state;
    host.shutdown().await?;
    Ok(state)
}
