//! The files that say who may do what besides tokens.

use super::access::load_policy;
use super::config::{AccessFiles, TlsFiles};
use super::exit::WrongUse;
use quipu::model::PublicKey;
use quipu_identity::Identities;
use quipu_server::InForce;

/// Reads the file of identities and the policy. Keys of issuers that were known before are used on.
///
/// # Errors
/// When a file can't be read, or something in it is wrong. The error names the key of the configuration
/// and the file.
pub fn load(files: &AccessFiles, before: Option<&InForce>) -> Result<InForce, WrongUse> {
    read(files, "access.", before)
}

/// Reads rules. The section is how an error begins.
pub fn read(
    files: &AccessFiles,
    section: &str,
    before: Option<&InForce>,
) -> Result<InForce, WrongUse> {
    let identities = match &files.identities {
        Some(path) => {
            let read = Identities::reload(path, before.map(|before| &before.identities));
            read.map_err(|why| WrongUse(format!("{section}identities: {why}")))?
        }
        None => Identities::default(),
    };
    let policy = match &files.policy {
        Some(path) => {
            let policy = load_policy(path);
            Some(policy.map_err(|why| WrongUse(format!("{section}policy: {why}")))?)
        }
        None => None,
    };
    Ok(InForce { identities, policy })
}

/// Client certificates need authorities that prove them. The section is how an error begins.
///
/// # Errors
/// When there are certificates and no authorities.
pub fn check(rules: &InForce, section: &str, tls: &TlsFiles) -> Result<(), WrongUse> {
    match rules.identities.take_certificates() && tls.client_authorities.is_none() {
        true => Err(WrongUse(format!(
            "{section}identities lists client certificates, and tls.client_authorities is missing"
        ))),
        false => Ok(()),
    }
}

/// Rules that are gone do not allow what they forbade: that takes a restart.
///
/// # Errors
/// When the policy has become empty.
pub fn check_replaced(in_force: &InForce, read: &InForce, section: &str) -> Result<(), WrongUse> {
    let is_empty = |rules: &InForce| rules.policy.as_ref().is_none_or(|it| it.is_empty());
    match !is_empty(in_force) && is_empty(read) {
        true => Err(WrongUse(format!(
            "{section}policy has no rule any more, so that everything it forbids would be allowed; \
             restart the host if that is meant"
        ))),
        false => Ok(()),
    }
}

/// A host that accepts only signed modules does not accept all of them after a reload: that takes a
/// restart.
///
/// # Errors
/// When there were keys and none is left.
pub fn check_keys_replaced(
    in_force: &[PublicKey],
    read: &[PublicKey],
    section: &str,
) -> Result<(), WrongUse> {
    match !in_force.is_empty() && read.is_empty() {
        true => Err(WrongUse(format!(
            "{section}keys has no key any more, so that every component would be accepted; restart \
             the host if that is meant"
        ))),
        false => Ok(()),
    }
}
