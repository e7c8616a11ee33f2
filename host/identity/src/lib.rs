//! Who calls a Quipu host without one of its tokens.
//!
//! A file lists the issuers whose JSON web tokens a host takes, and the client certificates. Both
//! lead to a [`Caller`] with a name, a role and what limits it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod certificates;
mod file;
mod keys;
mod signatures;
mod tokens;
mod verified;

use std::path::Path;

use quipu::access::Caller;

pub use certificates::Names;
pub use tokens::{Refused, TOKEN_BYTES_MAX};

use tokens::Issuers;

/// The issuers and certificates that a host takes.
#[derive(Default)]
pub struct Identities {
    /// The text of the file.
    text: String,
    issuers: Issuers,
    certificates: Vec<file::Certificate>,
}

impl Identities {
    /// Reads a file of identities, and the files that it names.
    ///
    /// # Errors
    /// When something in it is wrong; the text names it.
    pub fn load(path: &Path) -> Result<Self, String> {
        Self::reload(path, None)
    }

    /// Reads a file of identities a second time. Keys that were fetched before are used on.
    ///
    /// # Errors
    /// When something in it is wrong; the text names it.
    pub fn reload(path: &Path, before: Option<&Self>) -> Result<Self, String> {
        let named = |why: String| format!("{}: {why}", path.display());
        let text = String::from_utf8(keys::read(path)?);
        let text = text.map_err(|_| named("it is not UTF-8".to_owned()))?;
        let dir = path.parent().unwrap_or(Path::new(""));
        Self::read(&text, dir, before).map_err(named)
    }

    /// Reads the text of a file of identities, and the files that it names. Their relative paths begin
    /// at `dir`.
    ///
    /// # Errors
    /// When something in it is wrong; the text names it.
    pub fn parse(text: &str, dir: &Path) -> Result<Self, String> {
        Self::read(text, dir, None)
    }

    fn read(text: &str, dir: &Path, before: Option<&Self>) -> Result<Self, String> {
        let file = file::File::parse(text, dir)?;
        let before = before.map(|before| &before.issuers);
        Ok(Self {
            text: text.to_owned(),
            issuers: Issuers::new(file.issuers, before)?,
            certificates: file.certificates,
        })
    }

    /// Whether others come from the same text.
    pub fn is_same(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// Whether JSON web tokens are taken.
    pub fn take_tokens(&self) -> bool {
        !self.issuers.are_empty()
    }

    /// Whether client certificates are taken.
    pub fn take_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether a text has the form of a JSON web token.
    pub fn is_token(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() >= 2
    }

    /// The caller of a token that was verified before and is still valid. This is cheap.
    pub fn remembered(&self, token: &str) -> Option<Caller> {
        self.issuers.remembered(token)
    }

    /// Verifies a token and returns its caller.
    ///
    /// # Errors
    /// When the token is refused.
    pub async fn verify(&self, token: &str) -> Result<Caller, Refused> {
        self.issuers.verify(token).await
    }

    /// The caller with a client certificate; none when no rule names it.
    pub fn certified(&self, names: &Names) -> Option<Caller> {
        names.caller(&self.certificates)
    }
}
