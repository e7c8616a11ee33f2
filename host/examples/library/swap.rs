use quipu::proof::Policy;
use quipu::{Deploy, DeployError, Host};

/// Deploys a component, also if it decides recorded commands differently.
pub async fn swap(host: &Host, component: Vec<u8>) -> Result<(), quipu::Error> {
    let module = host.upload(component).await?.module;
    let deploy = Deploy::new(module.digest()).by("ann");
    match host.deploy(deploy.clone()).await {
        Err(DeployError::Blocked(found)) => {
            for objection in &found.objections {
                println!("{}: {}", objection.kind, objection.text);
            }
            let allowed = Policy::allowing(&["decision".to_owned()])?;
            host.deploy(deploy.allowing(allowed)).await?;
        }
        other => drop(other?),
    }
    Ok(())
}
