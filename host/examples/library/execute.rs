use quipu::model::{Command, StreamId};
use quipu::{Deploy, Host};

#[derive(serde::Serialize)]
struct Open {
    owner: String,
}

/// Deploys the component of `account`, and opens an account.
pub async fn open_account(host: &Host, component: Vec<u8>) -> Result<(), quipu::Error> {
    let module = host.upload(component).await?.module;
    host.deploy(Deploy::new(module.digest())).await?;

    let account: StreamId = "account-1".parse()?;
    let owner = "ann".to_owned();
    let open = Command::from_value("open", &Open { owner })?.with_id("open-1")?;
    let executed = host.execute(&account, open.clone()).await?;
    assert_eq!(executed.version.0, 1);
    assert!(host.execute(&account, open).await?.replayed);
    Ok(())
}
