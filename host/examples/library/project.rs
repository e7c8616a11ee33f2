use std::sync::Arc;
use std::time::Duration;

use quipu::Host;
use quipu::engine::Executed;
use quipu::projection::Freshness;

/// Reads a document that includes the events of an execution.
pub async fn read_balance(host: &Host, executed: &Executed) -> Result<Arc<str>, quipu::Error> {
    let freshness = Freshness {
        after: executed.position.unwrap_or_default(),
        wait: Duration::from_secs(5),
    };
    let view = host.view("balances", "account-1", freshness).await?;
    Ok(view.document)
}
