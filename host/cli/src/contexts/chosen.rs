//! Which host a client command reaches, and with which token.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use reqwest::Url;

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
        let given = connection.url.as_deref();
        let named = match saved(connection.context.as_deref()) {
            // Nothing asks for a context, so that a damaged file stops nobody.
            Err(WrongUse(why)) if given.is_some() && connection.context.is_none() => {
                _ = writeln!(io::stderr(), "warning: {why}; no context is used");
                None
            }
            named => named?,
        };
        // A token belongs to its host: it is not sent to another one.
        let used = named.filter(|(_, saved)| given.is_none_or(|url| are_same(url, &saved.url)));
        let (context, saved) = used.unzip();
        let given = secret::token(connection.token.as_ref(), connection.token_file.as_deref())?;
        warn_of_arguments(connection);
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

/// Warns if the token or a password is an argument of this process.
fn warn_of_arguments(connection: &Connection) {
    let token = connection.token.as_ref().map(Secret::reveal);
    let url = connection.url.as_deref();
    let url = url.filter(|url| secret::has_password(url));
    let arguments: Vec<OsString> = std::env::args_os().collect();
    for (option, value, warning) in [
        ("--token", token, secret::TOKEN_SHOWN),
        ("--url", url, secret::URL_SHOWN),
    ] {
        if value.is_some_and(|value| secret::is_argument(option, value, &arguments)) {
            // The reader may be gone.
            _ = writeln!(io::stderr(), "warning: {warning}");
        }
    }
}

/// Whether two addresses are the same, however they are spelled.
fn are_same(one: &str, other: &str) -> bool {
    let parsed = |url: &str| {
        let mut url = Url::parse(url).ok()?;
        url.path_segments_mut().ok()?.pop_if_empty();
        Some(url)
    };
    one == other || parsed(one).is_some_and(|one| Some(one) == parsed(other))
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

#[cfg(test)]
mod tests {
    use super::are_same;

    #[test]
    fn an_address_is_known_in_every_spelling() {
        let saved = "https://Quipu.example:443/";
        for same in ["https://quipu.example", "HTTPS://quipu.example/", saved] {
            assert!(are_same(same, saved), "{same}");
        }
        for other in [
            "http://quipu.example",
            "https://quipu.example:444",
            "https://quipu.example/a",
            "https://quipu.example.evil.example",
            "https://quipu.example@evil.example",
            "quipu.example",
        ] {
            assert!(!are_same(other, saved), "{other}");
        }
    }
}
