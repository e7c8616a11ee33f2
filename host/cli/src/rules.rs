//! The files that say who may do what besides tokens.

use super::access::load_policy;
use super::config::{AccessFiles, TlsFiles};
use super::exit::WrongUse;
use quipu_identity::Identities;
use quipu_server::InForce;

/// Reads the file of identities and the policy. Keys of issuers that were known before are used on.
///
/// # Errors
/// When a file can't be read, or something in it is wrong. The error names the key of the configuration
/// and the file.
pub fn load(files: &AccessFiles, before: Option<&InForce>) -> Result<InForce, WrongUse> {
    let identities = match &files.identities {
        Some(path) => {
            let read = Identities::reload(path, before.map(|before| &before.identities));
            read.map_err(|why| WrongUse(format!("access.identities: {why}")))?
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

/// Client certificates need authorities that prove them.
///
/// # Errors
/// When there are certificates and no authorities.
pub fn check(rules: &InForce, tls: &TlsFiles) -> Result<(), WrongUse> {
    match rules.identities.take_certificates() && tls.client_authorities.is_none() {
        true => Err(WrongUse(
            "access.identities lists client certificates, and tls.client_authorities is missing"
                .to_owned(),
        )),
        false => Ok(()),
    }
}
