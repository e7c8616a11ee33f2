//! Which host a client command reaches, and with which token.

use std::path::PathBuf;

use super::file::{ContextFile, Saved};
use crate::Connection;
use crate::exit::WrongUse;
use crate::secret::{self, Secret};

/// The address of a host when nothing names one.
const URL: &str = "http://127.0.0.1:7878";

/// A host and a token.
pub struct Chosen {
    /// The address of the host.
    pub url: String,
    /// The token.
    pub token: Option<Secret>,
    /// The certificates of the authorities to trust.
    pub ca: Option<PathBuf>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The name of the context that was used.
    pub context: Option<String>,
}

impl Chosen {
    /// What the options, the environment and the context say, in this order.
    ///
    /// # Errors
    /// When there is no such context, or a file can't be read.
    pub fn of(connection: &Connection) -> Result<Self, WrongUse> {
        let named = saved(connection.context.as_deref())?;
        // A token belongs to its host: it is not sent to another one.
        let used = named.filter(|(_, saved)| {
            let given = connection.url.as_deref();
            given.is_none_or(|url| url.trim_end_matches('/') == saved.url.trim_end_matches('/'))
        });
        let (context, saved) = used.unzip();
        let given = secret::token(connection.token.as_ref(), connection.token_file.as_deref())?;
        let file = saved.as_ref().and_then(|saved| saved.token_file.as_ref());
        let token = match (given, file) {
            (None, Some(file)) => Some(Secret::read(file)?),
            (given, _) => given,
        };
        let url = connection.url.clone();
        Ok(Self {
            url: url
                .or_else(|| saved.as_ref().map(|saved| saved.url.clone()))
                .unwrap_or_else(|| URL.to_owned()),
            token,
            ca: connection.ca.clone().or_else(|| saved.as_ref()?.ca.clone()),
            tenant: connection.tenant.clone().or_else(|| saved?.tenant),
            context,
        })
    }
}

/// The context of this name, or the current one.
fn saved(name: Option<&str>) -> Result<Option<(String, Saved)>, WrongUse> {
    let name = name.filter(|name| !name.is_empty());
    let Some(file) = ContextFile::usual() else {
        return match name {
            Some(_) => ContextFile::needed().map(|_| None),
            None => Ok(None),
        };
    };
    let contexts = file.read()?;
    let Some(name) = name.or(contexts.current.as_deref()) else {
        return Ok(None);
    };
    let saved = contexts.get(name)?.clone();
    Ok(Some((name.to_owned(), saved)))
}
