//! The files that say who may do what besides tokens.

use super::access::load_policy;
use super::config::AccessFiles;
use super::exit::WrongUse;
use quipu_identity::Identities;
use quipu_server::InForce;

/// Reads the file of identities and the policy.
///
/// # Errors
/// When a file can't be read, or something in it is wrong. The error names the key of the configuration
/// and the file.
pub fn load(files: &AccessFiles) -> Result<InForce, WrongUse> {
    let identities = match &files.identities {
        Some(path) => {
            Identities::load(path).map_err(|why| WrongUse(format!("access.identities: {why}")))?
        }
        None => Identities::default(),
    };
    let policy = match &files.policy {
        Some(path) => {
            let policy = load_policy(path);
            Some(policy.map_err(|why| WrongUse(format!("access.policy: {why}")))?)
        }
        None => None,
    };
    Ok(InForce { identities, policy })
}
